"""One line per step, with its time; steps that run side by side carry a bar."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar, copy_context
from typing import Any

from invoke import Exit

from tasks.core.console import RunningStep, console, printable, running_steps, say

_beside: ContextVar[bool] = ContextVar("beside", default=False)

_title: ContextVar[str] = ContextVar("title", default="")

_running: ContextVar[RunningStep | None] = ContextVar("running", default=None)

MARKS = {"done": ("green", "✓"), "warned": ("yellow", "!"), "failed": ("red", "✗")}


class Step:
    """What a step did, in a few words: set `outcome`, and `warned` where the user should read it."""

    def __init__(self) -> None:
        self.outcome = "done"
        self.warned = False

    def skip(self, outcome: str) -> None:
        self.outcome = outcome

    def warn(self, outcome: str) -> None:
        self.outcome, self.warned = outcome, True


def current_step() -> str:
    return _title.get()


@contextmanager
def step(where: str, title: str, dry: bool = False, echo: bool = False) -> Iterator[Step]:
    """Print `where title: outcome` and the seconds it took; on an error print that it failed and let it pass.

    `dry` prints the title as a heading, because what follows is printed and not done. With `echo` nothing is drawn
    below the commands' own output.
    """
    heading, this, started = f"{where} {title}".strip(), Step(), time.monotonic()
    if dry:
        print(f"# {heading}")
        yield this
        return
    token = _title.set(heading)
    try:
        with nullcontext() if echo else running_steps.show(heading) as running:
            _running.set(running)
            yield this
    except BaseException as error:
        how = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        _finish("failed", where, f"{title}: {how}", started)
        if isinstance(error, OSError):
            raise Exit(f"{heading}: {describe_os_error(error)}") from None
        raise
    finally:
        _title.reset(token)
    _finish("warned" if this.warned else "done", where, f"{title}: {this.outcome}", started)


@contextmanager
def waiting_for(what: str) -> Iterator[Callable[[str], None]]:
    """Show beside the running step what it waits for. Gives a function to change that."""
    running = _running.get() or RunningStep("", 0)
    before = running.waits_for

    def change(text: str) -> None:
        running.waits_for = text

    change(what)
    try:
        yield change
    finally:
        change(before)


def _finish(mark: str, where: str, text: str, started: float) -> None:
    """Print the line of a step that has ended; further lines of its outcome go below it."""
    from rich.text import Text

    colour, sign = MARKS[mark]
    body = printable(f"{where + ' ' if where else ''}{'│ ' if _beside.get() else ''}{text}")
    first, *more = body.split("\n")
    width = max(0, min(72, console().width - 12))  # so that the time stays on the line
    lines = [f" {first:<{width}} {time.monotonic() - started:6.1f} s", *more]
    say(Text.assemble((printable(sign), colour), "\n".join(lines)))


def describe_os_error(error: OSError) -> str:
    """For a file that cannot be read or written: which, why, and where to look."""
    what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return f"{what}. Check its owner, permissions and free disk space, then run the task again."


def side_by_side(jobs: list[Callable[[], Any]], at_once: bool = True) -> list[Any]:
    """Run the jobs at once and return their results in order.

    All are waited for, also when one fails; then what failed is raised, all together. `at_once=False` keeps their
    order, as `--dry` needs it.
    """
    if not at_once or len(jobs) <= 1:
        return [job() for job in jobs]

    def beside(job: Callable[[], Any]) -> Any:
        _beside.set(True)
        return job()

    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = [pool.submit(copy_context().run, beside, job) for job in jobs]
        while wait(futures, timeout=0.5).not_done:  # in a wait without an end, Ctrl-C may stay unheard
            pass
    failures = [error for future in futures if (error := future.exception())]
    refusals = dict.fromkeys(str(error.message) for error in failures if isinstance(error, Exit))
    if failures and len(failures) == len(refusals):
        raise Exit("\n\n".join(refusals))
    return [future.result() for future in futures]


def per_cluster(clusters: list[Any], job: Callable[[Any], None], at_once: bool = True) -> None:
    """Run the job for every cluster side by side; Exit names those that failed, after all have ended."""
    failures: dict[str, Exit] = {}

    def guarded(cluster: Any) -> None:
        try:
            job(cluster)
        except Exit as error:
            if len(clusters) == 1:
                raise
            failures[cluster.name] = error

    side_by_side([lambda cluster=cluster: guarded(cluster) for cluster in clusters], at_once)  # type: ignore[misc]
    if failures:
        names = [cluster.name for cluster in clusters if cluster.name in failures]
        told = "\n\n".join(f"{name}: {failures[name].message}" for name in names)
        raise Exit(f"{told}\n\nFailed: {', '.join(names)}.", code=1)


def confirm(question: str, otherwise: bool) -> bool:
    """Ask on the terminal; `otherwise` is what a mere Enter means."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # Shell's own lets the question wait on
    try:
        with running_steps.hide():
            answer = input(question).strip().lower()
    except EOFError:
        say()
        return False
    finally:
        signal.signal(signal.SIGINT, handler)
    return answer in ("y", "yes") if answer else otherwise
