"""Programs that are only pretended: what they receive is written down, and they answer as the test has said.

In the process of the test they are asked directly. Where a test needs real processes, fakes/recorder.py lies on the
PATH under their names and asks over TCP.
"""

from __future__ import annotations

import atexit
import errno
import itertools
import json
import os
import re
import shlex
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

PROGRAMS = ("bash", "sh", "env", "cat", "chmod", "cp", "install", "mkdir", "mv", "openssl", "rm", "rmdir", "sleep")
"""The programs of this machine that tests may run; they see no other ones on their PATH."""


@cache
def own_folder() -> Path:
    """Of this process: the recorder, and in `programs` links to the programs above."""
    folder = Path(tempfile.mkdtemp(prefix="dev-cluster-tasks-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    folder.chmod(0o755)
    recorder = folder / "recorder"
    recorder.write_text(f"#!{sys.executable} -SE\n{(Path(__file__).parent / 'fakes' / 'recorder.py').read_text()}")
    recorder.chmod(0o755)
    (folder / "programs").mkdir()
    for program in PROGRAMS:
        if real := shutil.which(program):
            (folder / "programs" / program).symlink_to(real)
    return folder


@dataclass(frozen=True)
class Answer:
    """What a program does; `run` is a command that it becomes."""

    stdout: str = ""
    stderr: str = ""
    exit: int = 0
    kill: bool = False
    run: Sequence[str] = ()
    holds: bool = False
    """Whether it goes on until it is killed."""


@dataclass(frozen=True)
class Call:
    """What a program received, and the commands that were received earlier."""

    words: list[str]
    environment: dict[str, str]
    earlier: list[str]


Behaviour = Callable[[Call], "Answer | None"]


class Fakes:
    """The pretended programs of one test: by name on a PATH, with rules for what they answer."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        self.rules: list[dict[str, Any]] = []
        self.behaviours: dict[str, list[Behaviour]] = {}
        self.received: list[tuple[list[str], dict[str, str]]] = []
        self.lines: list[str] = []
        self.lock = threading.Lock()
        self.address = Door.of_this_process().let_in(self)

    # --- which there are ---

    def add(self, *tools: str) -> None:
        """Put recorders with these names on the PATH."""
        for tool in tools:
            self.behaviours[tool] = []
            (self.bin / tool).unlink(missing_ok=True)
            (self.bin / tool).symlink_to(own_folder() / "recorder")

    def add_spies(self, *tools: str, real: str = "", folder: Path | None = None) -> None:
        """Put recorders on the PATH that write down the words and then run the real program."""
        for tool in tools:
            program = real or shutil.which(tool)
            assert program, f"{tool} is not installed"
            self.add(tool)
            self.behave(tool, lambda call, program=program: Answer(run=[program, *call.words[1:]]))  # type: ignore[misc]
            if folder:
                (self.bin / tool).rename(folder / tool)

    def link(self, *tools: str) -> None:
        """Put real programs on the PATH."""
        for tool in tools:
            (self.bin / tool).symlink_to(shutil.which(tool) or f"/nowhere/{tool}")

    def behave(self, tool: str, how: Behaviour) -> None:
        """What a recorder does where no rule answers; the first such behaviour that gives an answer counts."""
        self.behaviours[tool].append(how)

    # --- what they answer ---

    def answer(
        self, match: str, stdout: str = "", *, stderr: str = "", exit: int = 0, after: str = "", before: str = "",
        kill: bool = False,
    ) -> None:
        """Answer so to commands that match; a later rule wins over an earlier one.

        `after` and `before` are expressions for commands that must, or must not, have been received earlier; with both,
        not since the one that must. `kill` gives no answer: it ends the process group, as `kill -9` does, where this
        command has not been received before. Without a rule a program succeeds and says nothing.
        """
        self.rules.append(
            {"match": match, "stdout": stdout, "stderr": stderr, "exit": exit, "after": after, "before": before,
             "kill": kill}
        )

    def receive(self, words: list[str], environment: dict[str, str]) -> Answer:
        """Write down what a program received, and give its answer."""
        command = shlex.join(words)
        with self.lock:  # tools run side by side
            earlier = [*self.lines]
            self.lines.append(command)
            self.received.append((words, environment))
        for rule in reversed(self.rules):
            if not applies(rule, command, earlier):
                continue
            if not rule["kill"]:
                return Answer(rule["stdout"], rule["stderr"], rule["exit"])
            if command not in earlier:
                return Answer(kill=True)
        for behaviour in self.behaviours.get(words[0], []):
            if answer := behaviour(Call(words, environment, earlier)):
                return answer
        return Answer()

    def run(self, words: Sequence[str], environment: dict[str, str], seconds: float | None = None) -> Answer:
        """What a shell would do with these words, of which it knows no better; real programs really run."""
        program = shutil.which(words[0], path=environment.get("PATH", ""))
        if not program:
            return Answer(stderr=f"bash: line 1: {words[0]}: command not found\n", exit=127)
        if os.path.realpath(program) != str(own_folder() / "recorder"):
            return run_really(words, program, environment, seconds)
        answer = self.receive([Path(program).name, *words[1:]], environment)
        assert not answer.kill, "this needs a process of its own"
        return self.run(answer.run, environment, seconds) if answer.run else answer

    # --- what they received ---

    def calls(self, *start: str) -> list[list[str]]:
        """The commands received, as lists of words, that begin with these words."""
        return [words for words, _ in self.received if words[: len(start)] == list(start)]

    def environments(self, *start: str) -> list[dict[str, str]]:
        """The environment that came with each of these commands."""
        return [environment for words, environment in self.received if words[: len(start)] == list(start)]

    def forget(self) -> None:
        self.received, self.lines = [], []


def run_really(words: Sequence[str], program: str, environment: dict[str, str], seconds: float | None) -> Answer:
    try:
        done = subprocess.run(words, executable=program, env=environment, stdin=subprocess.DEVNULL, timeout=seconds,
                              capture_output=True, encoding="utf-8", errors="replace")
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
        return run_really(["bash", "-c", shlex.join(words)], shutil.which("bash") or "", environment, seconds)
    return Answer(done.stdout, done.stderr, done.returncode)


def applies(rule: dict[str, Any], command: str, earlier: list[str]) -> bool:
    if not re.search(rule["match"], command):
        return False
    since = earlier
    if rule["after"]:
        first = next((number for number, line in enumerate(earlier) if re.search(rule["after"], line)), None)
        if first is None:
            return False
        since = earlier[first:]
    return not (rule["before"] and any(re.search(rule["before"], line) for line in since))


class Door(socketserver.ThreadingTCPServer):
    """Where recorders in processes of their own ask."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Asked)
        self.numbers = itertools.count()
        self.inside: dict[str, Fakes] = {}

    @staticmethod
    @cache
    def of_this_process() -> Door:
        door = Door()
        threading.Thread(target=door.serve_forever, daemon=True).start()
        return door

    def let_in(self, fakes: Fakes) -> str:
        """The address under which these are asked."""
        number = str(next(self.numbers))
        self.inside[number] = fakes
        return f"{self.server_address[1]}/{number}"


class Asked(socketserver.StreamRequestHandler):
    server: Door

    def handle(self) -> None:
        asked = json.loads(self.rfile.readline())
        answer = self.server.inside[asked["fakes"]].receive(asked["words"], asked["environment"])
        self.wfile.write(json.dumps(asdict(answer)).encode() + b"\n")
