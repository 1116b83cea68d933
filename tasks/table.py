"""One style for all tables: readable without colour, in a narrow terminal, in a pipe, and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.progress import say

if TYPE_CHECKING:
    from rich.text import Text

JSON_HELP = {"json": "for programs"}

SIGNS = {"green": "✓", "red": "✗", "yellow": "!", "grey": "-"}


class Cell(NamedTuple):
    """A text of a table, in a colour that says the same as its sign."""

    text: str
    state: str


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of a table of checks.

    `state`: green works, red does not, yellow is for you to do, grey was not asked.
    """

    source: str
    target: str
    state: str
    note: str
    command: str = ""
    """What to type where it is yellow or red."""


def show(rows: list[Row], *headings: str) -> None:
    """Print the rows below headings for source and target, and below that the commands for what is yellow.

    What is red ends the task, in words of its own.
    """
    print_table(["", *(headings or ("from", "to")), ""], [
        [Cell(SIGNS[row.state], row.state), row.source, row.target, Cell(row.note, row.state)] for row in rows])
    commands = dict.fromkeys(row.command for row in rows if row.command and row.state == "yellow")
    if commands:  # below the table, which would cut them
        say("For what is yellow, type:\n" + "\n".join(f"  {command}" for command in commands) + "\n")


def print_table(headings: Sequence[str], rows: Iterable[Sequence[str | Cell | list[Cell]]]) -> None:
    """Print a table with an empty line around it. Text that is too wide for the terminal goes on below."""
    from rich.console import Console
    from rich.table import Column, Table

    # Nothing is cut, however narrow the terminal.
    table = Table(*(Column(heading, overflow="fold") for heading in headings), box=None, padding=(0, 2, 0, 0))
    for row in rows:
        table.add_row(*map(styled, row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 240  # a pipe has no width that lines would have to be broken for
    with console.capture() as lines:
        console.print(table)
    say("\n" + "\n".join(line.rstrip() for line in lines.get().splitlines()) + "\n")


def styled(cell: str | Cell | list[Cell]) -> Text:
    from rich.text import Text

    if isinstance(cell, list):
        return Text.assemble(*map(styled, cell))
    if isinstance(cell, str):
        return Text(cell)
    return Text(cell.text, "bright_black" if cell.state == "grey" else cell.state)


def print_json(value: Any) -> None:
    """Print it for programs: the only thing on standard output."""
    print(json.dumps(value, indent=2, default=dataclasses.asdict))
