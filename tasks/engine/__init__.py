"""The container engine: the clusters that exist, their network, ports and proxy."""
