"""What the user chose: every setting with the function that reads it, and what follows from them."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invoke import Exit

from tasks.core import by_number
from tasks.core import setting_types as types

ENVIRONMENT = "the environment"


def setting(reader: Callable[[str], Any], later: bool = False) -> Any:
    """A key of .default.env and the function that reads its value.

    `later` is for what few tasks need, and what a CI may have set for its own programs: only those tasks refuse it.
    """
    return field(metadata={"reader": reader, "later": later})


@dataclass(frozen=True)
class Refused:
    """Stands for an invalid value until a task needs it."""

    place: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every key of .default.env, read and checked. The name of a field is the key in lower case."""

    tld: str = setting(types.domain)
    k3d_subdomain: str = setting(types.domain_or_empty)
    k3d_cluster_name_prefix: str = setting(types.prefix)
    k3d_cluster_domain_prefix: str = setting(types.prefix_or_empty)

    cert_folder: Path = setting(types.folder)
    cert_cn: str = setting(types.text)
    cert_o: str = setting(types.text)
    cert_c: str = setting(types.country)
    additional_ca_bundle_file: Path | None = setting(types.ca_bundle_or_none)

    certificates: str = setting(types.certificates)
    acme_server: str = setting(types.acme_server)
    acme_ca_file: Path | None = setting(types.ca_bundle_or_none)
    acme_email: str = setting(types.email_or_empty)
    acme_client: str = setting(types.acme_client)
    acme_dns: str = setting(types.dns_provider_or_empty)
    acme_dns_resolvers: tuple[str, ...] = setting(types.resolvers)

    k3d_port_start: int = setting(types.whole_number)
    k3d_port_end: int = setting(types.whole_number)
    k3d_port_prefix_http: str = setting(types.digits)
    k3d_port_suffix_http: str = setting(types.digits)
    k3d_port_prefix_https: str = setting(types.digits)
    k3d_port_suffix_https: str = setting(types.digits)
    k3d_bind_address: str = setting(types.ipv4_or_empty)

    front_door: bool = setting(types.yes_or_no)
    front_door_http_port: int = setting(types.port)
    front_door_https_port: int = setting(types.port)
    front_door_addresses: tuple[str, ...] = setting(types.ipv4_addresses)
    https_redirect: bool = setting(types.yes_or_no)

    provider: Mapping[int | None, str] = setting(by_number.provider)
    context_ports: Mapping[int, tuple[int, int]] = setting(by_number.ports)
    cluster_address: Mapping[int | None, str] = setting(by_number.addresses)
    k3d_network: str = setting(types.network_name)
    k3d_network_subnet: str = setting(types.subnet_or_empty)
    k3d_kubeconfig_target_dir: Path | None = setting(types.folder_or_none)
    k3d_switch_context: bool = setting(types.yes_or_no)
    k3d_registry_config: Path | None = setting(types.registries_file_or_none)
    pod_trust: str = setting(types.pod_trust)
    oidc_issuer_port: bool = setting(types.yes_or_no)

    trust_stores: tuple[str, ...] = setting(types.stores)
    dns_method: str = setting(types.method_or_empty)

    k3s_image: str = setting(types.image)
    kind_image: str = setting(types.image)
    chart_source: str = setting(types.chart_source, later=True)
    cert_manager_version: str = setting(types.version, later=True)
    trust_manager_version: str = setting(types.version, later=True)
    traefik_source: str = setting(types.chart_source, later=True)
    traefik_version: str = setting(types.version, later=True)
    image_nginx: str = setting(types.image)
    image_curl: str = setting(types.image)
    image_netshoot: str = setting(types.image)
    image_keycloak: str = setting(types.image)
    image_oauth2_proxy: str = setting(types.image)
    image_front_door: str = setting(types.image)
    k3d_version: str = setting(types.version, later=True)
    k3d_source: str = setting(types.https_address, later=True)
    kind_version: str = setting(types.version, later=True)
    kind_source: str = setting(types.https_address, later=True)
    helm_version: str = setting(types.version, later=True)
    helm_source: str = setting(types.https_address, later=True)
    kubectl_version: str = setting(types.version, later=True)
    kubectl_source: str = setting(types.https_address, later=True)

    registry_caches: Mapping[str, str] = setting(types.registry_caches)
    local_registry_port: int | None = setting(types.port_or_none)
    image_registry: str = setting(types.image)

    timeout_create: int = setting(types.seconds)
    timeout_ready: int = setting(types.seconds)

    environment: Mapping[str, str]
    """The other keys of .env, for the environment of the commands."""

    places: InitVar[Mapping[str, str] | None] = None
    """Where the value of each key comes from."""

    def __post_init__(self, places: Mapping[str, str] | None) -> None:
        object.__setattr__(self, "_places", places or {})

    if not TYPE_CHECKING:
        def __getattribute__(self, name: str) -> Any:
            """A task that reads an invalid value ends with what is wrong with it."""
            value = object.__getattribute__(self, name)
            if isinstance(value, Refused):
                raise Exit(f"Invalid settings:\n  {value.problem}")
            return value

    @property
    def refused(self) -> list[Refused]:
        """The invalid values that no task has needed yet."""
        return [value for value in vars(self).values() if isinstance(value, Refused)]

    def from_environment(self, *keys: str) -> str:
        """` (KEY from the environment)` if an environment variable gives the value of one of these; else empty.

        For values that change what is installed: the variable may be meant for another program.
        """
        chosen = [key for key in keys if vars(self)["_places"].get(key) == ENVIRONMENT]
        return f" ({' and '.join(chosen)} from the environment)" if chosen else ""

    @property
    def numbers(self) -> range:
        """The cluster numbers that the ports leave room for."""
        return range(self.k3d_port_end - self.k3d_port_start + 1)

    def provider_of(self, number: int) -> str:
        """A program that creates clusters, or a kubectl context."""
        return self.provider.get(number) or self.provider[None]

    @property
    def acme(self) -> bool:
        """Whether an ACME server issues the certificates that clusters serve by default."""
        return self.certificates == "acme"

    @property
    def providers(self) -> list[str]:
        """Those of all numbers, each once."""
        return list(dict.fromkeys(map(self.provider_of, self.numbers)))

    @property
    def base_domain(self) -> str:
        """What all clusters' names end in: `k3d.internal`, or the bare TLD where K3D_SUBDOMAIN is empty."""
        return f"{self.k3d_subdomain}.{self.tld}" if self.k3d_subdomain else self.tld

    @property
    def owned_domains(self) -> tuple[str, ...]:
        """The domains that these tasks sign certificates for and resolve.

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
        """The host's port of a cluster for `http` or `https`: prefix, number and suffix, written one after another.

        CONTEXT_PORTS has those of a cluster that exists already.
        """
        if number in self.context_ports:
            return self.context_ports[number][0 if scheme == "http" else 1]
        start: str = getattr(self, f"k3d_port_prefix_{scheme}")
        end: str = getattr(self, f"k3d_port_suffix_{scheme}")
        return int(f"{start}{self.k3d_port_start + number}{end}")

    def front_door_port(self, scheme: str) -> int:
        """The host's port of the front door for `http` or `https`."""
        return self.front_door_https_port if scheme == "https" else self.front_door_http_port

    def address_of(self, number: int) -> str:
        """Where this machine reaches the ports of a cluster, and what its names resolve to."""
        return self.cluster_address.get(number, self.cluster_address[None])

    def kubeconfig_with(self, context: str) -> Path:
        """The entry of $KUBECONFIG that has this context, else the first."""
        for file in self.kubeconfig_files:
            if file.is_file() and re.search(rf"^[- ]*name: [\"']?{re.escape(context)}[\"']?\s*$",
                                            file.read_text(encoding="utf-8", errors="replace"), re.MULTILINE):
                return file
        return self.kubeconfig_file

    @property
    def kubeconfig_file(self) -> Path:
        """kubectl's default file: the first entry of $KUBECONFIG, else ~/.kube/config."""
        return next(iter(self.kubeconfig_files), Path.home() / ".kube" / "config")

    @property
    def kubeconfig_files(self) -> list[Path]:
        """The entries of $KUBECONFIG."""
        listed = os.environ.get("KUBECONFIG", self.environment.get("KUBECONFIG", ""))
        return [Path(entry).expanduser().absolute() for entry in listed.split(os.pathsep) if entry]

    @property
    def last_cluster(self) -> Cluster:
        """The one with the longest name."""
        return Cluster(self, max(self.numbers, default=0))

    def cluster(self, number: int) -> Cluster:
        """The cluster with that number; Exit when the ports leave no room for it."""
        if number not in self.numbers:
            raise Exit(
                f"There is no cluster {number}: K3D_PORT_START={self.k3d_port_start} and "
                f"K3D_PORT_END={self.k3d_port_end} leave room for clusters 0 to {self.numbers[-1]}. "
                "Increase K3D_PORT_END in .env."
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
    def provider(self) -> str:
        return self.settings.provider_of(self.number)

    @property
    def context(self) -> str:
        return f"{self.provider}-{self.name}" if self.provider in by_number.PROGRAMS else self.provider

    @property
    def domain(self) -> str:
        return self.settings.cluster_domain(self.number)

    @property
    def address(self) -> str:
        """Where this machine reaches its ports."""
        return self.settings.address_of(self.number)

    @property
    def is_elsewhere(self) -> bool:
        return self.address != by_number.THIS_MACHINE

    @property
    def http_port(self) -> int:
        return self.settings.port(self.number, "http")

    @property
    def https_port(self) -> int:
        return self.settings.port(self.number, "https")

    @property
    def kubeconfig(self) -> Path:
        if self.provider not in by_number.PROGRAMS:
            return self.settings.kubeconfig_with(self.context)
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
    entry.name.upper(): entry.metadata["reader"] for entry in fields(Settings) if "reader" in entry.metadata}

LATER = {entry.name.upper() for entry in fields(Settings) if entry.metadata.get("later")}
