"""How a task ends for its user, and how it is called: `--n 1`, `-n 1`, `--n 1,2`, `--n 1-3`, and `k3d-cluster-setup-1`.

The only place that bends Invoke, pinned by tests/test_names.py. Invoke spells a one-letter parameter `-n` and nothing
else (invoke#174), and its `--list` would show ten numbered names for each task (invoke#722). Both are decided in
Collection, and Invoke copies ours into a plain one (Collection.from_module), so a subclass would not be asked.
A bare word, as in `inv trace URL`, Invoke gives only to a parameter without a default (invoke#159), which then takes
flags for its value (invoke#1084), and whose absence is told in Invoke's words.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from typing import Any

from invoke import Collection, Context, Exit, Task
from invoke.parser import ParserContext
from invoke.parser.parser import ParseMachine

from tasks.core.progress import describe_os_error


class PlainTask(Task):  # type: ignore[type-arg]
    """A task that ends in a sentence instead of a traceback where a file or the disk is in the way."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().__call__(*args, **kwargs)
        except BrokenPipeError:  # `| head` has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise Exit(code=128 + signal.SIGPIPE) from None
        except OSError as error:
            raise Exit(describe_os_error(error)) from None


class ClusterTask(PlainTask):
    """A task with a parameter `n`: takes `--n` too, and has the names `<task>-0` to `<task>-9`."""


_to_contexts = Collection.to_contexts


_task_with_config = Collection.task_with_config


def to_contexts(self: Collection, ignore_unknown_help: bool | None = None) -> list[ParserContext]:
    contexts: list[ParserContext] = _to_contexts(self, ignore_unknown_help)
    ours = [context for context in contexts if isinstance(self[context.name], ClusterTask)]
    for context in ours:
        context.flags.alias("--n", to="-n")  # type: ignore[no-untyped-call]
    return contexts + [ParserContext(f"{context.name}-{digit}") for context in ours for digit in range(10)]


def task_with_config(self: Collection, name: str | None) -> tuple[Any, dict[str, Any]]:
    numbered = re.fullmatch(r"(.+)-([0-9])", name or "")
    if not numbered or numbered[1] not in self.task_names:
        found: tuple[Any, dict[str, Any]] = _task_with_config(self, name)
        return found
    task: Any
    task, config = _task_with_config(self, numbered[1])

    def body(context: Context) -> Any:
        return task(context, n=numbered[2])

    body.__doc__ = task.__doc__
    return PlainTask(body, name=str(name)), config


_handle = ParseMachine.handle


def handle(self: ParseMachine, token: str) -> None:
    """A word that is no flag goes to a parameter named in `@task(positional=...)`, also when that has a default."""
    open_to_words = [] if token.startswith("-") or self.waiting_for_flag_value else [
        argument for argument in self.context.positional_args if not argument.got_value]
    if open_to_words:
        open_to_words[0].value = token
    else:
        _handle(self, token)


Collection.to_contexts = to_contexts  # type: ignore[method-assign]


Collection.task_with_config = task_with_config  # type: ignore[method-assign]


ParseMachine.handle = handle  # type: ignore[method-assign]
