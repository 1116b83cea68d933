"""Which images the nodes of a cluster are pulling, as the events of its pods show."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import copy_context

from tasks.core.console import can_redraw, running_steps, say
from tasks.core.settings import Cluster
from tasks.core.shell import Shell
from tasks.probe.objects import Object, list_objects

SECONDS = 3
"""Between two queries; a step that is done before the first one needs none."""

OF_PODS = ("--field-selector", "involvedObject.kind=Pod")

PULLING = re.compile(r'Pulling image "([^"]+)"')
PULLED = re.compile(r'Successfully pulled image "([^"]+)"(?:.*Image size: (\d+) bytes)?')


@contextmanager
def shown(shell: Shell, cluster: Cluster) -> Iterator[None]:
    """Show the pulls beside the running steps of a cluster; without a terminal, a line for each change."""
    if shell.dry:
        yield
        return
    done = threading.Event()
    thread = threading.Thread(target=copy_context().run, args=(follow, shell, cluster, done), daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        running_steps.pulls.pop(cluster.name, None)


def follow(shell: Shell, cluster: Cluster, done: threading.Event) -> None:
    try:
        while not done.wait(SECONDS):
            text = describe(list_objects(shell, cluster, "events", *OF_PODS))
            if text and text != running_steps.pulls.get(cluster.name) and not can_redraw():
                say(f"  {cluster.name} {text}")
            running_steps.pulls[cluster.name] = text
    except KeyboardInterrupt:  # the task that waits ends by it too
        return


def describe(events: list[Object]) -> str:
    """The images that are being pulled, and how much was pulled before; empty if there are none."""
    messages = [str(event.get("message", "")) for event in events]
    pulled = {found[1]: int(found[2] or 0) for message in messages if (found := PULLED.match(message))}
    pulling = dict.fromkeys(found[1] for message in messages if (found := PULLING.match(message)))
    waiting = [image for image in pulling if image not in pulled]
    if not waiting:
        return ""
    size = f", {sum(pulled.values()) / 1_000_000:.0f} MB" if any(pulled.values()) else ""
    before = f" ({len(pulled)} pulled before{size})" if pulled else ""
    return f"pulling {', '.join(waiting)}{before}"
