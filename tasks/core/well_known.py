"""Names that several modules share: the label of these tasks, namespaces, objects in a cluster."""

from __future__ import annotations

TRUST_BUNDLE = "default-ca-bundle"

CERT_MANAGER = "cert-manager"
"""The namespace of cert-manager and trust-manager."""

KUBE_SYSTEM = "kube-system"

TRAEFIK_SERVICE = "traefik-internal"
"""The Service through which pods reach Traefik, in kube-system."""

COREDNS_CONFIG = "coredns-custom"
"""The ConfigMap with additions to k3s' CoreDNS, in kube-system."""

COREDNS_IMPORT = "import /etc/coredns/custom/*.override"
"""The line of a Corefile that reads them."""

DOCKER_GROUP = "docker"
"""Its members may use the engine: https://docs.docker.com/engine/install/linux-postinstall/"""

EXAMPLES = "examples"
"""The namespace of the example workloads."""

ISSUER = "root-ca"
"""The ClusterIssuer, its secret, and the ConfigMap with our roots."""

COMPANY_CA = "/etc/ssl/certs/additional-ca.crt"
"""Where a node has it: containerd reads this folder."""

MANAGER = "dev-cluster-tasks"
"""The label, field manager and first-line marker by which we know what is ours."""

MARKER = f"# written by {MANAGER}"
