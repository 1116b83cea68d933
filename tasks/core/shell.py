"""How commands run: words in, quoted once here; a look and a change are different calls."""

from __future__ import annotations

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
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NoReturn

from invoke import Context, Exit
from invoke.exceptions import CommandTimedOut
from invoke.runners import Result

from tasks.core import locks, setting_types
from tasks.core.console import running_steps, say
from tasks.core.env_files import SECRET
from tasks.core.progress import Step, current_step, side_by_side, step, waiting_for
from tasks.core.tool_environment import for_tools

LOOK_SECONDS = 60

SLOW = ("The machine may be slow, or images may still be downloading. "
        "Increase TIMEOUT_READY in .env and run the task again.")

AGAIN = "Fix the cause and run the task again; tasks are safe to repeat. Use --echo to see the full output."

# Debian leaves these out of a user's PATH; dnsmasq and update-ca-certificates lie there.
SBIN = ("/usr/local/sbin", "/usr/sbin", "/sbin")

# User and password in a proxy's address, before the `@` perhaps escaped: see tasks/providers/k3d.py.
PROXY_PASSWORD = re.compile(r"(_proxy=(?:\w+://)?).*\\@", re.IGNORECASE)

SUDO_REFUSES = re.compile(r"sudo: (a password is required|a terminal is required|no tty|no password was provided|"
                          r"\d+ incorrect password|(command )?not found)|not in the sudoers file|is not allowed to")

USAGE_ERROR = re.compile(
    r"unknown (shorthand )?flag\b|unknown command \"|flag needs an argument|required flag\(s\)|"
    r"invalid argument \".*\" for \"|error: unknown (option|argument)|"
    r"(unrecognized|unrecognised|invalid|illegal|unknown) option\b|"
    r"^bash: line \d+: (exec: )?\S+: (not found|cannot execute)", re.MULTILINE)
"""What kubectl, helm, docker and others report about their arguments. Time changes nothing about it."""

USAGE_EXIT = 64  # EX_USAGE of sysexits.h

waits_for: ContextVar[str] = ContextVar("waits_for", default="")
"""What the checks at hand wait for; empty outside a wait."""

_interrupted = False


class CommandFailed(Exit):
    """A command that changes something has failed: its message is for people, its `result` for who goes on."""

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message)
        self.result = result


def _interrupt(*_: object) -> None:
    """Ctrl-C. The running commands get it too, and end; `_run` then ends the task, in whichever thread it is.

    Raised here, it would hit the main thread alone: inside Invoke, which keeps it, or while Popen holds its lock, which
    then stays locked. A second Ctrl-C is raised all the same.
    """
    global _interrupted
    if _interrupted:
        raise KeyboardInterrupt
    _interrupted = True


def own_tools() -> Path:
    """Where `inv tools --install` puts programs; they win over the machine's."""
    return setting_types.PROJECT / ".tools" / "bin"


class Shell:
    """The one door to other programs: an Invoke context and the environment that .env adds to it."""

    def __init__(self, context: Context, environment: Mapping[str, str]) -> None:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, _interrupt)
        self.context = context
        users = environment.get("PATH") or os.environ.get("PATH", os.defpath)
        path = os.pathsep.join([str(own_tools()), users, *SBIN])
        self.environment = {**for_tools({**os.environ, **environment}), "PATH": path}
        """The whole environment of the programs."""
        self._secrets = [value for key, value in environment.items() if SECRET.search(key) and len(value) >= 8]
        self.root_refused = False
        """Whether sudo, or the user with --no-root, has refused: then nothing more is asked as root."""
        self._announced: set[tuple[str, ...]] = set()

    @property
    def dry(self) -> bool:
        return bool(self.context.config.run.dry)

    @property
    def stages_files(self) -> bool:
        """Whether files that root shall put into place are written to .work/ beforehand."""
        return not self.dry

    def find(self, program: str) -> str:
        """The path of a program that these commands would run; empty when there is none."""
        return shutil.which(program, path=self.environment["PATH"]) or ""

    def look(self, *words: str, seconds: float = LOOK_SECONDS) -> Result:
        """A question that changes nothing: asked under --dry too, never shown, never fails (see `.ok`)."""
        try:
            result: Result = self._run(words, dry=False, warn=True, hide=True, timeout=seconds)
        except CommandTimedOut as late:
            result = late.result
        if (what := waits_for.get()) and is_usage_error(result):
            fail(words, result, f"This was to wait for {what}. {AGAIN}")
        return result

    def note(self, text: str) -> None:
        """Under --dry: say what else would be done, where no command does it."""
        if self.dry:
            print("\n".join(f"# {line}" for line in text.splitlines()))

    def change(self, *words: str, hint: str | Callable[[Result], str] = "") -> Result:
        """A command that changes something: only printed under --dry; Exit tells what failed.

        `hint` says what to do when it fails, or reads that from the result.
        """
        result: Result = self._run(words, warn=True, hide=not self.context.config.run.echo)
        if not result.ok:
            for secret in self._secrets:  # some programs print a token that was refused
                result.stdout, result.stderr = (text.replace(secret, "***") for text in (result.stdout, result.stderr))
            fail(words, result, hint if isinstance(hint, str) else hint(result))
        return result

    def announce_sudo(self, commands: Iterable[tuple[str, ...]]) -> None:
        """These commands were listed before; `sudo` tells of any other one."""
        self._announced.update(commands)

    def sudo(self, *words: str, why: str) -> Result:
        """A change as root: see tasks/core/sudo.py, which lists them beforehand."""
        if self.root_refused:
            raise Exit(f"{current_step()}: root access is needed to {why}, but was refused.")
        if os.geteuid() == 0:
            return self.change(*words)
        if words not in self._announced and not self.dry:
            say(f"This command needs root too, to {why}: sudo {shlex.join(words)}")
        try:
            with running_steps.hide():  # sudo itself asks on the terminal
                return self.change("sudo", *words)
        except CommandFailed as error:
            self.root_refused = bool(SUDO_REFUSES.search(error.result.stderr + error.result.stdout))
            raise

    def step(self, where: str, title: str) -> AbstractContextManager[Step]:
        """One line of progress: see tasks/core/progress.py. Under --dry a heading for the commands that follow."""
        return step(where, title, self.dry, bool(self.context.config.run.echo))

    def side_by_side(self, jobs: list[Callable[[], Any]]) -> list[Any]:
        """Run the jobs at once and return their results; under --dry one after another, so that they can be read."""
        return side_by_side(jobs, at_once=not self.dry)

    def wait(self, what: str, seconds: int, *words: str) -> None:
        """A look that blocks until something is so, such as `kubectl wait`; Exit says what was waited for."""
        if self.dry:
            return
        started = time.monotonic()
        with waiting_for(what):
            result = self.look(*words, seconds=seconds + 10)  # its own limit comes first, with its reason
        if not result.ok:
            late = "timed out" in result.stderr or time.monotonic() - started >= seconds
            fail(words, result, f"Timed out after {seconds} s waiting for {what}. {SLOW}" if late
                 else f"This was to wait for {what}. {AGAIN}")

    def until(self, what: str, seconds: float, ready: Callable[[], bool], pause: float = 0.3,
              hint: str = SLOW) -> None:
        """Call `ready` until it returns true; after `seconds`, Exit says what was waited for.

        A program in `ready` that rejects its arguments ends the wait. Under --dry, nothing is called.
        """
        deadline = time.monotonic() + seconds
        before = waits_for.set(what)
        try:
            with waiting_for(what):
                while not self.dry and not ready():
                    if time.monotonic() > deadline:
                        message = f"timed out after {seconds:.0f} s waiting for {what}."
                        raise Exit(f"{current_step()}: {message}\n{hint}".rstrip())
                    self.pause(pause)
        finally:
            waits_for.reset(before)

    def pause(self, seconds: float) -> None:
        time.sleep(seconds)
        if _interrupted:
            raise KeyboardInterrupt

    def one_at_a_time(self, kind: str, thing: str | Path) -> AbstractContextManager[None]:
        """Hold the lock of what is shared, such as `cluster`, `cl1`: see tasks/core/locks.py. A dry run takes none."""
        if self.dry:
            return nullcontext()
        return locks.hold(kind, thing, f"inv {redact(tuple(sys.argv[1:]))}", self.pause)

    def until_ended(self, *command: str, part: str = "") -> None:
        """Wait for a command of this user that an earlier, killed run left behind.

        It begins with these words, perhaps behind a path, or an interpreter and its options; `part` ends a later word.
        Without pgrep nothing is waited for.
        """
        if not self.find("pgrep"):
            return
        # re.escape writes "\ " and "\-", which mean nothing in the regular expressions of POSIX.
        begin, end = (re.sub(r"[][.*+?^$|(){}\\]", r"\\\g<0>", text) for text in (" ".join(command), part))
        pattern = f"^([^ ]+ (-[^ ]+ )*)?([^ ]*/)?{begin} {f'.*{end}( |$)' if part else ''}"
        words = ("pgrep", "-u", str(os.geteuid()), "-f", "--", pattern)
        self.until(f"`{' '.join(command)}` of an earlier run to end", 900, lambda: not self.look(*words).ok,
                   hint=f"To see it: {shlex.join(words)}")

    @contextmanager
    def background(self, *words: str) -> Iterator[Callable[[], str]]:
        """A look that goes on while others are made. Gives a function for what it has said; OSError when it has ended.

        Not through Invoke, which ends the process that it has started and then waits for that one's children: where
        kubectl is a wrapper script, those would never end.
        """
        with tempfile.TemporaryFile() as output:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                       env=self.environment, start_new_session=True)

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
            shell_line(words), in_stream=False, echo_format=redact(words).replace("{", "{{").replace("}", "}}"),
            env=self.environment, replace_env=True, encoding="utf-8", **options,
        )
        if _interrupted:  # what the command says then is no answer
            raise KeyboardInterrupt
        return result


def is_usage_error(result: Result) -> bool:
    """Whether a program has refused its arguments, or there is no such program."""
    return not result.ok and (result.exited == USAGE_EXIT or bool(USAGE_ERROR.search(result.stderr)))


def shell_line(words: tuple[str, ...]) -> str:
    """The command for Invoke, which runs a shell, and whose `in_stream=False` leaves a pipe open: nothing ever ends it.

    `exec` has the program itself end when Invoke kills the shell, and passes over functions that a user has exported.
    """
    return f"exec {shlex.join(words)} </dev/null"


def redact(words: tuple[str, ...]) -> str:
    """The command as people may see it: without the password of a proxy."""
    return shlex.join(PROXY_PASSWORD.sub(r"\1***@", word) for word in words)


def strip_colors(text: str) -> str:
    """Without colours, which some programs print also where nobody sees them."""
    return re.sub(r"\033\[[0-9;]*m", "", text)


def fail(words: tuple[str, ...], result: Result, hint: str = "") -> NoReturn:
    """CommandFailed tells what failed, the command, its last lines and what to do."""
    said = strip_colors(result.stderr.strip() or result.stdout.strip()).splitlines()[-12:]
    raise CommandFailed("\n".join([
        f"{current_step() or words[0]}: {words[0]} exited with code {result.exited}.",
        f"  {redact(words)}",
        *(f"  | {line}" for line in said),
        hint or AGAIN,
    ]), result)


def words_after_dashes() -> list[str]:
    """The words after `--`, one by one. Invoke joins them into a string, which loses the quoting."""
    return sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
