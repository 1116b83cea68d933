"""The types of the settings. Each function reads a value, or raises ValueError with what it expected."""

from __future__ import annotations

import ipaddress
import os
import re
from contextlib import suppress
from pathlib import Path

from tasks.core.ca_bundle import read_ca_bundle

SOURCE = Path(__file__).resolve().parents[2]
"""Where the code lies, and the templates."""

PROJECT = SOURCE
"""Where .env, .work and .tools lie. Read as `setting_types.PROJECT`, because tests set another folder."""


def text(value: str) -> str:
    """A part of a certificate's subject: 64 characters is the limit of X.520 (RFC 5280, appendix A.1)."""
    if not 1 <= len(value) <= 64 or not value.isprintable():
        raise ValueError("1 to 64 printable characters")
    return value


def country(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z]{2}", value):
        raise ValueError("a two-letter country code, such as NL")
    return value.upper()


def domain(value: str) -> str:
    """One or more DNS labels (RFC 1123); a leading or trailing dot is trimmed."""
    name = value.strip(".").lower()
    if not name or not all(is_label(label) for label in name.split(".")):
        raise ValueError("DNS labels (a-z, 0-9, and - inside a label) separated by dots")
    return name


def domain_or_empty(value: str) -> str:
    return domain(value) if value.strip(".") else ""


def is_label(label: str) -> bool:
    return bool(re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label))


def prefix(value: str) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", value):
        raise ValueError("the start of a DNS label: a-z, 0-9 and -, not starting with -")
    return value


def prefix_or_empty(value: str) -> str:
    return prefix(value) if value else ""


def whole_number(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", value):
        raise ValueError("a whole number from 0 to 99999")
    return int(value)


def seconds(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", value) or int(value) == 0:
        raise ValueError("a whole number of seconds from 1 to 99999")
    return int(value)


def port(value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", value) or not 1 <= int(value) <= 65535:
        raise ValueError("a port from 1 to 65535")
    return int(value)


def digits(value: str) -> str:
    if not re.fullmatch(r"[0-9]{0,5}", value):
        raise ValueError("up to 5 digits, or nothing")
    return value


def yes_or_no(value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise ValueError("true or false")
    return value.lower() == "true"


def path(value: str) -> Path:
    if not value or not value.isprintable():
        raise ValueError("a path of printable characters")
    expanded = os.path.expandvars(value)
    try:
        # Relative to the project, because tasks run from any sub-folder.
        place = PROJECT / Path(expanded).expanduser()
        with suppress(FileNotFoundError, NotADirectoryError):
            place.stat()
        if re.search(r"\$[A-Za-z_{]", expanded) and not place.exists():
            raise ValueError("a path whose $VARIABLES are all set")
    except (OSError, RuntimeError) as error:
        raise ValueError(f"a path that can be accessed ({error})") from None
    return place


def folder(value: str) -> Path:
    place = path(value)
    nearest = next(there for there in (place, *place.parents) if there.exists())
    if not nearest.is_dir():
        raise ValueError(f"a folder, but {nearest} is a file")
    return place


def folder_or_none(value: str) -> Path | None:
    return folder(value) if value else None


def file_or_none(value: str) -> Path | None:
    if not value:
        return None
    file = path(value)
    if not file.is_file() or not os.access(file, os.R_OK):
        raise ValueError(f"a readable file, but {file} is not one")
    return file


def ca_bundle_or_none(value: str) -> Path | None:
    file = file_or_none(value)
    if file is not None:
        if ":" in str(file):
            raise ValueError(f"a path without ':' (k3d and lego split there), but got {file}")
        read_ca_bundle(file)
    return file


def registries_file_or_none(value: str) -> Path | None:
    """A registries.yaml, whose mirrors are read here: https://docs.k3s.io/installation/private-registry"""
    file = file_or_none(value)
    if file is not None:
        from yaml import YAMLError, safe_load

        try:
            content = safe_load(file.read_text(encoding="utf-8")) or {}
        except (YAMLError, UnicodeDecodeError) as error:
            raise ValueError(f"a file of YAML, but {file} cannot be read: {' '.join(str(error).split())}") from None
        if not isinstance(content, dict) or not isinstance(content.get("mirrors") or {}, dict):
            raise ValueError(f"a registries.yaml, whose `mirrors` are keys and values; {file} has another form")
    return file


def registry_caches(value: str) -> dict[str, str]:
    """The URL of the upstream of each registry."""
    caches = {}
    for entry in filter(None, map(str.strip, value.split(","))):
        registry, _, url = entry.partition("=")
        if not re.fullmatch(r"[a-z0-9.-]+(:[0-9]{1,5})?", registry) or not re.search("[.:]", registry):
            raise ValueError("registries as in the names of images, such as docker.io,quay.io, or nothing")
        if re.match(r"https?://[^/]*@", url):
            raise ValueError("URLs without a password, which would be displayed")
        if url and not (re.fullmatch(r"https?://[^\s/]\S*", url) and url.isprintable()):
            raise ValueError("REGISTRY=https://... for another upstream")
        caches[registry] = url.rstrip("/") or default_upstream(registry)
    return caches


def default_upstream(registry: str) -> str:
    """Docker Hub answers at another name: https://distribution.github.io/distribution/recipes/mirror/"""
    return "https://registry-1.docker.io" if registry == "docker.io" else f"https://{registry}"


def port_or_none(value: str) -> int | None:
    if value and not (re.fullmatch(r"[0-9]{1,5}", value) and 1 <= int(value) <= 65535):
        raise ValueError("a port from 1 to 65535, or nothing")
    return int(value) if value else None


def ipv4_or_empty(value: str) -> str:
    try:
        return str(ipaddress.IPv4Address(value)) if value else ""
    except ValueError:
        raise ValueError("an IPv4 address of this machine, such as 192.168.1.10 or 0.0.0.0") from None


def ipv4_addresses(value: str) -> tuple[str, ...]:
    addresses = [ipv4_or_empty(entry.strip()) for entry in value.split(",") if entry.strip()]
    return tuple(dict.fromkeys(addresses))


def subnet_or_empty(value: str) -> str:
    try:
        if value and "/" not in value:  # would be read as a network of one address
            raise ValueError
        return str(ipaddress.IPv4Network(value)) if value else ""
    except ValueError:
        raise ValueError("an IPv4 subnet, such as 172.30.0.0/16") from None


def network_name(value: str) -> str:
    if not re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+", value):
        raise ValueError("a Docker network name: letters, digits, _ . and -")
    if value in ("bridge", "host", "none"):
        raise ValueError("a network of its own: in Docker's built-in networks k3d nodes cannot find each other by name")
    return value


def image(value: str) -> str:
    """An image reference: https://github.com/distribution/reference/blob/main/reference.go"""
    if not re.fullmatch(r"[a-zA-Z0-9][\w.:/@-]*", value, re.ASCII):
        raise ValueError("an image reference, such as docker.io/library/nginx:1.29-alpine")
    return value


# The keys of trust.KINDS and dns.METHODS, which lie above this module; tests/core/test_settings.py holds them equal.
STORES = ("system", "nss", "java", "windows")
METHODS = ("brew-dnsmasq", "systemd-resolved", "network-manager", "hosts-file")
POD_TRUST = ("off", "variables", "system-file")
CERTIFICATES = ("own-ca", "acme")


def stores(value: str) -> tuple[str, ...]:
    names = tuple(name.strip() for name in value.split(",")) if value.strip() else ()
    if not set(names) <= set(STORES):
        raise ValueError(f"any of {', '.join(STORES)}, or nothing")
    return names


def method_or_empty(value: str) -> str:
    if value not in ("", *METHODS):
        raise ValueError(f"one of {', '.join(METHODS)}, or nothing")
    return value


def pod_trust(value: str) -> str:
    if value not in POD_TRUST:
        raise ValueError(f"one of {', '.join(POD_TRUST)}")
    return value


def certificates(value: str) -> str:
    if value not in CERTIFICATES:
        raise ValueError(f"one of {', '.join(CERTIFICATES)}")
    return value


def acme_server(value: str) -> str:
    """The URL of a directory (RFC 8555, 7.1.1). Its host and path also name a folder."""
    url = https_address(value)
    if not re.fullmatch(r"https://[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?(/[\w~-][\w.~-]*)+", url, re.IGNORECASE):
        raise ValueError("the URL of a server's directory, such as https://acme-v02.api.letsencrypt.org/directory")
    return url


def email_or_empty(value: str) -> str:
    if value and not re.fullmatch(r"[^\s@,]+@[^\s@,]+\.[^\s@,]+", value):
        raise ValueError("an e-mail address, or nothing")
    return value


def acme_client(value: str) -> str:
    """The name of a template, without its ending."""
    clients = sorted(file.stem for file in (SOURCE / "templates" / "acme").glob("*.yaml"))
    if value not in clients:
        raise ValueError(f"a client with a template in templates/acme/: {', '.join(clients)}")
    return value


def dns_provider_or_empty(value: str) -> str:
    if not re.fullmatch(r"([a-z0-9][a-z0-9_-]*)?", value):
        raise ValueError("the name that the ACME client has for a DNS provider, such as cloudflare, or nothing")
    return value


def resolvers(value: str) -> tuple[str, ...]:
    """DNS servers, each as ADDRESS:PORT."""
    found = tuple(dict.fromkeys(filter(None, map(str.strip, value.split(",")))))
    for entry in found:
        parts = re.fullmatch(r"(?:([0-9.]+)|\[([0-9a-fA-F:.]+)\]):([0-9]+)", entry)
        try:
            if not parts:
                raise ValueError
            _ = ipaddress.IPv4Address(parts[1]) if parts[1] else ipaddress.IPv6Address(parts[2])
            port(parts[3])
        except ValueError:
            raise ValueError("addresses of DNS servers with their port, such as 1.1.1.1:53 or [2620:fe::fe]:53, or "
                             "nothing") from None
    return found


def https_address(value: str) -> str:
    if re.match(r"https?://[^/]*@", value):
        raise ValueError("a URL without a password, which would be displayed; put it in ~/.netrc")
    if not re.fullmatch(r"https://[^\s/]\S*", value) or not value.isprintable():
        raise ValueError("https://...")
    return value.rstrip("/")


def version(value: str) -> str:
    if not re.fullmatch(r"v?[0-9]+\.[0-9]+\.[0-9]+([-+][0-9A-Za-z.+-]+)?", value):
        raise ValueError("a version, such as v1.21.2")
    return value


def chart_source(value: str) -> str:
    if re.fullmatch(r"(oci|https?)://[^\s/@]+@.*", value):
        raise ValueError("a URL without a password, which would be displayed; use helm registry login")
    if re.fullmatch(r"(oci|https?)://[^\s/]\S*", value) and value.isprintable():
        return value.rstrip("/")
    if not value or not path(value).is_dir():
        raise ValueError("oci://..., https://..., or an existing folder")
    return str(path(value))
