"""Which address each name resolves to: this machine's, or that of CLUSTER_ADDRESS for a cluster elsewhere."""

from __future__ import annotations

from tasks.core.settings import Settings


def base_address(settings: Settings) -> str:
    """That of all names but those of clusters with an address of their own."""
    return settings.cluster_address[None]


def list_own_addresses(settings: Settings) -> dict[str, str]:
    """The domains of the clusters with an address of their own, and that address."""
    clusters = [settings.cluster(number) for number in settings.cluster_address if number is not None]
    return {cluster.domain: cluster.address for cluster in clusters if cluster.address != base_address(settings)}


def address_of_name(settings: Settings, name: str) -> str:
    return next((address for domain, address in list_own_addresses(settings).items()
                 if f".{name}".endswith(f".{domain}")), base_address(settings))


def list_proofs(settings: Settings) -> dict[str, str]:
    """Names that nobody uses, by which a resolver is tested, and the address that each must have."""
    names = dict.fromkeys([*settings.proof_names, *(f"proof.{domain}" for domain in list_own_addresses(settings))])
    return {name: address_of_name(settings, name) for name in names}
