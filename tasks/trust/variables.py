"""Trust for the programs of one shell, without changing a store: for CI, or for programs that use no store."""

from __future__ import annotations

import shlex
import ssl
from pathlib import Path

from invoke import Context, Exit, task

from tasks.ca.load import load_roots_to_trust
from tasks.ca.root import RootCA
from tasks.core import configuration
from tasks.core.invoke_patches import PlainTask
from tasks.core.settings import Settings
from tasks.core.work_files import work_file
from tasks.trust import linux_system

# These replace what the program trusts by default, so their file contains all roots. Node's adds to its defaults.
WITH_ALL = ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")

WITH_OURS = ("NODE_EXTRA_CA_CERTS",)


@task(klass=PlainTask)
def trust_env(context: Context) -> None:
    """Print variables that make one shell trust the root

    curl, OpenSSL, Go, Python and Node trust the root after: eval "$(inv trust-env)"
    """
    settings = configuration.load()
    roots = load_roots_to_trust(settings)
    bundle = work_file("ca-bundle.pem")
    bundle.parent.mkdir(exist_ok=True)
    new = bundle.with_suffix(".new")
    new.write_bytes(b"\n".join(file.read_bytes() for file in list_sources(settings, roots)))
    new.replace(bundle)
    root = roots[0].files.certificate if len(roots) == 1 else bundle  # Node accepts only one file
    for name, file in [*((name, bundle) for name in WITH_ALL), *((name, root) for name in WITH_OURS)]:
        print(f"export {name}={shlex.quote(str(file))}")


def list_sources(settings: Settings, roots: list[RootCA]) -> list[Path]:
    """What this machine trusts, your company's CA if it is set, and the root; during a renewal, both roots."""
    bundle = linux_system.find_bundle()
    system = bundle if bundle and bundle.is_file() else Path(ssl.get_default_verify_paths().openssl_cafile)
    if not system.is_file():
        raise Exit(f"The file with the roots that this machine trusts is missing ({system}). On Linux, it is in "
                   "the package ca-certificates.")
    own = settings.additional_ca_bundle_file
    return [system, *([own] if own else []), *(root.files.certificate for root in roots)]
