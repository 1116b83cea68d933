"""Ask and report what is there: a URL, a certificate, a resolver, a cluster. Nothing here changes anything."""
