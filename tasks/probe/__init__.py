"""Read-only queries: a URL, a certificate, CoreDNS, the objects of a cluster. Nothing here changes anything."""
