"""A cluster as the original Taskfile creates it: the same commands, in the same order, one after another.

https://github.com/TBeijen/dev-cluster-config, Taskfile.yml, k3d-cluster-setup-* and k3d-cluster-configure-*. Two
differences: chart source and node image come from the settings, and the Bundle is applied repeatedly until the webhook
of trust-manager is reachable, where the original fails.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from jinja2 import Template

from tasks.ca.root import RootFiles
from tasks.core.settings import Cluster
from tasks.core.templates import regex_value
from tasks.in_cluster.charts import chart_arguments


class ByHand:
    """Commands for a cluster. Manifests go to `folder`, the kubeconfig is `cluster.kubeconfig`."""

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster, self.settings, self.folder = cluster, cluster.settings, folder
        self.environment = {**os.environ, "KUBECONFIG": str(cluster.kubeconfig)}

    def run(self, *words: str) -> str:
        return subprocess.run(words, check=True, capture_output=True, text=True, env=self.environment).stdout

    def apply(self, text: str) -> None:
        file = self.folder / f"{self.cluster.name}.yaml"
        file.write_text(Template(text).render(
            cluster=self.cluster, base=self.settings.base_domain, own_pattern=regex_value(self.cluster.domain),
            base_pattern=regex_value(self.settings.base_domain)))
        self.run("kubectl", "apply", "-f", str(file))

    def helm(self, name: str, *words: str, namespace: str = "cert-manager") -> None:
        self.run("helm", "upgrade", "--install", name, *chart_arguments(self.settings, name), "--namespace", namespace,
                 "--create-namespace", *words, "--wait")

    def install_trust(self) -> None:
        """cert-manager with the root, trust-manager with the bundle, and the Service for pods."""
        root = RootFiles.of(self.settings)
        self.helm("cert-manager", "--set", "crds.enabled=true")
        self.apply(self.run("kubectl", "-n", "cert-manager", "create", "secret", "tls", "root-ca",
                            f"--cert={root.certificate}", f"--key={root.key}", "--dry-run=client", "-o", "yaml"))
        self.apply(ISSUER)
        self.helm("trust-manager")
        while True:
            try:
                self.apply(BUNDLE)
                break
            except subprocess.CalledProcessError:
                time.sleep(1)
        self.apply(SERVICE)


def setup(cluster: Cluster, folder: Path) -> None:
    """Create and configure the cluster."""
    hand = ByHand(cluster, folder)
    hand.run("k3d", "cluster", "create", cluster.name, "--image", cluster.settings.k3s_image,
             "-p", f"{cluster.http_port}:80@loadbalancer", "-p", f"{cluster.https_port}:443@loadbalancer",
             "--kubeconfig-update-default=false")
    hand.run("k3d", "kubeconfig", "merge", cluster.name, "-o", str(cluster.kubeconfig))
    hand.install_trust()
    hand.apply(COREDNS)
    hand.run("kubectl", "-n", "kube-system", "rollout", "restart", "deployment", "coredns")
    hand.apply(TRAEFIK)


ISSUER = """\
apiVersion: cert-manager.io/v1
kind: ClusterIssuer
metadata: {name: root-ca, labels: {app.kubernetes.io/managed-by: taskfile-dev-cluster-config}}
spec: {ca: {secretName: root-ca}}
"""

BUNDLE = """\
apiVersion: trust.cert-manager.io/v1alpha1
kind: Bundle
metadata: {name: default-ca-bundle, labels: {app.kubernetes.io/managed-by: taskfile-dev-cluster-config}}
spec:
  sources:
  - useDefaultCAs: true
  - secret: {name: root-ca, key: tls.crt}
  target:
    configMap: {key: bundle.pem}
    additionalFormats: {jks: {key: bundle.jks}, pkcs12: {key: bundle.p12}}
    namespaceSelector: {matchLabels: {trust: enabled}}
"""

SERVICE = """\
apiVersion: v1
kind: Service
metadata:
  name: traefik-internal
  namespace: kube-system
  labels: {app.kubernetes.io/managed-by: taskfile-dev-cluster-config}
spec:
  type: ClusterIP
  selector: {app.kubernetes.io/instance: traefik-kube-system, app.kubernetes.io/name: traefik}
  ports:
  - {name: web, port: 80, targetPort: web}
  - {name: webext, port: {{ cluster.http_port }}, targetPort: web}
  - {name: websecure, port: 443, targetPort: websecure}
  - {name: websecureext, port: {{ cluster.https_port }}, targetPort: websecure}
"""

COREDNS = r"""
apiVersion: v1
kind: ConfigMap
metadata:
  name: coredns-custom
  namespace: kube-system
  labels: {app.kubernetes.io/managed-by: taskfile-dev-cluster-config}
data:
  {{ base }}.server: |
    {{ base }}:53 {
        errors
        cache 30
        rewrite name regex (.*)\.{{ own_pattern }} traefik-internal.kube-system.svc.cluster.local
        rewrite name regex (.*)\.{{ base_pattern }} host.k3d.internal
        forward . 127.0.0.1:53
    }
"""

TRAEFIK = """\
apiVersion: helm.cattle.io/v1
kind: HelmChartConfig
metadata:
  name: traefik
  namespace: kube-system
  labels: {app.kubernetes.io/managed-by: taskfile-dev-cluster-config}
spec:
  valuesContent: |-
    logs:
      access:
        enabled: true
"""
