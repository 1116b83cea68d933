"""The container engine and what k3d created with it: clusters, network, ports, proxy, kubeconfig."""
