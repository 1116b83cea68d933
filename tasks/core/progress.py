"""One line per step, with its time; steps that run side by side carry a bar."""

from __future__ import annotations

import io
import os
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any

from invoke import Exit

_beside: ContextVar[bool] = ContextVar("beside", default=False)


_title: ContextVar[str] = ContextVar("title", default="")


_printing = threading.Lock()


_running: dict[int, str] = {}

if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors="replace")  # what this terminal cannot show becomes `?` instead of an error


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
def step(where: str, title: str, dry: bool = False) -> Iterator[Step]:
    """Print `where title: outcome` and the seconds it took; on an error print that it failed and let it pass.

    `dry` prints the title as a heading, because what follows is printed and not done.
    """
    started, this = time.monotonic(), Step()
    if dry:
        print(f"# {where} {title}".replace("#  ", "# "))
        yield this
        return
    token = _title.set(f"{where} {title}".strip())
    _show_running(id(this), _title.get())
    try:
        yield this
    except BaseException as error:
        how = "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        _line("failed", where, f"{title}: {how}", time.monotonic() - started, id(this))
        if isinstance(error, OSError):
            raise Exit(f"{_title.get()}: {describe_os_error(error)}") from None
        raise
    finally:
        _title.reset(token)
    _line("warned" if this.warned else "done", where, f"{title}: {this.outcome}", time.monotonic() - started, id(this))


def describe_os_error(error: OSError) -> str:
    """For a file that cannot be read or written: which, why, and where to look."""
    what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    return f"{what}. Is it what it should be, with the right owner and mode, and is the disk not full? Then run again."


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


def say(message: str = "") -> None:
    with _printing:
        _clear()
        _print(message)


def confirm(question: str, otherwise: bool) -> bool:
    """Ask on the terminal; `otherwise` is what a mere Enter means."""
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)  # Shell's own lets the question wait on
    try:
        return {"": otherwise, "y": True, "yes": True}.get(input(question).strip().lower(), False)
    except EOFError:
        print()
        return False
    finally:
        signal.signal(signal.SIGINT, handler)


def _line(mark: str, where: str, text: str, seconds: float, key: int) -> None:
    colour, sign = {"done": ("32", "✓"), "warned": ("33", "!"), "failed": ("31", "✗")}[mark]
    bar = "│ " if _beside.get() else ""
    with _printing:
        _running.pop(key, None)
        _clear()
        body = f"{where + ' ' if where else ''}{bar}{text}"
        width = max(0, min(72, shutil.get_terminal_size().columns - 12))  # so that the time stays on the line
        _print(f"{_coloured(sign, colour)} {body:<{width}} {seconds:6.1f} s")
        _status()


def _show_running(key: int, title: str) -> None:
    with _printing:
        _running[key] = title
        _clear()
        _status()


def _status() -> None:
    """On a terminal, one passing line that says what is under way."""
    if sys.stdout.isatty() and _running:
        width = shutil.get_terminal_size().columns - 1  # a second line would not be cleared
        _print(f"… {', '.join(_running.values())}"[:width], end="")


def _clear() -> None:
    if sys.stdout.isatty():
        _print("\r\033[K", end="")


def _print(text: str, end: str = "\n") -> None:
    try:
        print(text, end=end, flush=True)
    except BrokenPipeError:  # `| head` has read enough: the work goes on, unseen
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _coloured(text: str, colour: str) -> str:
    plain = os.environ.get("NO_COLOR") or not sys.stdout.isatty()  # https://no-color.org
    return text if plain else f"\033[{colour}m{text}\033[0m"
