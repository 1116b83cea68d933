"""The hosts file keeps every line of others: any bytes in it, any change by another program at any moment, any kill.

A change or a kill comes before a system call of the edit, whichever hypothesis chooses.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import product
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tasks.dns import edit_hosts
from tasks.dns.edit_hosts import shared_file
from tasks.dns.edit_hosts.blocks import find_blocks, with_block, with_lines_of, without_blocks

COPY, NAMES = "/srv/project", "127.0.0.1 app.cl0.k3d.internal\n127.0.0.1 proof.k3d.internal\n"
MORE = NAMES + "127.0.0.1 shop.cl1.k3d.internal\n"

contents = st.one_of(
    st.binary(max_size=300),
    st.lists(st.sampled_from([b"127.0.0.1 localhost", b"# a comment", b"", b"::1\tip6-localhost", b"# f\xfcr",
                              b"10.0.0.7 host.docker.internal", b"\xef\xbb\xbf# Windows", b"\x00"]), max_size=12)
    .flatmap(lambda lines: st.sampled_from([b"\n", b"\r\n"]).flatmap(
        lambda end: st.sampled_from([b"", end]).map(lambda last: end.join(lines) + last))))


# --- the text ---------------------------------------------------------------------------------------------------------


@given(contents)
def test_adding_changing_and_removing_a_block_leaves_the_file_byte_for_byte(content: bytes) -> None:
    added = with_block(content, COPY, NAMES)
    assert added.startswith(content) and with_block(added, COPY, NAMES) == added
    changed = with_block(added, COPY, MORE)
    block, = find_blocks(changed)
    assert (block.copy, block.body, block.edited) == (COPY, MORE, False)
    assert with_block(changed, COPY, NAMES) == added
    assert with_block(changed, COPY, "") == content


@given(contents, contents, st.permutations(["/a", "/b"]))
def test_copies_come_and_go_in_any_order(content: bytes, appended: bytes, order: list[str]) -> None:
    both = with_block(with_block(content, "/a", NAMES), "/b", MORE) + appended
    assume(not find_blocks(appended) and len(find_blocks(both)) == 2)
    for copy in order:
        both = with_block(both, copy, "")
    assert not find_blocks(both)
    if content.endswith(b"\n") or not content or not appended:  # else a line end stays, or two lines would become one
        assert both == content + appended


def test_a_block_has_the_line_ends_of_the_file() -> None:
    assert with_block(b"127.0.0.1 localhost\r\n", COPY, NAMES).count(b"\r\n") == 5
    assert b"\r" not in with_block(b"127.0.0.1 localhost\n", COPY, NAMES)


@pytest.mark.parametrize("damage", [
    lambda text: text.replace(b"# END", b"10.0.0.1 mine\n# END"), lambda text: text.replace(b"app.", b"apt."),
    lambda text: text[:text.index(b"# END")], lambda text: text + text,
])
def test_an_edited_block_is_refused(damage: Callable[[bytes], bytes]) -> None:
    damaged = damage(with_block(b"127.0.0.1 localhost\n", COPY, NAMES))
    for body in (MORE, ""):
        with pytest.raises(ValueError, match=r"the lines from `# BEGIN .* in /srv/project` to `# END` were edited"):
            with_block(damaged, COPY, body)


# --- other programs and kills -----------------------------------------------------------------------------------------


class Killed(BaseException):
    """As kill -9: nothing of the program runs any more that would change a file."""


@contextmanager
def before_calls(act: Callable[[int], None]) -> Iterator[None]:
    """Call `act` with a running number before each system call, and before files are swapped."""
    count = 0

    def watch(frame: FrameType, event: str, called: Any) -> None:
        nonlocal count
        swapped = event == "call" and frame.f_code is shared_file.exchange.__code__
        if swapped or (event == "c_call" and getattr(called, "__module__", "") in ("posix", "fcntl", "io", "_io")):
            count += 1
            sys.setprofile(None)
            act(count)
            sys.setprofile(watch)

    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(None)


@contextmanager
def files_closed() -> Iterator[None]:
    """The kernel closes what a killed process had open."""
    before = open_files()
    yield
    for number in open_files() - before:
        os.close(number)


def open_files() -> set[int]:
    found = set()
    for number in range(256):
        with suppress(OSError):
            os.fstat(number)
            found.add(number)
    return found


def append(file: Path, line: bytes) -> None:
    """As `echo ... >> /etc/hosts`, if the file is not leased: then this program would wait."""
    handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_NONBLOCK)
    os.write(handle, b"\n" + line + b"\n")
    os.close(handle)


def rewrite(file: Path, line: bytes) -> None:
    """As an editor that opens the file, and writes all of it."""
    handle = os.open(file, os.O_RDWR | os.O_NONBLOCK)
    content = os.pread(handle, 100_000, 0)
    os.ftruncate(handle, 0)
    os.write(handle, line + b"\n" + content)
    os.close(handle)


def replace(file: Path, line: bytes) -> None:
    """As programs that write a new file and rename it."""
    handle, new = os.open(file, os.O_RDONLY | os.O_NONBLOCK), file.with_name("of-another-program")
    new.write_bytes(line + b"\n" + os.pread(handle, 100_000, 0))
    os.close(handle)
    new.rename(file)


class Others:
    """Other programs, each of which adds a line at a certain call, or later if the file is leased then."""

    def __init__(self, file: Path, moments: Moments) -> None:
        self.file, self.waiting = file, [
            (moment, how, b"10.0.0.%d of-another" % number) for number, (moment, how) in enumerate(moments)]
        self.lines: list[bytes] = []

    def act(self, count: int) -> None:
        for entry in [*self.waiting]:
            moment, how, line = entry
            if count >= moment:
                try:
                    how(self.file, line)
                except BlockingIOError:
                    continue
                self.waiting.remove(entry)
                self.lines.append(line)


CALLS = 40
"""More than an edit makes."""

Moments = list[tuple[int, Callable[[Path, bytes], None]]]


def ways(mounted: bool) -> list[Callable[[Path, bytes], None]]:
    return [append, rewrite] if mounted else [append, rewrite, replace]


def moments(mounted: bool) -> st.SearchStrategy[Moments]:
    return st.lists(st.tuples(st.integers(1, CALLS), st.sampled_from(ways(mounted))), max_size=3)


def set_up(tmp_path: Path, content: bytes, there: str) -> Path:
    for left in tmp_path.iterdir():
        left.unlink()
    file = tmp_path / "hosts"
    file.write_bytes(with_block(content, COPY, there))
    return file


def lines_of(content: bytes) -> set[bytes]:
    """Those of others; a line end after the last one may be added."""
    return {line.rstrip(b"\r") for line in without_blocks(content).split(b"\n")} - {b""}


def edit_once(file: Path, body: str) -> None:
    shared_file.edit(file, lambda content: with_block(content, COPY, body), with_lines_of)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_file, "PATIENCE_SECONDS", 2)


@pytest.fixture(params=["swapped", pytest.param("in place", marks=pytest.mark.skipif(
    not hasattr(fcntl, "F_SETLEASE"), reason="this system has no leases, and nothing else keeps other programs out"))])
def mounted(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the file cannot be renamed, as the one in a container."""
    if request.param == "in place":
        def busy(one: Path, other: Path) -> None:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))

        busy.__code__ = busy.__code__.replace(co_name="exchange")
        monkeypatch.setattr(shared_file, "exchange", busy)
    return bool(request.param == "in place")


def test_what_another_program_writes_is_kept_at_each_moment(tmp_path: Path, mounted: bool) -> None:
    changes = [("", NAMES), (NAMES, MORE), (MORE, NAMES), (NAMES, "")]
    for moment, how, (there, body) in product(range(1, CALLS), ways(mounted), changes):
        file = set_up(tmp_path, b"127.0.0.1 localhost\n", there)
        others = Others(file, [(moment, how)])
        with before_calls(others.act):
            edit_once(file, body)
        others.act(1000)
        assert lines_of(file.read_bytes()) == {b"127.0.0.1 localhost", *others.lines}, (moment, how)


RARELY = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@RARELY
@given(content=contents, there=st.sampled_from(["", NAMES]), body=st.sampled_from(["", NAMES, MORE]), data=st.data())
def test_what_other_programs_write_at_any_moment_is_kept(
    tmp_path: Path, mounted: bool, content: bytes, there: str, body: str, data: st.DataObject
) -> None:
    file = set_up(tmp_path, content, there)
    others = Others(file, data.draw(moments(mounted)))
    with before_calls(others.act):
        edit_once(file, body)
    others.act(1000)
    found = file.read_bytes()
    assert lines_of(found) >= lines_of(content) | {*others.lines}
    edit_once(file, body)
    assert [block.body for block in find_blocks(file.read_bytes())] == ([body] if body else [])
    assert [file.name for file in tmp_path.iterdir()] == ["hosts"]


@RARELY
@given(content=contents, there=st.sampled_from(["", NAMES]), body=st.sampled_from(["", NAMES, MORE]),
       killed=st.integers(1, CALLS), data=st.data())
def test_a_kill_at_any_moment_loses_no_line_and_the_next_run_finishes(
    tmp_path: Path, mounted: bool, content: bytes, there: str, body: str, killed: int, data: st.DataObject
) -> None:
    """Also if another program writes once before the kill."""
    file = set_up(tmp_path, content, there)
    others = Others(file, data.draw(moments(mounted))[:1])

    def act(count: int) -> None:
        others.act(count)
        if count == killed:
            raise Killed

    with files_closed(), suppress(Killed), before_calls(act):
        edit_once(file, body)
    assert file.exists()
    edit_once(file, body)
    found = file.read_bytes()
    assert lines_of(found) >= lines_of(content) | {*others.lines}
    assert [block.body for block in find_blocks(found)] == ([body] if body else [])
    assert [file.name for file in tmp_path.iterdir()] == ["hosts"]


def test_mode_and_other_files_stay_and_the_time_is_new(tmp_path: Path) -> None:
    file = set_up(tmp_path, b"127.0.0.1 localhost\n", "")
    file.chmod(0o640)
    os.utime(file, (1, 1))
    edit_once(file, NAMES)
    assert stat.S_IMODE(file.stat().st_mode) == 0o640 and file.stat().st_mtime > 1


def test_a_file_with_several_names_keeps_them(tmp_path: Path) -> None:
    file = set_up(tmp_path, b"127.0.0.1 localhost\n", "")
    (tmp_path / "second").hardlink_to(file)
    edit_once(file, NAMES)
    assert (tmp_path / "second").read_bytes() == file.read_bytes() and find_blocks(file.read_bytes())


def test_it_runs_by_itself_and_reports_what_it_refuses(tmp_path: Path) -> None:
    """As root runs it: without the rest of the project."""
    file, names = set_up(tmp_path, b"127.0.0.1 localhost", ""), tmp_path / "names"
    names.write_text(NAMES)
    program = [sys.executable, "-I", str(Path(edit_hosts.__file__).parent), str(file), COPY]
    subprocess.run([*program, str(names)], check=True)
    assert find_blocks(file.read_bytes())[0].body == NAMES
    subprocess.run(program, check=True)
    assert file.read_bytes() == b"127.0.0.1 localhost"
    missing = tmp_path / "missing"
    done = subprocess.run([*program[:3], str(missing), COPY, str(names)], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == f"{missing} was not changed: [Errno 2] No such file or directory: '{missing}'\n"
