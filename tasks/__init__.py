"""Every task, in the groups and the order that `inv --list` shows. To remove a task, remove its line."""

from __future__ import annotations

from tasks import (
    cert,
    clusters,
    dns,
    doctor,
    front_door,
    images,
    matrix,
    podman,
    rotation,
    status,
    tools,
    trace,
    trust,
    uninstall,
    up,
)
from tasks.core.task_list import in_groups
from tasks.dns import brew_dnsmasq
from tasks.trust import variables

ns = in_groups({
    "Start here": [
        up.up,
        tools.tools,
        status.status,
    ],
    "This machine": [
        cert.cert,
        rotation.cert_renew,
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
    ],
    "Clusters": [
        clusters.k3d_cluster_setup,
        clusters.k3d_cluster_configure,
        clusters.k3d_cluster_examples,
        clusters.k3d_cluster_list,
        clusters.k3d_cluster_stop,
        clusters.k3d_cluster_start,
        clusters.k3d_cluster_restart,
        clusters.k3d_cluster_delete,
        clusters.adopt,
        front_door.front_door,
        front_door.front_door_remove,
        images.images,
    ],
    "When something does not work": [
        doctor.doctor,
        trace.trace,
        matrix.matrix,
    ],
})
