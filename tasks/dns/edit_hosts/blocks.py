"""The text of a hosts file: in it, a block of lines for each copy of the tasks. Any other bytes stay as they are."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

OWNER = "dev-cluster-tasks"

BEGIN = re.compile(
    rb"^# BEGIN " + OWNER.encode() + rb" in (?P<copy>[^\r\n]+?), sha256 (?P<sha256>[0-9a-f]{16})"
    rb"(?P<joined>; the line above had no end)?(?P<line_end>\r?\n)", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """The names of one copy, between two marker lines. The first one has a hash of what follows."""

    copy: str
    start: int
    end: int
    body: str
    line_end: bytes
    joined: bool
    """Whether the file did not end with a line end, and got one so that the block could be appended."""
    edited: bool


def find_blocks(content: bytes) -> list[Block]:
    """The blocks of all copies. One without its last line counts as edited."""
    return [read_block(content, begin) for begin in BEGIN.finditer(content)]


def read_block(content: bytes, begin: re.Match[bytes]) -> Block:
    last_line = rb"^# END " + OWNER.encode() + rb" in " + re.escape(begin["copy"]) + rb"\r?(\n|\Z)"
    end = re.compile(last_line, re.MULTILINE).search(content, begin.end())
    body = content[begin.end(): end.start() if end else begin.end()].replace(b"\r\n", b"\n")
    return Block(begin["copy"].decode(), begin.start(), end.end() if end else begin.end(),
                 body.decode(errors="replace"), begin["line_end"], bool(begin["joined"]),
                 edited=end is None or hash_of(body) != begin["sha256"].decode())


def hash_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]


def with_block(content: bytes, copy: str, body: str) -> bytes:
    """The content with this body in the block of that copy; without the block if the body is empty.

    :raises ValueError: if someone edited the block.
    """
    blocks = [block for block in find_blocks(content) if block.copy == copy]
    if len(blocks) > 1 or any(block.edited for block in blocks):
        raise ValueError(f"the lines from `# BEGIN {OWNER} in {copy}` to `# END` were edited")
    if not blocks:
        return append_block(content, copy, body) if body else content
    block, = blocks
    before, after = content[:block.start], content[block.end:]
    if body:
        return before + make_block(copy, body, block.line_end, block.joined) + after
    if not block.joined:
        return before + after
    if not after:
        return before.removesuffix(block.line_end)
    return before + pass_on_joined(after)


def pass_on_joined(after: bytes) -> bytes:
    """The block that now follows the added line end takes it over, to remove it later."""
    following = next(iter(find_blocks(after)), None)
    if not following or following.start or following.edited:
        return after
    return make_block(following.copy, following.body, following.line_end, True) + after[following.end:]


def append_block(content: bytes, copy: str, body: str) -> bytes:
    line_end = b"\r\n" if content[:content.rfind(b"\n")].endswith(b"\r") else b"\n"
    joined = bool(content) and not content.endswith(b"\n")
    return content + (line_end if joined else b"") + make_block(copy, body, line_end, joined)


def make_block(copy: str, body: str, line_end: bytes, joined: bool) -> bytes:
    note = "; the line above had no end" if joined else ""
    lines = (f"# BEGIN {OWNER} in {copy}, sha256 {hash_of(body.encode())}{note}\n{body}"
             f"# END {OWNER} in {copy}\n")
    return lines.encode().replace(b"\n", line_end)


def without_blocks(content: bytes) -> bytes:
    for block in reversed(find_blocks(content)):
        content = content[:block.start] + content[block.end:]
    return content


def with_lines_of(content: bytes, other: bytes) -> bytes:
    """The content, and at its end the lines that only the other one has, except for blocks."""
    known = {line.rstrip(b"\r") for line in content.split(b"\n")}
    lines = [line for line in without_blocks(other).split(b"\n") if line.rstrip(b"\r") not in known]
    start = b"" if content.endswith(b"\n") or not content else b"\n"
    return content + start + b"\n".join([*lines, b""]) if lines else content
