"""Every task, in the order in which a new user needs them."""

from invoke import Collection

from tasks.cert import cert
from tasks.k3d import k3d_cluster_configure, k3d_cluster_delete, k3d_cluster_setup

ns = Collection(
    cert,
    k3d_cluster_setup,
    k3d_cluster_configure,
    k3d_cluster_delete,
)
