"""How commands run: words in, quoted once here; a look and a change are different calls."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from typing import Any, NoReturn

from invoke import Context, Exit
from invoke.exceptions import CommandTimedOut
from invoke.runners import Result

from tasks.progress import Step, current_step, say, side_by_side, step
from tasks.values import PROJECT

LOOK_SECONDS = 60
SLOW = "A slow machine, or images still to be pulled? Raise TIMEOUT_READY in .env, then run the task again."

_interrupted = False


def _interrupt(*_: object) -> None:
    """Ctrl-C. The running commands get it too, and end; `_run` then ends the task, in whichever thread it is.

    Raised here, it would hit the main thread alone: inside Invoke, which keeps it, or while Popen holds its lock, which
    then stays locked. A second Ctrl-C is raised all the same.
    """
    global _interrupted
    if _interrupted:
        raise KeyboardInterrupt
    _interrupted = True


class Shell:
    """The one door to other programs: an Invoke context and the environment that .env adds to it."""

    def __init__(self, context: Context, environment: Mapping[str, str]) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, _interrupt)
        self.context = context
        self.environment = dict(environment)

    @property
    def dry(self) -> bool:
        return bool(self.context.config.run.dry)

    def look(self, *words: str, seconds: float = LOOK_SECONDS) -> Result:
        """A question that changes nothing: asked under --dry too, never shown, never fails (see `.ok`)."""
        try:
            result: Result = self._run(words, dry=False, warn=True, hide=True, timeout=seconds)
        except CommandTimedOut as late:
            result = late.result
        return result

    def change(self, *words: str, hint: str = "") -> Result:
        """A command that changes something: only printed under --dry; Exit tells what failed.

        `hint` says what to do when it fails.
        """
        result: Result = self._run(words, warn=True, hide=not self.context.config.run.echo)
        if not result.ok:
            fail(words, result, hint)
        return result

    def sudo(self, *words: str, why: str) -> Result:
        """A change as root. Says what for, before a password is asked."""
        if os.geteuid() == 0:
            return self.change(*words)
        say(f"{'# ' if self.dry else ''}root is needed to {why}: sudo {shlex.join(words)}")
        return self.change("sudo", *words, hint="Was a question refused? Run this task again to be asked once more.")

    def step(self, where: str, title: str) -> AbstractContextManager[Step]:
        """One line of progress: see tasks/progress.py. Under --dry a heading for the commands that follow."""
        return step(where, title, self.dry)

    def side_by_side(self, jobs: list[Callable[[], Any]]) -> list[Any]:
        """Run the jobs at once and return their results; under --dry one after another, so that they can be read."""
        return side_by_side(jobs, at_once=not self.dry)

    def wait(self, what: str, seconds: int, *words: str) -> None:
        """A look that blocks until something is so, such as `kubectl wait`; Exit says what was waited for."""
        if not self.dry:
            result = self.look(*words, seconds=seconds + 10)  # its own limit comes first, with its reason
            if not result.ok:
                fail(words, result, f"That was waiting {seconds} s for {what}. {SLOW}")

    def until(self, what: str, seconds: float, ready: Callable[[], bool], pause: float = 0.3) -> None:
        """Look again and again until it is so; Exit says what was waited for. Under --dry there is nothing to see."""
        deadline = time.monotonic() + seconds
        while not self.dry and not ready():
            if time.monotonic() > deadline:
                raise Exit(f"{current_step()}: waited {seconds:.0f} s for {what}.\n{SLOW}")
            time.sleep(pause)
            if _interrupted:
                raise KeyboardInterrupt

    @contextmanager
    def one_at_a_time(self) -> Iterator[None]:
        """Hold the lock of this project: what writes a file that clusters share does so one after another."""
        if self.dry:
            yield
            return
        folder = PROJECT / ".work"
        folder.mkdir(exist_ok=True)
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def until_ended(self, command: str) -> None:
        """Wait for a command that an earlier, killed run left behind. `command` is a regular expression for pgrep."""
        # The brackets keep pgrep from finding the shell that runs it.
        pattern = f"[{command[0]}]{command[1:]}"
        self.until(f"an earlier `{command}` to end", 900, lambda: not self.look("pgrep", "-f", "--", pattern).ok)

    @contextmanager
    def background(self, *words: str) -> Iterator[Callable[[], str]]:
        """A look that goes on while others are made. Gives a function for what it has said; OSError when it has ended.

        Not through Invoke, which ends the process that it has started and then waits for that one's children: where
        kubectl is a wrapper script, those would never end.
        """
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                       env={**os.environ, **self.environment}, start_new_session=True)

            def said() -> str:
                text = os.pread(output.fileno(), 10_000, 0).decode(errors="replace")
                if process.poll() is not None:
                    raise OSError(f"{words[0]} ended: {text}")
                return text

            try:
                yield said
            finally:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()

    def _run(self, words: tuple[str, ...], **options: object) -> Any:
        if _interrupted:
            raise KeyboardInterrupt
        result = self.context.run(
            shlex.join(words), in_stream=False, echo_format="{command}", env=self.environment, encoding="utf-8",
            **options,
        )
        if _interrupted:  # what the command says then is no answer
            raise KeyboardInterrupt
        return result


def fail(words: tuple[str, ...], result: Result, hint: str = "") -> NoReturn:
    """Exit with what failed, the command, its last lines and what to do."""
    said = (result.stderr.strip() or result.stdout.strip()).splitlines()[-12:]
    raise Exit(
        "\n".join(
            [
                f"{current_step() or words[0]}: {words[0]} ended with {result.exited}.",
                f"  {shlex.join(words)}",
                *(f"  | {line}" for line in said),
                hint or "Mend that and run the task again: every task may be repeated. --echo shows all output.",
            ]
        )
    )


def words_after_dashes() -> list[str]:
    """The words after `--`, one by one. Invoke joins them into a string, which loses the quoting."""
    return sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []


def is_macos(shell: Shell) -> bool:
    return shell.look("uname", "-s").stdout.strip() == "Darwin"


# --- required tools ---------------------------------------------------------------------------------------------------

INSTALL = {
    "docker": "https://docs.docker.com/get-started/get-docker/ (or colima, podman with docker's command line)",
    "k3d": "brew install k3d, or https://k3d.io/stable/#installation",
    "helm": "brew install helm, or https://helm.sh/docs/intro/install/",
    "kubectl": "brew install kubectl, or https://kubernetes.io/docs/tasks/tools/",
    "openssl": "brew install openssl, or your system's package openssl",
    "brew": "https://brew.sh",
    "podman": "brew install podman, or https://podman.io/docs/installation",
}

# k3d 5.7.0 wrote to coredns-custom, which is ours to add to: https://github.com/k3d-io/k3d/releases/tag/v5.7.1
# Helm 3.13 brought `helm upgrade --labels`.
OLDEST = {"k3d": (5, 7, 1), "helm": (3, 14, 0)}
VERSION_OF = {"k3d": ("k3d", "version"), "helm": ("helm", "version", "--short")}


def require(shell: Shell, *tools: str) -> None:
    """Exit names every tool that is missing or too old, with the way to get it."""
    problems = []
    for tool in tools:
        if not shutil.which(tool):
            problems.append(f"{tool} is not installed: {INSTALL[tool]}")
        elif tool in OLDEST:
            said = next(iter(shell.look(*VERSION_OF[tool]).stdout.splitlines()), "")
            found = re.search(r"v?(\d+)\.(\d+)(?:\.(\d+))?", said)
            numbers = tuple(int(part or 0) for part in found.groups()) if found else (0, 0, 0)
            if numbers < OLDEST[tool]:
                oldest = ".".join(map(str, OLDEST[tool]))
                problems.append(f"{tool} {oldest} or newer is needed, and this is {said or 'unknown'}: "
                                f"{INSTALL[tool]}")
        elif tool == "docker":
            engine = shell.look("docker", "version", "--format", "{{.Server.Version}}")
            if not engine.ok:
                said = (engine.stderr.strip() or "no answer").splitlines()[-1]
                problems.append(f"docker is installed, but its engine does not answer ({said}): start Docker")
    if problems:
        raise Exit("Before this can run:\n" + "\n".join(f"  {problem}" for problem in problems))
