"""What the user chose: .default.env, then .env, then the environment, checked as a whole."""

from __future__ import annotations

import difflib
import io
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invoke import Exit

from tasks.core import setting_types


def cluster_numbers(text: str) -> list[int]:
    """The numbers in `1`, `1,2` or `1-3`, each once and in the order given.

    :raises Exit: when the text is empty or anything else.
    """
    numbers: dict[int, None] = {}
    for part in text.split(","):
        bounds = re.fullmatch(r"([0-9]{1,4})(?:-([0-9]{1,4}))?", part.strip())
        first, last = (int(bounds[1]), int(bounds[2] or bounds[1])) if bounds else (1, 0)
        if last < first:
            raise Exit(f"Say which cluster: --n 1, --n 1,2 or --n 1-3 (this was: {text!r}).")
        numbers |= dict.fromkeys(range(first, last + 1))
    return list(numbers)

# Keys in .env that start like ours, but are read by k3d itself: https://k3d.io/stable/faq/faq/
K3D_OWN_KEYS = re.compile(r"K3D_(FIX|IMAGE|HELPER|DEBUG|LOG)_")


# --- the settings -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Settings:
    """Every key of .default.env, read and checked. A field's name is the key in lower case."""

    tld: str
    k3d_subdomain: str
    k3d_cluster_name_prefix: str
    k3d_cluster_domain_prefix: str
    cert_folder: Path
    cert_cn: str
    cert_o: str
    cert_c: str
    additional_ca_bundle_file: Path | None
    k3d_port_start: int
    k3d_port_end: int
    k3d_port_prefix_http: str
    k3d_port_suffix_http: str
    k3d_port_prefix_https: str
    k3d_port_suffix_https: str
    k3d_bind_address: str
    k3d_network: str
    k3d_network_subnet: str
    k3d_kubeconfig_target_dir: Path | None
    k3d_switch_context: bool
    k3d_registry_config: Path | None
    trust_stores: tuple[str, ...]
    dns_method: str
    k3s_image: str
    chart_source: str
    cert_manager_version: str
    trust_manager_version: str
    image_nginx: str
    image_curl: str
    image_netshoot: str
    k3d_version: str
    k3d_source: str
    helm_version: str
    helm_source: str
    kubectl_version: str
    kubectl_source: str
    timeout_create: int
    timeout_ready: int
    environment: Mapping[str, str]
    """Keys of .env that are not ours, for the commands' environment."""

    @property
    def numbers(self) -> range:
        """The cluster numbers that the ports leave room for."""
        return range(self.k3d_port_end - self.k3d_port_start + 1)

    @property
    def base_domain(self) -> str:
        """What all clusters' names end in: `k3d.internal`, or the bare TLD where K3D_SUBDOMAIN is empty."""
        return f"{self.k3d_subdomain}.{self.tld}" if self.k3d_subdomain else self.tld

    @property
    def owned_domains(self) -> tuple[str, ...]:
        """The domains that are ours to sign for and to resolve.

        The base domain; without K3D_SUBDOMAIN each cluster's own, because a whole TLD is never ours.
        """
        if self.k3d_subdomain:
            return (self.base_domain,)
        return tuple(self.cluster_domain(number) for number in self.numbers)

    @property
    def proof_names(self) -> list[str]:
        """One name below each of the owned domains, that nobody uses."""
        return [f"proof.{domain}" for domain in self.owned_domains]

    def cluster_domain(self, number: int) -> str:
        start = self.k3d_cluster_domain_prefix or self.k3d_cluster_name_prefix
        return f"{start}{number}.{self.base_domain}"

    def port(self, number: int, scheme: str) -> int:
        """The host's port of a cluster for `http` or `https`: prefix, number and suffix, written one after another."""
        start: str = getattr(self, f"k3d_port_prefix_{scheme}")
        end: str = getattr(self, f"k3d_port_suffix_{scheme}")
        return int(f"{start}{self.k3d_port_start + number}{end}")

    @property
    def kubeconfig_file(self) -> Path:
        """kubectl's default file: the first entry of $KUBECONFIG, else ~/.kube/config."""
        listed = os.environ.get("KUBECONFIG", self.environment.get("KUBECONFIG", ""))
        entries = [entry for entry in listed.split(os.pathsep) if entry]
        return Path(entries[0]).expanduser().absolute() if entries else Path.home() / ".kube" / "config"

    def cluster(self, number: int) -> Cluster:
        """The cluster with that number; Exit when the ports leave no room for it."""
        if number not in self.numbers:
            raise Exit(
                f"There is no cluster {number}: K3D_PORT_START={self.k3d_port_start} and "
                f"K3D_PORT_END={self.k3d_port_end} make room for 0 to {self.numbers[-1]}. Raise K3D_PORT_END in .env."
            )
        return Cluster(self, number)


@dataclass(frozen=True)
class Cluster:
    """One cluster's names and ports, as the settings give them."""

    settings: Settings
    number: int

    @property
    def name(self) -> str:
        return f"{self.settings.k3d_cluster_name_prefix}{self.number}"

    @property
    def context(self) -> str:
        return f"k3d-{self.name}"

    @property
    def domain(self) -> str:
        return self.settings.cluster_domain(self.number)

    @property
    def http_port(self) -> int:
        return self.settings.port(self.number, "http")

    @property
    def https_port(self) -> int:
        return self.settings.port(self.number, "https")

    @property
    def kubeconfig(self) -> Path:
        folder = self.settings.k3d_kubeconfig_target_dir
        return folder / self.name if folder else self.settings.kubeconfig_file

    @property
    def kubectl(self) -> tuple[str, ...]:
        """How every kubectl command to this cluster begins: the user's current context is never asked."""
        return ("kubectl", "--kubeconfig", str(self.kubeconfig), "--context", self.context)

    def to_type(self, *words: str) -> str:
        """A kubectl command for people, with the kubeconfig where their own kubectl does not read it by itself."""
        elsewhere = self.settings.k3d_kubeconfig_target_dir or "KUBECONFIG" in self.settings.environment
        return shlex.join(["kubectl", *(("--kubeconfig", str(self.kubeconfig)) if elsewhere else ()),
                           "--context", self.context, *words])

    @property
    def helm_target(self) -> tuple[str, ...]:
        return ("--kubeconfig", str(self.kubeconfig), "--kube-context", self.context)


READERS: dict[str, Callable[[str], Any]] = {
    "TLD": setting_types.domain,
    "K3D_SUBDOMAIN": setting_types.domain_or_empty,
    "K3D_CLUSTER_NAME_PREFIX": setting_types.prefix,
    "K3D_CLUSTER_DOMAIN_PREFIX": setting_types.prefix_or_empty,
    "CERT_FOLDER": setting_types.folder,
    "CERT_CN": setting_types.text,
    "CERT_O": setting_types.text,
    "CERT_C": setting_types.country,
    "ADDITIONAL_CA_BUNDLE_FILE": setting_types.ca_bundle_or_none,
    "K3D_PORT_START": setting_types.whole_number,
    "K3D_PORT_END": setting_types.whole_number,
    "K3D_PORT_PREFIX_HTTP": setting_types.digits,
    "K3D_PORT_SUFFIX_HTTP": setting_types.digits,
    "K3D_PORT_PREFIX_HTTPS": setting_types.digits,
    "K3D_PORT_SUFFIX_HTTPS": setting_types.digits,
    "K3D_BIND_ADDRESS": setting_types.ipv4_or_empty,
    "K3D_NETWORK": setting_types.network_name,
    "K3D_NETWORK_SUBNET": setting_types.subnet_or_empty,
    "K3D_KUBECONFIG_TARGET_DIR": setting_types.folder_or_none,
    "K3D_SWITCH_CONTEXT": setting_types.yes_or_no,
    "K3D_REGISTRY_CONFIG": setting_types.file_or_none,
    "TRUST_STORES": setting_types.stores,
    "DNS_METHOD": setting_types.method_or_empty,
    "K3S_IMAGE": setting_types.image,
    "CHART_SOURCE": setting_types.chart_source,
    "CERT_MANAGER_VERSION": setting_types.version,
    "TRUST_MANAGER_VERSION": setting_types.version,
    "IMAGE_NGINX": setting_types.image,
    "IMAGE_CURL": setting_types.image,
    "IMAGE_NETSHOOT": setting_types.image,
    "K3D_VERSION": setting_types.version,
    "K3D_SOURCE": setting_types.https_address,
    "HELM_VERSION": setting_types.version,
    "HELM_SOURCE": setting_types.https_address,
    "KUBECTL_VERSION": setting_types.version,
    "KUBECTL_SOURCE": setting_types.https_address,
    "TIMEOUT_CREATE": setting_types.seconds,
    "TIMEOUT_READY": setting_types.seconds,
}


PORT_KEYS = [key for key in READERS if key.startswith("K3D_PORT_")]


NAME_KEYS = ["K3D_CLUSTER_NAME_PREFIX", "K3D_CLUSTER_DOMAIN_PREFIX", "K3D_SUBDOMAIN", "TLD"]


# --- reading them -----------------------------------------------------------------------------------------------------


def load(project: Path | None = None, environment: Mapping[str, str] = os.environ) -> Settings:
    """Read and check everything; Exit lists all that is wrong at once, each with its place, key and value."""
    problems: list[str] = []
    project = project or setting_types.PROJECT
    defaults = read_file(project / ".default.env", problems)
    chosen = read_file(project / ".env", problems) if (project / ".env").exists() else {}
    problems += unknown_keys(chosen)
    try:
        Path.home()
    except RuntimeError:
        problems.append("the environment: HOME is not set, and the system knows no home folder of this user; set HOME")

    sources = {"the environment": environment, ".env": chosen, ".default.env": defaults}
    read: dict[str, Any] = {}
    places: dict[str, str] = {}
    refused: set[str] = set()
    for key, reader in READERS.items():
        found = [(place, source[key]) for place, source in sources.items() if key in source]
        if not found:
            problems.append(f".default.env: {key} is missing; every setting has its default there")
        for place, raw in found:
            try:
                read[key.lower()], places[key] = reader(raw), place
                break
            except ValueError as error:
                shown = re.sub("://[^/]*@", "://***@", raw)  # without a password
                problems.append(f"{place}: {key}={shown!r}: allowed is {error}")
                refused.add(key)  # the next place's value stands in, so that the rest is checked in the same run

    others = {key: value for key, value in {**defaults, **chosen}.items() if key not in READERS}
    settings = None
    if len(read) == len(READERS):
        settings = Settings(**read, environment={k: v for k, v in others.items() if k not in environment})
        problems += long_names(settings, places)
        if refused.isdisjoint(PORT_KEYS):
            problems += clashing_ports(settings, places)
    if problems or settings is None:
        raise Exit("The settings cannot be used:\n" + "\n".join(f"  {problem}" for problem in problems))
    if settings.tld.split(".")[-1] == "local":
        print("TLD=local belongs to mDNS (RFC 6762): many systems will not ask DNS for it. Choose test or internal.",
              file=sys.stderr)
    return settings


def read_file(file: Path, problems: list[str]) -> dict[str, str]:
    """The keys and values of one file; what cannot be read is added to the problems."""
    from dotenv import dotenv_values
    from dotenv.parser import parse_stream

    try:
        content = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        problems.append(f"{file.name}: cannot be read: {error}")
        return {}
    if "\0" in content:
        problems.append(f"{file.name}: cannot be read: it holds NUL characters; is it UTF-8?")
        return {}
    good = []
    for line in parse_stream(io.StringIO(content)):
        original = line.original.string
        # The parser counts the blank lines above as a part of this one.
        blank = original[: len(original) - len(original.lstrip())].count("\n")
        where = f"{file.name}, line {line.original.line + blank}"
        if line.error or "=" in (line.key or ""):
            problems.append(f"{where}: not KEY=value")  # not shown: it may hold a password
        elif line.key is not None and line.value is None:
            problems.append(f"{where}: {line.key} has no value; write {line.key}=")
        else:
            good.append(original)
    return {key: value for key, value in dotenv_values(stream=io.StringIO("".join(good))).items() if value is not None}


def unknown_keys(chosen: Mapping[str, str]) -> Iterator[str]:
    """Keys that can only be ours, and keys of others that are all but ours."""
    for key in chosen:
        if key in READERS or K3D_OWN_KEYS.match(key):
            continue
        ours = key.startswith(("K3D_", "CERT_"))
        near = difflib.get_close_matches(key, READERS, n=1, cutoff=0.6 if ours else 0.9)
        if ours or near:
            hint = f"did you mean {near[0]}?" if near else "see .default.env for those that exist"
            yield f".env: {key} is no setting; {hint}"


# --- what is wrong between values that are each allowed ---------------------------------------------------------------


def clashing_ports(settings: Settings, places: Mapping[str, str]) -> Iterator[str]:
    """For HTTP and for HTTPS the first port that cannot be: a wide range would have thousands."""
    where = chosen_in(places, PORT_KEYS)
    if settings.k3d_port_end < settings.k3d_port_start:
        yield (f"{where}: K3D_PORT_END={settings.k3d_port_end} is below "
               f"K3D_PORT_START={settings.k3d_port_start}, which leaves no cluster")
    used: dict[int, str] = {}
    schemes = ["http", "https"]
    for number in settings.numbers:
        for scheme in tuple(schemes):
            port, user = settings.port(number, scheme), f"{scheme.upper()} of cluster {number}"
            if 1 <= port <= 65535 and port not in used:
                used[port] = user
                continue
            schemes.remove(scheme)
            keys = ("k3d_port_start", "k3d_port_end", f"k3d_port_prefix_{scheme}", f"k3d_port_suffix_{scheme}")
            made_of = ", ".join(f"{key.upper()}={getattr(settings, key)}" for key in keys)
            allowed = f"a port of its own, and {used[port]} has it" if port in used else "1 to 65535"
            yield f"{where}: {user} would be port {port} ({made_of}): allowed is {allowed}"


def long_names(settings: Settings, places: Mapping[str, str]) -> Iterator[str]:
    last = Cluster(settings, max(settings.numbers, default=0))
    if len(last.name) > 32 or not setting_types.is_label(last.name):
        yield (f"{places['K3D_CLUSTER_NAME_PREFIX']}: K3D_CLUSTER_NAME_PREFIX={settings.k3d_cluster_name_prefix!r} "
               f"makes the cluster name {last.name}: k3d allows 32 characters")
    if not setting_types.is_label(last.domain.split(".")[0]) or len(last.domain) > 200:
        made_of = ", ".join(f"{key}={getattr(settings, key.lower())}" for key in NAME_KEYS)
        yield (f"{chosen_in(places, NAME_KEYS)}: the domain would be {last.domain} ({made_of}): "
               "allowed are 63 characters for a label, 200 for all")
    if len(f"{settings.cert_cn} {last.name}") > 64:
        yield (f"{places['CERT_CN']}: CERT_CN={settings.cert_cn!r} with a cluster's name behind it is longer than "
               "the 64 characters that a certificate's name may have")


def chosen_in(places: Mapping[str, str], keys: list[str]) -> str:
    """Where the user chose one of these keys."""
    return " and ".join(dict.fromkeys(places[key] for key in keys if places[key] != ".default.env")) or ".default.env"
