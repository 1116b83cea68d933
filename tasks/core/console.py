"""The terminal: one console for steps and tables, the signs that it can show, and the lines of the running steps."""

from __future__ import annotations

import io
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # rich is imported when something is printed: `inv --list` does without it
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.live import Live
    from rich.text import Text

IN_ASCII = str.maketrans({"✓": "ok", "✗": "x", "│": "|", "→": "->"})

PIPE_WIDTH = 240
"""A pipe has no width that lines would have to be broken for."""

_console: Console | None = None

_printing = threading.RLock()

if isinstance(sys.stdout, io.TextIOWrapper):
    sys.stdout.reconfigure(errors="replace")  # what this terminal cannot show becomes `?` instead of an error


def console() -> Console:
    """The console of what is standard output now: with --json that is standard error for a while."""
    global _console
    if _console is None or _console.file is not sys.stdout:
        _console = make_console()
    return _console


def make_console() -> Console:
    from rich.console import Console

    class LastingConsole(Console):
        def on_broken_pipe(self) -> None:
            """`| head` has read enough: the work goes on, unseen."""
            self.quiet = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    # A message is text, and never markup: a path may hold `[red]`.
    made = LastingConsole(file=sys.stdout, markup=False, emoji=False, highlight=False)
    if not made.is_terminal:
        made.width = PIPE_WIDTH
    elif made.width < 1:  # COLUMNS=0, with which rich prints nothing
        made.width = shutil.get_terminal_size().columns
    return made


def say(message: str | Text = "") -> None:
    with _printing:
        console().print(printable(message) if isinstance(message, str) else message, soft_wrap=True)


def printable(text: str) -> str:
    """The text, its signs in ASCII where the output cannot encode them or the user's locale is C."""
    return text if can_show_signs() else text.translate(IN_ASCII)


def can_show_signs() -> bool:
    # Python itself takes the locale C for UTF-8, and for that sets LC_CTYPE: https://peps.python.org/pep-0538/
    names = [os.environ.get("LC_ALL"), os.environ.get("LC_CTYPE", "").replace("C.UTF-8", ""), os.environ.get("LANG")]
    if next(filter(None, names), "") in ("C", "POSIX"):
        return False
    try:
        "".join(map(chr, IN_ASCII)).encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except UnicodeEncodeError:
        return False
    return True


@dataclass
class RunningStep:
    title: str
    started: float
    waits_for: str = ""
    """What it waits for at the moment; empty if it works itself."""


class RunningSteps:
    """A line for each running step with its time so far, below all else on a terminal; gone when the steps are done."""

    def __init__(self) -> None:
        self.steps: dict[object, RunningStep] = {}
        self.pulls: dict[str, str] = {}
        """The images that are being pulled, by the cluster that the titles of its steps begin with."""
        self.hidden = 0
        self.live: Live | None = None

    @contextmanager
    def show(self, title: str) -> Iterator[RunningStep]:
        key, shown = object(), RunningStep(title, time.monotonic())
        with _printing:
            self.steps[key] = shown
            self._update()
        try:
            yield shown
        finally:
            with _printing:
                del self.steps[key]
                self._update()

    @contextmanager
    def hide(self) -> Iterator[None]:
        """Leave the terminal to someone who asks a question there."""
        with _printing:
            self.hidden += 1
            self._update()
        try:
            yield
        finally:
            with _printing:
                self.hidden -= 1
                self._update()

    def _update(self) -> None:
        wanted = bool(self.steps) and not self.hidden and can_redraw()
        if wanted and self.live is None:
            from rich.live import Live

            self.live = Live(self, console=console(), transient=True, redirect_stdout=False, redirect_stderr=False)
            self.live.start(refresh=True)
            console().show_cursor(True)  # so that not even `kill -9` leaves a terminal without one
        elif not wanted and self.live is not None:
            self.live.stop()
            self.live = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        from rich.text import Text

        for step in [*self.steps.values()]:
            seconds = f" {time.monotonic() - step.started:.0f} s"
            waits_for = f"waiting for {step.waits_for}" if step.waits_for else ""
            pulls = self.pulls.get(step.title.partition(" ")[0], "")
            line = Text("  " + printable(": ".join(filter(None, [step.title, waits_for, pulls]))))
            line.truncate(max(0, options.max_width - len(seconds) - 1))
            yield line + Text(seconds)


def can_redraw() -> bool:
    """Whether the output is a terminal in front of a person: not a pipe, also with FORCE_COLOR, and no log of a CI."""
    return sys.stdout.isatty() and not console().is_dumb_terminal and not os.environ.get("CI")


running_steps = RunningSteps()
