"""From the name to the load balancer: what is on this machine. And what comes back in the end."""

from __future__ import annotations

import socket

from tasks.cluster.changed_settings import recreate_command
from tasks.dns.resolver import addresses
from tasks.engine.ports import holder
from tasks.probe.requests import SECONDS, TRAEFIKS_OWN, Answer, ask_from_host
from tasks.trace.context import Broken, Found, TraceContext


def host_name(walk: TraceContext) -> Found:
    """The cluster that the name belongs to is there."""
    if walk.cluster.name not in walk.clusters:
        raise Broken(walk.address.host, f"there is no cluster {walk.cluster.name}", walk.inv("setup"))
    return Found(walk.address.host, f"a name of {walk.cluster.name}")


def resolver(walk: TraceContext) -> Found:
    """This machine's resolver leads the name here."""
    host, found = walk.address.host, addresses(walk.address.host)
    if not found:
        raise Broken(host, "this machine does not find the name", "inv dns")
    if found != {"127.0.0.1"}:
        raise Broken(host, f"leads to {', '.join(sorted(found))}, and not to this machine", "inv dns")
    return Found(host, "127.0.0.1")


def port(walk: TraceContext) -> Found:
    """Something listens on the port of this machine."""
    at = f"127.0.0.1:{walk.address.port}"
    try:
        socket.create_connection(("127.0.0.1", walk.address.port), timeout=SECONDS).close()
    except OSError as error:
        why = error.strerror or str(error)
        if walk.found.running:
            raise Broken(at, f"{why}, and {walk.cluster.name} runs", walk.inv("restart")) from None
        stopped = "" if walk.found.balancer_running else f": its load balancer {walk.found.balancer} does not run"
        raise Broken(at, f"{why}; {walk.cluster.name} is {walk.found.state}{stopped}", walk.inv("start")) from None
    return Found(at, "open")


def load_balancer(walk: TraceContext) -> Found:
    """It is the cluster's load balancer that has the port."""
    at, address = walk.found.balancer, walk.address
    published = walk.found.ports.get({"http": "80/tcp", "https": "443/tcp"}[address.scheme], set())
    if not walk.found.balancer_running:
        held = holder(walk.shell, address.port)
        raise Broken(at, f"it does not run, and port {address.port} is held{held or ' by something else'}. "
                     "Stop that first", walk.inv("start"))
    if str(address.port) not in published:
        raise Broken(at, f"publishes {address.scheme} on {', '.join(sorted(published)) or 'no port'}, "
                     f"and the settings say {address.port}", recreate_command(walk.cluster))
    return Found(at, f"runs, publishes {address.port}")


def answer(walk: TraceContext) -> Found:
    """The application answers, whatever it says."""
    address = walk.address
    said = ask_from_host(address.cluster, address.scheme, address.host, address.path)
    logs = walk.kubectl("-n kube-system logs deployment/traefik --tail=20")
    if said.error:
        raise Broken(address.path, said.error, logs)
    wrong = explain_proxy_answer(said)
    if wrong:
        raise Broken(address.path, wrong, walk.mend(f"describe service {walk.route.service}") if walk.route else logs)
    return Found(address.path, f"HTTP {said.status}")


def explain_proxy_answer(said: Answer) -> str:
    """Why an answer is none of the application; empty when it is."""
    if said.status in (502, 503, 504):
        return f"HTTP {said.status}: Traefik gets no answer from the endpoints. Do they listen on the targetPort?"
    if said.status == 404 and said.body == TRAEFIKS_OWN:
        return "HTTP 404 of Traefik itself: it has no router for this URL (yet?)"
    return ""
