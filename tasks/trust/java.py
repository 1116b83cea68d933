"""Java's stores: the file cacerts of each JDK.

Some Linux distributions generate cacerts from the system's store. Those files are not changed: see linux_system.py.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from invoke import Exit
from invoke.runners import Result

from tasks.ca.probe_leaves import Leaf
from tasks.ca.root import RootCA
from tasks.core import system_files
from tasks.core.setting_types import PROJECT
from tasks.core.shell import Shell
from tasks.core.well_known import MANAGER

BELOW_ROOT = ("usr/lib/jvm/*", "opt/*", "Library/Java/JavaVirtualMachines/*/Contents/Home",
              "opt/homebrew/opt/openjdk*/libexec/openjdk.jdk/Contents/Home")


BELOW_HOME = (".sdkman/candidates/java/*", ".jdks/*", "Library/Java/JavaVirtualMachines/*/Contents/Home")

CACERTS = ("lib/security/cacerts", "jre/lib/security/cacerts")
"""Below a JDK; the second in a JDK 8."""

GENERATED = (
    "etc/ssl/certs/java/cacerts",  # Debian, Ubuntu: ca-certificates-java
    "etc/pki/ca-trust/extracted/java/cacerts",  # Fedora, RHEL
    "etc/ca-certificates/extracted/java-cacerts.jks",  # Arch
    "var/lib/ca-certificates/java-cacerts",  # openSUSE
)

PASSWORD = "changeit"
"""The default for every cacerts. It protects nothing: anyone who may write the file may add a root."""

VERIFY = PROJECT / "templates" / "trust" / "Accepts.java"

REJECTED = 3
"""The exit code of that program if Java rejects the certificate. With any other code, it did not run."""

ENFORCES_CONSTRAINTS = False


def find_places(shell: Shell) -> list[str]:
    """The file of each JDK, each real file once, without those that the system generates from its own store.

    Only JDKs below the root of the file system or the home folder are considered.
    """
    generated = {(system_files.ROOT / file).resolve() for file in GENERATED}
    files = [home / name for home in find_homes(shell) for name in CACERTS]
    stores = {file.resolve(): str(file) for file in files if os.access(file, os.R_OK)}
    return sorted(place for file, place in stores.items() if file not in generated)


def find_homes(shell: Shell) -> Iterator[Path]:
    """The folders of JDKs; some appear twice."""
    java = shell.find("java")
    named = [Path(os.environ.get("JAVA_HOME") or "/nowhere"), *([Path(java).resolve().parent.parent] if java else [])]
    yield from (home for home in named if any(home.is_relative_to(above) for above in (system_files.ROOT, Path.home())))
    for above, patterns in ((system_files.ROOT, BELOW_ROOT), (Path.home(), BELOW_HOME)):
        for pattern in patterns:
            yield from sorted(above.glob(pattern))


def check_tools(shell: Shell, certificate: Path) -> str:
    return ""


def accepts(shell: Shell, place: str, leaf: Leaf) -> bool:
    """Whether the JDK of this store accepts the leaf for a server of its name, with that store.

    Java 11 and later compile the small program that checks it. A JRE and Java 8 do not: then the store must contain
    the root that signed the leaf, in an entry of ours.
    """
    checked = shell.look(program(place, "java"), f"-Djavax.net.ssl.trustStore={place}",
                         str(VERIFY), str(leaf.file), leaf.name)
    return bool(checked.ok) or (checked.exited != REJECTED and holds_issuer(shell, place, leaf))


def holds_issuer(shell: Shell, place: str, leaf: Leaf) -> bool:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature

    signed = x509.load_pem_x509_certificate(leaf.file.read_bytes())
    for entry in list_entries(shell, place, []):
        text = read_certificate(shell, place, entry)
        with suppress(ValueError, TypeError, InvalidSignature):
            signed.verify_directly_issued_by(x509.load_pem_x509_certificate(text.encode()))
            return True
    return False


def install(shell: Shell, place: str, roots: list[RootCA]) -> None:
    for root in roots:
        change(shell, place, "-importcert", "-noprompt", "-alias", root.label, "-file", str(root.files.certificate),
               why="trust the root in Java's store")


def list_entries(shell: Shell, place: str, roots: list[RootCA]) -> list[str]:
    listed = keytool(shell, place, "-list").stdout.splitlines()
    return [line.split(",")[0] for line in listed if line.startswith(f"{MANAGER}-")]


def find_entry(shell: Shell, place: str, root: RootCA) -> str:
    return root.label if root.label in list_entries(shell, place, []) else ""


def read_certificate(shell: Shell, place: str, entry: str) -> str:
    return str(keytool(shell, place, "-exportcert", "-rfc", "-alias", entry).stdout)


def remove(shell: Shell, place: str, entries: list[str]) -> None:
    for entry in entries:
        change(shell, place, "-delete", "-alias", entry, why="remove the root from Java's store")


def change(shell: Shell, place: str, *words: str, why: str) -> None:
    """As root only if the user may not write the file. Exit with advice if the file has another password."""
    command = (program(place, "keytool"), *words, "-keystore", place, "-storepass", PASSWORD)
    try:
        if os.access(place, os.W_OK):
            shell.change(*command)
        else:
            shell.sudo(*command, why=why)
    except Exit as error:
        if "password was incorrect" not in str(error.message):
            raise
        raise Exit(f"{error.message}\nThe password of {place} is not {PASSWORD}. Change it back with keytool "
                   "-storepasswd, or remove java from TRUST_STORES.") from None


def keytool(shell: Shell, place: str, *words: str) -> Result:
    """A query that does not change the store."""
    return shell.look(program(place, "keytool"), *words, "-keystore", place, "-storepass", PASSWORD)


def program(place: str, name: str) -> str:
    """A program of the JDK that the store belongs to."""
    return str(Path(place).parents[2] / "bin" / name)
