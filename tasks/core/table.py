"""One style for all tables: readable without colour, in a narrow terminal, in a pipe, and as JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from tasks.core.console import console, printable, say

if TYPE_CHECKING:
    from rich.text import Text

JSON_HELP = {"json": "for programs"}

SIGNS = {"green": "✓", "red": "✗", "yellow": "!", "grey": "-"}


GAP = 2
"""Between two columns."""

LONG_WORD = 32
"""A longer one, such as a URL or a path, is folded where there is no room for it."""


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
    code: str = "ok"
    """What is wrong, for programs; see tasks/core/problems.py."""


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
    """Print a table with an empty line around it. Text that is too wide for the terminal goes on below.

    Words are kept whole; where not even they fit beside each other, what stands in a line goes below each other.
    """
    from rich.table import Column, Table
    from rich.text import Text

    screen = console()
    lines_of_cells = [[*map(styled, row)] for row in rows]
    widths = widths_of([*zip(map(Text, headings), *lines_of_cells, strict=True)], screen.width)
    if not widths:
        lines_of_cells = [[below_each_other(headings, line)] for line in lines_of_cells]
        headings, widths = [""], [screen.width]
    table = Table(*(Column(heading, overflow="fold", width=width)
                    for heading, width in zip(headings, widths, strict=True)),
                  box=None, padding=(0, GAP, 0, 0), pad_edge=False, show_header=len(widths) > 1)
    for line in lines_of_cells:
        table.add_row(*line)
    with screen.capture() as lines:
        screen.print(table)
    say("\n" + "\n".join(line.rstrip() for line in lines.get().splitlines()) + "\n")


def widths_of(columns: Sequence[Sequence[Text]], room: int) -> list[int]:
    """How wide the columns are: the widest give way while their words stay whole. None where that is not enough."""
    widths = [max(cell.cell_len for cell in column) for column in columns]
    least = [min(LONG_WORD, max(len(word) for cell in column for word in cell.plain.split() or [""]))
             for column in columns]
    room -= GAP * (len(columns) - 1)
    if sum(least) > room:
        return []
    while sum(widths) > room:
        widest = max(range(len(widths)), key=lambda number: (widths[number] > least[number], widths[number]))
        widths[widest] -= 1
    return widths


def below_each_other(headings: Sequence[str], line: Sequence[Text]) -> Text:
    """A line of a table in a terminal that is too narrow for it: sign and name, and below that the rest."""
    from rich.text import Text

    first = next((number for number, cell in enumerate(line) if len(cell.plain.strip()) > 1), 0)
    begin = Text(" ").join(cell for cell in line[: first + 1] if cell.plain)
    rest = [Text.assemble("  ", f"{heading}: " if heading else "", cell)
            for heading, cell in zip(headings[first + 1 :], line[first + 1 :], strict=True) if cell.plain.strip()]
    return Text("\n").join([begin, *rest])


def styled(cell: str | Cell | list[Cell]) -> Text:
    from rich.text import Text

    if isinstance(cell, list):
        return Text.assemble(*map(styled, cell))
    if isinstance(cell, str):
        return Text(printable(cell))
    return Text(printable(cell.text), "bright_black" if cell.state == "grey" else cell.state)


def print_json(value: Any) -> None:
    """Print it for programs: the only thing on standard output."""
    print(json.dumps(value, indent=2, default=dataclasses.asdict))
