"""What is wrong with a command line, and what to type: a sentence for each mistake."""

from __future__ import annotations

from collections.abc import Iterable

from invoke.parser import Argument, ParserContext
from invoke.parser.context import to_flag
from invoke.parser.parser import ParseMachine


def takes_numbers(context: ParserContext) -> bool:
    """Whether it is a cluster task: only those have `--n`."""
    return "--n" in context.flags


def missing_value(argument: Argument, machine: ParseMachine) -> str:
    task = machine.context
    flag = to_flag(argument.names[0])
    owner = task if flag in task.flags else machine.initial
    example = " For example: --n 1" if flag == "-n" and takes_numbers(task) else help_for(task)
    return f"{max(owner.names_for(flag), key=len)} needs a value.{example}"


def unknown_flag(flag: str, task: ParserContext, own: ParserContext) -> str:
    near = nearest(flag, [name for name in (*task.flag_names(), *own.flag_names()) if name.startswith("--")])
    if not task.name:
        return f"inv has no flag {flag}.{near or ' Flags of a task go after its name.'} To see all of them: inv --help"
    return f"{task.name} has no flag {flag}.{near}{help_for(task)}"


def unknown_word(word: str, task: ParserContext, contexts: Iterable[str]) -> str:
    if task.name and f"--{word}" in task.flags:
        return f"{word!r} is a flag of {task.name}. Type: inv {task.name} --{word}"
    if takes_numbers(task) and word[:1].isdigit():
        return f"{task.name} takes its clusters in one word, such as 1,2 or 1-3, and {word!r} is a second one."
    near = nearest(word, contexts)
    if takes_numbers(task) and not task.positional_args[0].got_value:
        return f"{word!r} is neither a cluster number (1, 1,2 or 1-3) nor a task.{near}"
    if task.name and not near:
        takes = "only one argument" if task.positional_args else "no arguments"
        return f"{task.name} takes {takes}, and there is no task {word!r}. To see all tasks: inv --list"
    return unknown_task(word, contexts)


def unknown_task(word: str, contexts: Iterable[str]) -> str:
    return f"There is no task {word!r}.{nearest(word, contexts) or ' To see all tasks: inv --list'}"


def help_for(task: ParserContext) -> str:
    return f" To see its flags: inv --help {task.name}" if task.name else " To see all flags: inv --help"


def nearest(word: str, names: Iterable[str]) -> str:
    """` Did you mean this, that or another?` with the names that contain the word or are spelt alike; may be empty."""
    import difflib

    names, word = list(names), word.replace("_", "-").lower()
    containing = [name for name in names if len(word.strip("-")) > 2 and word.strip("-") in name]
    near = list(dict.fromkeys([*containing, *difflib.get_close_matches(word, names, cutoff=0.7)]))[:3]
    *first, last = near or [""]
    return f" Did you mean {', '.join(first) + ' or ' if first else ''}{last}?" if near else ""
