"""How a command line is read, and how a task ends. Invoke is bent here and in core/task_list.py, and nowhere else.

What Invoke 3.0.3 cannot do by its own settings, and is done here:

- `--n 1`: Invoke spells a one-letter parameter `-n` and nothing else (invoke#174).
- `k3d-cluster-setup 1`: Invoke gives a bare word only to a parameter without a default (invoke#159), which then takes
  flags for its value (invoke#1084).
- `k3d-cluster-setup-1`: ten real tasks for each of these would all be listed (invoke#722).
- `dnsmasq_brew`, the original's spelling: Invoke knows either the dashes or the underscores.
- Errors that say what to type, where Invoke says `Flag <Argument: n> needed value and was not given one!`: their
  sentences are in core/command_line_errors.py.

`inv` reads its own flags before it loads the tasks. What is wrong with those (`inv --config` without a file) is
therefore still told in Invoke's words. tests/core/test_command_line.py holds all of it.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Mapping
from typing import Any

from invoke import Collection, Exit, Program, Task
from invoke.exceptions import ParseError
from invoke.parser import Argument, ParserContext
from invoke.parser.parser import ParseMachine, is_flag

from tasks.core.command_line_errors import missing_value, takes_numbers, unknown_flag, unknown_task, unknown_word
from tasks.core.progress import describe_os_error


class PlainTask(Task):  # type: ignore[type-arg]
    """A task that ends in a sentence instead of a traceback where a file or the disk is in the way."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except BrokenPipeError:
            raise reader_gone() from None
        except OSError as error:
            raise Exit(describe_os_error(error)) from None


class ClusterTask(PlainTask):
    """A task for clusters: its parameter `n` is given as `1`, `--n 1` or `-n 1`, or at the end of the task's name."""

    def __init__(self, body: Any, **options: Any) -> None:
        super().__init__(body, positional=["n"], **options)


def reader_gone() -> Exit:
    """How it ends when `| head` has read enough: what is still to be written goes nowhere."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return Exit(code=128 + signal.SIGPIPE)


# --- names and flags --------------------------------------------------------------------------------------------------

_to_contexts = Collection.to_contexts


def to_contexts(self: Collection, ignore_unknown_help: bool | None = None) -> list[ParserContext]:
    """`--n` for every cluster task; this is also how the functions below know one."""
    contexts: list[ParserContext] = _to_contexts(self, ignore_unknown_help)
    for context in contexts:
        if isinstance(self[context.name], ClusterTask):
            context.flags.alias("--n", to="-n")  # type: ignore[no-untyped-call]
    return contexts


Collection.to_contexts = to_contexts  # type: ignore[method-assign]


# --- one word after another -------------------------------------------------------------------------------------------

_handle = ParseMachine.handle


def handle(self: ParseMachine, token: str) -> None:
    try:
        if not self.contexts:  # `inv` reads its own flags: no task is known yet
            _handle(self, token)
        elif is_flag(token):
            read_flag(self, token)
        elif self.waiting_for_flag_value:
            _handle(self, token)
        else:
            read_word(self, token)
    except ValueError:  # of a flag whose default is a number
        self.error(f"{token!r} is not a number.")


ParseMachine.handle = handle  # type: ignore[method-assign]


def read_flag(machine: ParseMachine, flag: str) -> None:
    """A flag of the task, or one of Invoke's own; each once, and with its value."""
    task = machine.context
    owner = next((context for context in (task, machine.initial) if flag in context.flags), None)
    if owner is None and flag not in task.inverse_flags:
        if machine.waiting_for_flag_value:  # a value may begin with a dash
            _handle(machine, flag)
            return
        machine.error(unknown_flag(flag, task, machine.initial))
    before: Argument | None = machine.flag
    if before and machine.waiting_for_flag_value and not before.optional:
        machine.error(missing_value(before, machine))
    if owner is not None:
        argument = owner.flags[flag]
        if argument.takes_value and argument.kind is not list and argument.got_value:
            machine.error(f"{flag} was given twice. " + (
                "For several clusters type: --n 1,2 or --n 1-3" if takes_numbers(task) and argument.name == "n"
                else "Give it once."))
    _handle(machine, flag)


def read_word(machine: ParseMachine, word: str) -> None:
    """A word that is neither a flag nor a flag's value: the next task, or what this one is about."""
    name, number = find_task(word, machine.contexts)
    if name:
        _handle(machine, name)
        for part in ("-n", number) if number else ():
            _handle(machine, part)
        return
    task = machine.context
    unfilled = [argument for argument in task.positional_args if not argument.got_value]
    if unfilled and (not takes_numbers(task) or word[:1].isdigit() or not word):
        unfilled[0].value = word
        return
    machine.error(unknown_word(word, task, machine.contexts))


def find_task(word: str, contexts: Mapping[str, ParserContext]) -> tuple[str, str]:
    """The task that a word names, with dashes or underscores, and the number behind its name; both may be empty."""
    dashed = word.replace("_", "-")
    for name in (word, dashed):
        if name in contexts:
            return name, ""
    numbered = re.fullmatch(r"(.+)-([0-9]+)", dashed)
    if numbered and numbered[1] in contexts and takes_numbers(contexts[numbered[1]]):
        return numbered[1], numbered[2]
    return "", ""


_complete_flag = ParseMachine.complete_flag


def complete_flag(self: ParseMachine) -> None:
    """Called where a flag's value should have come, and something else or nothing did."""
    flag: Argument | None = self.flag
    if flag and flag.takes_value and flag.raw_value is None and not flag.optional:
        self.error(missing_value(flag, self))
    _complete_flag(self)


ParseMachine.complete_flag = complete_flag  # type: ignore[method-assign]


# --- --help TASK and --list NAMESPACE ---------------------------------------------------------------------------------

_parse_tasks = Program.parse_tasks


def parse_tasks(self: Program) -> None:
    """The word behind `--list` is checked before the tasks are read, that behind `--help` when their names are known.

    Both flags take any next word for their value, one that begins with a dash too.
    """
    namespace, wanted = self.args.list.value, self.args.help.value
    for word in (namespace, wanted):
        if isinstance(word, str) and is_flag(word):
            raise ParseError(unknown_flag(word, self.initial_context, self.initial_context))
    if isinstance(namespace, str):
        try:
            self.collection.subcollection_from_path(namespace)
        except KeyError:
            raise ParseError(f"There is no namespace {namespace!r}. To see all tasks: inv --list") from None
    _parse_tasks(self)
    wanted = self.args.help.value
    if isinstance(wanted, str):
        name, _ = find_task(wanted, self.parser.contexts)
        if not name:
            raise ParseError(unknown_task(wanted, self.parser.contexts))
        self.args.help.value = name


Program.parse_tasks = parse_tasks  # type: ignore[method-assign]
