"""Names that are looked up elsewhere: our label, namespaces, objects in a cluster."""

from __future__ import annotations

TRUST_BUNDLE = "default-ca-bundle"

CERT_MANAGER = "cert-manager"

ISSUER = "root-ca"

COMPANY_CA = "/etc/ssl/certs/additional-ca.crt"
"""Where a node has it: containerd reads this folder."""

MANAGER = "dev-cluster-tasks"
"""The label, field manager and first-line marker by which we know what is ours."""

MARKER = f"# written by {MANAGER}"
