"""Steps on a terminal, in a pipe, in a CI, in whatever encoding: what is drawn, what is printed, what is left."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest
from conftest import SOURCE

STEPS = """
import sys, time
sys.path.insert(0, sys.argv[1])
from tasks.core.console import running_steps, say
from tasks.core.progress import confirm, side_by_side, step

def job(name):
    with step(name, "cluster") as this:
        time.sleep(0.4)
        this.outcome = "[red]in /tmp/[x][/red]"

side_by_side([lambda: job("cl1"), lambda: job("cl2")])
try:
    with step("", "names"):
        if "ask" in sys.argv:
            confirm("Go on? ", False)
        raise OSError("no")
except Exception as error:
    say(f"→ {error.message}")
"""


def environment(extra: dict[str, str]) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "LANG": "C.UTF-8", "TERM": "xterm-256color", **extra}


def in_pipe(**extra: str) -> str:
    done = subprocess.run([sys.executable, "-c", STEPS, str(SOURCE)], env=environment(extra), capture_output=True,
                          encoding=extra.get("PYTHONIOENCODING", "utf-8"))
    assert done.returncode == 0 and done.stderr == ""
    return done.stdout


def on_terminal(*words: str, **extra: str) -> str:
    """All that reaches a terminal, control characters too."""
    controller, terminal = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", STEPS, str(SOURCE), *words], env=environment(extra),
                               stdin=terminal, stdout=terminal, stderr=terminal, start_new_session=True)
    os.close(terminal)
    if words:
        os.write(controller, b"y\n")
    shown = b""
    while True:
        try:
            part = os.read(controller, 65536)
        except OSError:  # how Linux tells that nobody has the terminal open any more
            part = b""
        if not part:
            break
        shown += part
    assert process.wait() == 0, shown
    os.close(controller)
    return shown.decode()


@pytest.mark.process
def test_in_a_pipe_each_step_is_one_plain_line_and_a_message_is_no_markup() -> None:
    lines = in_pipe().splitlines()
    assert sorted(re.sub(r" +[0-9.]+ s$", "", line) for line in lines[:2]) == [
        "✓ cl1 │ cluster: [red]in /tmp/[x][/red]", "✓ cl2 │ cluster: [red]in /tmp/[x][/red]"]
    assert re.fullmatch(r"✗ names: failed +0\.0 s", lines[2])
    assert lines[3].startswith("→ names: no. Check its owner") and len(lines) == 4


@pytest.mark.process
def test_forced_colours_draw_nothing_in_a_pipe_that_only_a_terminal_can_take_back() -> None:
    coloured = in_pipe(FORCE_COLOR="1")
    assert "\033[32m✓\033[0m cl1" in coloured and "\033[31m✗\033[0m names" in coloured
    assert re.findall(r"\033\[[^m]*[A-Zln-z]", coloured) == []


@pytest.mark.process
def test_on_a_terminal_running_steps_are_shown_below_and_nothing_of_them_is_left() -> None:
    shown = on_terminal()
    assert "  cl1 cluster 0 s" in shown and "  cl2 cluster 0 s" in shown
    for name in ("cl1", "cl2"):
        assert shown.count(f"\033[32m✓\033[0m {name} │ cluster: [red]in /tmp/[x][/red]") == 1
    assert shown.rfind("\033[?25h") > shown.rfind("\033[?25l"), "the cursor is shown"
    assert all("\033[?25h" in drawn[:200] for drawn in shown.split("\033[?25l")[1:]), "at once: a kill restores nothing"


@pytest.mark.process
@pytest.mark.parametrize("extra", [{"TERM": "dumb"}, {"CI": "1", "NO_COLOR": "1"}], ids=["dumb", "CI"])
def test_where_nothing_can_be_redrawn_there_are_plain_lines(extra: dict[str, str]) -> None:
    shown = on_terminal(**extra)
    assert "\033" not in shown and shown.count("✓ cl1 │ cluster: ") == 1


@pytest.mark.process
@pytest.mark.parametrize("columns", ["0", "1", "7"])
def test_no_width_of_a_terminal_loses_a_line(columns: str) -> None:
    shown = on_terminal(COLUMNS=columns)
    assert shown.count("cl1 │ cluster: [red]in /tmp/[x][/red]") == 1 and "→ names: no." in shown


@pytest.mark.process
def test_a_question_stands_alone_on_the_terminal() -> None:
    shown = on_terminal("ask")
    asked, _, after = shown.partition("Go on? ")
    assert "names 0 s" in asked and "names" not in asked.rpartition("\033[2K")[2], "taken away before the question"
    assert "✗" in after


@pytest.mark.process
@pytest.mark.parametrize("extra", [
    {"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "cp1252"}, {"LANG": "C"}, {"LANG": "POSIX"}, {"LC_ALL": "C"},
], ids=str)
def test_signs_are_spelled_out_where_they_cannot_be_written(extra: dict[str, str]) -> None:
    lines = in_pipe(**extra).splitlines()
    assert sorted(line[:16] for line in lines[:2]) == ["ok cl1 | cluster", "ok cl2 | cluster"]
    assert lines[2].startswith("x names: failed") and lines[3].startswith("-> names: no.")


def test_the_list_of_tasks_is_printed_without_importing_rich() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "invoke", "--list"], cwd=SOURCE, env=environment({}),
        capture_output=True, text=True)
    assert "k3d-cluster-setup" in done.stdout and "tasks.core.console" in done.stderr
    assert not re.search(r"\| +(rich|filelock)$", done.stderr, re.MULTILINE)


def test_a_table_in_ascii_has_straight_columns(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
                                               ) -> None:
    from tasks.core.table import Row, show

    monkeypatch.setenv("LC_ALL", "C")
    show([Row("cl1", "a", "green", "good"), Row("cl2", "b", "red", "bad"), Row("cl3", "c", "grey", "")])
    lines = capsys.readouterr().out.strip("\n").splitlines()
    assert lines == ["    from  to", "ok  cl1   a   good", "x   cl2   b   bad", "-   cl3   c"]
