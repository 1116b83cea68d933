"""Every task, in the order in which a new user needs them."""

from invoke import Collection

from tasks.cert import cert
from tasks.dns.brew_dnsmasq import dnsmasq_brew, dnsmasq_brew_configure, dnsmasq_brew_install
from tasks.examples import k3d_cluster_examples
from tasks.k3d import k3d_cluster_configure, k3d_cluster_delete, k3d_cluster_setup
from tasks.podman import podman_machine_prepare
from tasks.up import up

ns = Collection(
    up,
    # this machine
    cert,
    dnsmasq_brew,
    dnsmasq_brew_install,
    dnsmasq_brew_configure,
    podman_machine_prepare,
    # the clusters
    k3d_cluster_setup,
    k3d_cluster_configure,
    k3d_cluster_examples,
    k3d_cluster_delete,
)
