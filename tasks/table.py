"""One table for all that is checked."""

from __future__ import annotations

from dataclasses import dataclass

from tasks.progress import say


@dataclass(frozen=True)
class Row:
    """One line of the table. `state`: green works, red does not, yellow is for you to do, grey was not asked."""

    source: str
    target: str
    state: str
    note: str
    command: str = ""
    """What to type where it is yellow."""


def show(rows: list[Row], *headings: str) -> None:
    """Print the rows below headings for source and target, and below that the commands for what is yellow."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    signs = {"green": "✓", "red": "✗", "yellow": "!", "grey": "-"}
    table = Table("", *(headings or ("from", "to")), "", box=None, padding=(0, 2, 0, 0))
    for row in rows:
        style = "bright_black" if row.state == "grey" else row.state
        table.add_row(Text(signs[row.state], style), row.source, row.target, Text(row.note, style))
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 240  # a pipe has no width that lines would have to be broken for
    with console.capture() as lines:
        console.print(table)
    say("\n" + "\n".join(line.rstrip() for line in lines.get().splitlines()) + "\n")
    commands = dict.fromkeys(row.command for row in rows if row.command)
    if commands:  # below the table, which would cut them
        say("For what is yellow, type:\n" + "\n".join(f"  {command}" for command in commands) + "\n")
