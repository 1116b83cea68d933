"""Certificates that everybody trusts already, from an ACME server such as Let's Encrypt's (RFC 8555).

They are ordered on this machine and stored beside the root CA. A cluster gets its own as a Secret, and nothing else.
"""
