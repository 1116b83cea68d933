"""Write the generated parts of docs/settings.md, docs/tasks.md and docs/errors.md: `python -m docs.generate`.

A generated part lies between two marks in its page. What is around it is written by hand and stays as it is.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tasks
from tasks import trace
from tasks.cluster.oidc import OidcReason
from tasks.cluster.oidc_checks import OidcCheckReason
from tasks.core.problems import Reason
from tasks.doctor.all_checks import OF_CLUSTER, OF_MACHINE, OF_RUNNING
from tasks.probe.connections import ConnectionReason
from tasks.probe.issuer import IssuerReason
from tasks.probe.login import LoginReason
from tasks.providers import k3d
from tasks.trace import hops  # noqa: F401 - it defines the reasons of every hop

DOCS = Path(__file__).resolve().parent
SOURCE = DOCS.parent

BEGIN = "<!-- Begin of the generated part. Write it again with: python -m docs.generate -->\n"
END = "<!-- End of the generated part. -->\n"

OTHER_REASONS = (ConnectionReason, IssuerReason, LoginReason, OidcReason, OidcCheckReason)
"""The reasons of connections from pods, of issuers and of logins."""

PLACEHOLDERS = {"n": "N", "name": "clN", "context": "k3d-clN", "subnet": "SUBNET",
                "logs": k3d.log_command("clN"), "load": k3d.load_command("clN", "IMAGE")}


# --- settings: from .default.env --------------------------------------------------------------------------------------


def settings() -> Iterator[str]:
    """A table for each section of .default.env: a comment explains the keys below it, up to the next comment."""
    _, *sections = re.split(r"^# --- (.+?) -+\n", (SOURCE / ".default.env").read_text(), flags=re.MULTILINE)
    for title, body in zip(sections[::2], sections[1::2], strict=True):
        yield f"## {title[0].upper()}{title[1:]}\n\n| setting | default | meaning |\n|---|---|---|\n"
        for comment, keys in re.findall(r"((?:^# .*\n)*)((?:^[A-Z0-9_]+=.*\n)+)", body, re.MULTILINE):
            pairs = [line.split("=", 1) for line in keys.splitlines()]
            meaning = " ".join(line.removeprefix("# ") for line in comment.splitlines())
            names = "<br>".join(f"`{key}`" for key, _ in pairs)
            values = "<br>".join(f"`{value}`" if value else "empty" for _, value in pairs)
            yield f"| {names} | {values} | {cell(meaning)} |\n"
        yield "\n"


# --- tasks: from their own help ---------------------------------------------------------------------------------------


def task_list() -> Iterator[str]:
    """Every task in the order and the groups of tasks/__init__.py, with its docstring and its flags."""
    contexts = {context.name: context for context in tasks.ns.to_contexts()}
    for group, names in groups().items():
        yield f"## {group}\n\n"
        for name in names:
            first, _, rest = inspect.cleandoc(tasks.ns[name].__doc__ or "").partition("\n")
            yield f"### `inv {name}`\n\n{plain(first)}.\n\n"
            if rest.strip():
                yield f"{plain(rest.strip())}\n\n"
            flags = contexts[name].help_tuples()
            if flags:
                yield "| flag | meaning |\n|---|---|\n"
                yield from (f"| `{flag}` | {cell(meaning or '')} |\n" for flag, meaning in flags)
                yield "\n"


def groups() -> dict[str, list[str]]:
    """The names of the tasks by the title of their group, in the order of tasks/__init__.py."""
    found: dict[str, list[str]] = {}
    for name in tasks.ns.task_names:
        found.setdefault(tasks.ns[name].group, []).append(name)
    return found


# --- errors: from the doctor's checks ---------------------------------------------------------------------------------


def errors() -> Iterator[str]:
    """Every check of the doctor, with the messages that its code can give."""
    parts = {"this machine": OF_MACHINE, "every cluster": OF_CLUSTER, "running clusters": OF_RUNNING}
    for title, checks in parts.items():
        yield f"## Checks of {title}\n\n"
        for check in checks:
            level = "error" if check.level == "red" else "warning"
            yield f"### `{check.id}`\n\n{plain(check.requirement)}.\n\n"
            for message in messages(check.find):
                yield f"- Message: `{message}`\n"
            yield f"- Level: {level}\n- Likely cause: {text(check.cause)}\n- Fix: {text(check.fix.text)}\n"
            yield f"- Fixed by `inv doctor --fix`: {'yes' if check.fix.run else 'no'}\n"
            if check.link:
                yield f"- More: <{check.link}>\n"
            yield "\n"
            if check.advice:
                yield "| code | message | likely cause | fix |\n|---|---|---|---|\n"
                for reason, advice in check.advice.items():
                    cells = [cell(without_details(reason)), cell(text(advice.cause)), cell(text(advice.fix))]
                    yield f"| `{reason.code}` | {' | '.join(cells)} |\n"
                yield "\n"
    yield from trace_errors()


def trace_errors() -> Iterator[str]:
    """Every reason why a hop of `inv trace`, or a row of the example with OpenID Connect, is red, with its code."""
    yield ("## Messages of inv trace\n\nThe code is in the output of `inv trace --json`. The table of `inv "
           "k3d-cluster-examples --with oidc` has messages from this list, too.\n\n")
    yield "| code | message |\n|---|---|\n"
    reasons = [*subclasses_of(Reason)]
    for reason in sorted((entry for kind in reasons for entry in kind), key=lambda reason: (reason.code, reason.value)):
        yield f"| `{reason.code}` | {cell(without_details(reason))} |\n"
    yield "\n"


def subclasses_of(kind: type[Reason]) -> Iterator[type[Reason]]:
    """Those of trace, some of whose modules are imported late, of the front door, and of what the examples test."""
    for module in pkgutil.iter_modules(trace.__path__):
        importlib.import_module(f"{trace.__name__}.{module.name}")
    for subclass in kind.__subclasses__():
        if subclass.__module__.startswith(("tasks.trace.", "tasks.front_door.")) or subclass in OTHER_REASONS:
            yield subclass


def messages(function: Any) -> list[str]:
    """The sentences that a check, or a function of its module that it yields from, can give; `…` stands for a value."""
    found: list[str] = []
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Yield) and node.value is not None:
            sentence = reason_of(node.value, function) or without_values(node.value)
            if re.search("[a-z]{3}", sentence):
                found.append(re.sub(r"\s+", " ", sentence).strip())
        match node:
            case ast.YieldFrom(value=ast.Call(func=ast.Name(id=name))):
                other = function.__globals__.get(name)
                if inspect.isfunction(other) and other.__module__ == function.__module__:
                    found += messages(other)
    return list(dict.fromkeys(found))


def reason_of(node: ast.expr, function: Any) -> str:
    """The sentence of the reason in `problem(SomeReason.MEMBER, ...)`; empty for other expressions."""
    match node:
        case ast.Call(func=ast.Name(id="problem"), args=[ast.Attribute(value=ast.Name(id=kind), attr=member), *_]):
            return without_details(function.__globals__[kind][member])
    return ""


def without_details(reason: Reason) -> str:
    return re.sub(r"{\w+(!r)?}", "…", str(reason.value))


def without_values(node: ast.expr) -> str:
    """The literal text of an expression."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(without_values, node.values))
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return without_values(node.left) + without_values(node.right)
    return "…"


# --- pages ------------------------------------------------------------------------------------------------------------


def text(template: str) -> str:
    """A text of a check for any cluster; a command alone is set as code."""
    sentence = re.sub(r"{(\w+)}", lambda found: PLACEHOLDERS.get(found[1], found[1].upper()), template)
    return f"`{sentence}`" if re.fullmatch(r"(inv|kubectl) ([^(,;:]|,\b)+", sentence) else plain(sentence)


def plain(sentence: str) -> str:
    """Markdown would take <TLD> for a tag, and two asterisks for emphasis."""
    return sentence.replace("<", "&lt;").replace("*", "\\*")


def cell(sentence: str) -> str:
    return plain(sentence).replace("|", "\\|")


PAGES = {"settings.md": settings, "tasks.md": task_list, "errors.md": errors}


def page(name: str) -> str:
    """The whole page, with its generated part made anew."""
    before, _, rest = (DOCS / name).read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{joined(PAGES[name]())}{END}{after}"


def joined(parts: Iterable[str]) -> str:
    return "".join(parts)


if __name__ == "__main__":
    for name in PAGES:
        (DOCS / name).write_text(page(name))
        print(f"docs/{name}")
