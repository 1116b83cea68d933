"""The task `trace`: one URL, hop by hop, from its name to the answer; then the same URL from pods."""

from __future__ import annotations

from invoke import Context, Exit, task

from tasks import providers
from tasks.core import configuration
from tasks.core.browser_ports import BLOCKED_PORTS, describe_blocked
from tasks.core.invoke_patches import PlainTask
from tasks.core.progress import say
from tasks.core.shell import Shell
from tasks.core.table import JSON_HELP, Row, print_json, show
from tasks.front_door.container import is_in_use
from tasks.tools.required import require


@task(klass=PlainTask, positional=["url"], help={
    "url": "a URL below a cluster's domain; with the port, unless there is a front door. Or an image", **JSON_HELP})
def trace(context: Context, url: str = "", json: bool = False) -> None:
    """Trace a URL or image and show where it breaks

    inv trace https://example-nginx.cl1.k3d.internal:11443/
    From this machine: name, resolver, port, front door (for a URL without port), load balancer, Traefik, Ingress (or
    IngressRoute, or HTTPRoute), Service, endpoints, router, certificate, name constraints, answer. Then from a pod in
    each running cluster. If the application sends its users to an issuer of OpenID Connect, the same follows for that
    URL. What cert-manager and Traefik report about a failure is quoted. A command is shown only if it fixes the
    failure.

    inv trace docker.io/library/nginx:1.29-alpine
    The cache or registry on this machine, its upstream, and the nodes of each running cluster.
    """
    # Imported here, because `inv --list` would load all hops for one line.
    from tasks.trace.hops import trace_hops
    from tasks.trace.image import is_image, trace_image
    from tasks.trace.url import parse_url

    settings = configuration.load()
    shell = Shell(context, settings.environment)
    if is_image(settings, url):
        require(shell, *providers.needed_tools(settings))
        report(url, trace_image(shell, settings, url), json)
        return
    parsed = parse_url(settings, url, lambda: is_in_use(shell, settings))
    require(shell, *providers.needed_tools(settings, "kubectl"))
    note = "".join(describe_blocked([parsed.cluster])) if parsed.port in BLOCKED_PORTS else ""
    report(parsed.url, trace_hops(shell, parsed), json, note)


def report(what: str, rows: list[Row], json: bool, note: str = "") -> None:
    """Print the hops, and Exit with those at which it breaks."""
    if json:
        print_json(rows)
    else:
        show(rows, "hop", "at")
        if note:
            say(note)
    red = [row for row in rows if row.state == "red"]
    if red:
        raise Exit(f"{what} breaks here:\n" + "\n".join(
            f"  {row.source}, {row.target}: {row.note}\n    {row.command}".rstrip() for row in red))
