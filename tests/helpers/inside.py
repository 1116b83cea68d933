"""`inv` within the process of the test: Invoke's own program, and a runner that asks the recorders instead of a shell.

What a process has to itself is given to the run and taken back afterwards: environment, folder, streams, signals, what
modules remember. So tests see nothing of each other and of the machine.
"""

from __future__ import annotations

import io
import ipaddress
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from pathlib import Path
from typing import Any, TextIO
from unittest import mock

from invoke import Config, Program, UnexpectedExit, __version__
from invoke.exceptions import CommandTimedOut
from invoke.loader import FilesystemLoader
from invoke.runners import Local, Result
from recording import Fakes, own_folder

import tasks
from tasks.core import setting_types, shell, system_files
from tasks.doctor import dns

Patch = tuple[Any, str, Any]
"""An object, the name of an attribute, and the value that it has while `inv` runs."""


class Runner(Local):
    """Hands commands over as words. tests/core/test_shell.py proves that a real shell splits them in the same way."""

    fakes: Fakes

    def run(self, command: str, **options: Any) -> Result:
        self._setup(command, options)
        if self.opts["dry"]:
            return self.result("", "", 0)
        try:
            done = self.fakes.run(shlex.split(command)[1:-1], self.env, self.opts["timeout"])
        except subprocess.TimeoutExpired as late:
            raise CommandTimedOut(self.result("", "", -signal.SIGKILL), timeout=int(late.timeout)) from None
        for name, stream, text in (("stdout", "out", done.stdout), ("stderr", "err", done.stderr)):
            if name not in self.opts["hide"]:
                self.streams[stream].write(text)
        result = self.result(done.stdout, done.stderr, done.exit)
        if not (result or self.opts["warn"]):
            raise UnexpectedExit(result)
        return result

    def result(self, stdout: str, stderr: str, exited: int) -> Result:
        return self.generate_result(**{**self.result_kwargs, "stdout": stdout, "stderr": stderr, "exited": exited})


class Loaded(FilesystemLoader):
    """The tasks are here already, and need not be looked for."""

    def load(self, name: str | None = None) -> tuple[Any, str]:
        return tasks, str(setting_types.PROJECT)


class InProgram(Program):
    """What the command `inv` is (invoke.main), but for where the tasks and the runner come from."""

    def __init__(self, fakes: Fakes) -> None:
        runner = type("Runner", (Runner,), {"fakes": fakes})

        class OwnConfig(Config):
            def __init__(self, **options: Any) -> None:
                super().__init__(**{"system_prefix": str(own_folder() / "nothing-"), **options})

            @staticmethod
            def global_defaults() -> dict[str, Any]:
                defaults: dict[str, Any] = Config.global_defaults()
                return {**defaults, "runners": {"local": runner}}

        super().__init__(name="Invoke", binary="inv[oke]", binary_names=["invoke", "inv"], version=__version__,
                         loader_class=Loaded, config_class=OwnConfig)


@contextmanager
def background(fakes: Fakes, this: shell.Shell, *words: str) -> Iterator[Callable[[], str]]:
    """Shell.background without a process."""
    environment = this.environment
    if not shutil.which(words[0], path=environment["PATH"]):
        raise FileNotFoundError(2, "No such file or directory", words[0])
    answer = fakes.run(words, environment)

    def said() -> str:
        if not answer.holds:
            raise OSError(f"{words[0]} ended: {answer.stdout}{answer.stderr}")
        return answer.stdout

    yield said


def resolver(known: Callable[[str], Iterable[str]]) -> Patch:
    """The machine's resolver answers so for names; none is an error."""
    real = socket.getaddrinfo

    def getaddrinfo(name: Any, port: Any, *more: Any, **named: Any) -> Any:
        text = name.decode() if isinstance(name, bytes) else name
        try:
            ipaddress.ip_address(text or "127.0.0.1")
        except ValueError:
            addresses = [*known(text)]
            if not addresses:
                raise socket.gaierror(-2, "Name or service not known") from None
            return [entry for address in addresses for entry in real(address, port, *more, **named)]
        return real(name, port, *more, **named)

    return socket, "getaddrinfo", getaddrinfo


NOBODY = "127.0.0.7"
"""This machine's address in its network, and nobody listens there."""

NO_NAMES = resolver(lambda name: ["127.0.0.1"] if name == "localhost" else [])


def no_terminal(*_: int) -> Any:
    raise OSError("there is none")


@contextmanager
def set_wholly(environment: dict[str, str], folder: Path) -> Iterator[None]:
    """In this environment and this folder."""
    before, there = dict(os.environ), Path.cwd()
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(there)
        os.environ.clear()
        os.environ.update(before)


def stream(encoding: str) -> TextIO:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace", newline="\n", write_through=True)


def text_of(stream: Any) -> str:
    return str(stream.buffer.getvalue().decode())


def inv(
    fakes: Fakes, words: tuple[str, ...], folder: Path, root: Path, environment: dict[str, str], cwd: Path, user: int,
    patches: list[Patch],
) -> subprocess.CompletedProcess[str]:
    """Run `inv` with these words, for a project in this folder, on a machine whose files lie below `root`."""
    encoding, argv = environment.get("PYTHONIOENCODING", "utf-8"), ["inv", *words]
    out, err = stream(encoding), stream(encoding)
    handler = signal.getsignal(signal.SIGINT)

    def go(this: shell.Shell, *words: str) -> Any:
        return background(fakes, this, *words)

    settled: list[Patch] = [
        (setting_types, "PROJECT", folder), (system_files, "ROOT", root), (shell, "SBIN", ()),
        (shell, "_interrupted", False), (shell.Shell, "background", go), (os, "geteuid", lambda: user),
        (os, "get_terminal_size", no_terminal), (dns, "lan_address", lambda: NOBODY), NO_NAMES,
        (sys, "argv", argv), (sys, "stdout", out), (sys, "stderr", err), (sys, "__stdout__", out),
        (sys, "dont_write_bytecode", sys.dont_write_bytecode),
    ]
    with Path(os.devnull).open() as nothing, set_wholly(environment, cwd):
        held = [mock.patch.object(*patch) for patch in (*settled, (sys, "stdin", nothing), *patches)]
        for patch in held:
            patch.start()
        try:
            copy_context().run(InProgram(fakes).run, argv)
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        finally:
            for patch in reversed(held):
                patch.stop()
            signal.signal(signal.SIGINT, handler)
    return subprocess.CompletedProcess(argv, code, text_of(out), text_of(err))



