"""Every task, in the order in which a new user needs them."""

from invoke import Collection

from tasks import (
    adopt,
    cert,
    dns,
    doctor,
    examples,
    k3d,
    life,
    matrix,
    podman,
    renew,
    status,
    tools,
    trace,
    trust,
    uninstall,
    up,
)
from tasks.dns import brew_dnsmasq
from tasks.trust import variables

ns = Collection(
    up.up,
    # this machine
    tools.tools,
    cert.cert,
    renew.cert_renew,
    trust.trust,
    trust.trust_verify,
    variables.trust_env,
    trust.untrust,
    dns.dns,
    dns.dns_verify,
    dns.dns_remove,
    brew_dnsmasq.dnsmasq_brew,
    brew_dnsmasq.dnsmasq_brew_install,
    brew_dnsmasq.dnsmasq_brew_configure,
    podman.podman_machine_prepare,
    uninstall.uninstall,
    # the clusters
    k3d.k3d_cluster_setup,
    k3d.k3d_cluster_configure,
    examples.k3d_cluster_examples,
    life.k3d_cluster_list,
    life.k3d_cluster_stop,
    life.k3d_cluster_start,
    life.k3d_cluster_restart,
    life.k3d_cluster_delete,
    adopt.adopt,
    # when something does not work
    status.status,
    doctor.doctor,
    trace.trace,
    matrix.matrix,
)
