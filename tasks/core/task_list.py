"""What `inv` and `inv --list` show: the tasks in the groups of tasks/__init__.py. Bends Invoke, as invoke_patches does.

Invoke sorts by alphabet, answers `inv` without words with its own flags, and ends in a traceback in a terminal that is
too narrow for its two columns. `--list-format`, `--list-depth` and `--list NAMESPACE` stay Invoke's.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Mapping, Sequence

from invoke import Collection, Exit, Program, Task
from invoke.exceptions import ParseError
from invoke.terminals import pty_size
from invoke.util import helpline

from tasks.core.invoke_patches import reader_gone
from tasks.core.progress import describe_os_error

OTHERS = "Other tasks"
"""The group of tasks that tasks/__init__.py does not list, such as those of a collection that was added."""

FOOTER = """\
To see the flags of a task: inv --help TASK
k3d-cluster-setup is also cluster-setup, and so on"""

WITH_NEUTRAL_NAME = "k3d_"
"""Tasks of the original whose names begin so can be typed without it: they are for every provider."""

MIN_WIDTH = 20
"""A description gets at least this many columns, or goes below its name."""


def in_groups(groups: Mapping[str, Sequence[Task]]) -> Collection:  # type: ignore[type-arg]
    """The tasks as one namespace. Each carries its group, because Invoke lists a copy of what it is given."""
    for title, members in groups.items():
        for task in members:
            task.group = title  # type: ignore[attr-defined]
            if task.name.startswith(WITH_NEUTRAL_NAME):
                task.aliases = (task.name.removeprefix(WITH_NEUTRAL_NAME),)
    return Collection(*(task for members in groups.values() for task in members))


_list_flat = Program.list_flat


def list_flat(self: Program) -> None:
    if self.list_root or self.list_depth:
        _list_flat(self)
        return
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, aliases in self.collection.task_names.items():
        task = self.collection[name]
        group = getattr(task, "group", OTHERS)
        spelled = f"{name} ({', '.join(aliases)})" if aliases and group == OTHERS else name  # ours are in the footer
        groups.setdefault(group, []).append((spelled, helpline(task) or ""))
    width = max(len(name) for rows in groups.values() for name, _ in rows)
    for title, rows in groups.items():
        print(title)
        self.print_columns([(name.ljust(width), text) for name, text in rows])
    print(FOOTER)


Program.list_flat = list_flat  # type: ignore[method-assign]


_list_tasks = Program.list_tasks


def list_tasks(self: Program) -> None:
    if self.list_format not in ("flat", "nested", "json"):
        raise ParseError(f"There is no list format {self.list_format!r}. Choose flat, nested or json.")
    try:
        _list_tasks(self)
        sys.stdout.flush()
    except BrokenPipeError:
        raise reader_gone() from None
    except OSError as error:
        raise Exit(describe_os_error(error)) from None


Program.list_tasks = list_tasks  # type: ignore[method-assign]


def no_tasks_given(self: Program) -> None:
    self.list_tasks()
    raise Exit


Program.no_tasks_given = no_tasks_given  # type: ignore[method-assign]


def print_columns(self: Program, tuples: Sequence[tuple[str, str | None]]) -> None:
    """Names and their descriptions side by side, or below each other in a narrow terminal."""
    columns = pty_size()[0]
    indent = self.leading_indent_width + max(len(name) for name, _ in tuples) + self.col_padding
    below = columns - 1 - indent < MIN_WIDTH
    if below:
        indent = 2 * self.leading_indent_width
    for name, text in tuples:
        lines = textwrap.wrap(text or "", max(columns - 1 - indent, MIN_WIDTH))
        first = self.leading_indent + name
        if lines and not below:
            first = first.ljust(indent) + lines.pop(0)
        print(first.rstrip())
        for line in lines:
            print(" " * indent + line)
    print()


Program.print_columns = print_columns  # type: ignore[method-assign]
