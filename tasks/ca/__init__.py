"""The certificate authority: a root on this machine, and an intermediate for each cluster."""
