"""The container engine and what k3d made with it: clusters, network, ports, proxy, kubeconfig."""
