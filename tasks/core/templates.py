"""Render a template to text."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from typing import TYPE_CHECKING, Any

from invoke import Exit

from tasks.core import setting_types
from tasks.core.well_known import MANAGER, MARKER

if TYPE_CHECKING:
    from jinja2 import Environment


def render(template: str, **values: Any) -> str:
    """The text of `templates/<template>` with these values; Exit when the template is wrong or asks for another one."""
    from jinja2 import TemplateError

    try:
        return templates().get_template(template).render(manager=MANAGER, marker=MARKER, **values)
    except (TemplateError, UnicodeDecodeError) as error:
        line = f", line {error.lineno}" if hasattr(error, "lineno") else ""
        raise Exit(f"templates/{template}{line}: {error}") from None


@cache
def templates() -> Environment:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(setting_types.SOURCE / "templates"),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["openssl"] = openssl_value
    environment.filters["regex"] = regex_value
    environment.filters["base64"] = lambda text: base64.b64encode(text.encode()).decode()
    return environment


def openssl_value(value: str) -> str:
    r"""A value that openssl's configuration reads as it is: in quotes, with `\` before `"` and `\` (config(5))."""
    return '"' + re.sub(r'(["\\])', r"\\\1", value) + '"'


def regex_value(name: str) -> str:
    """A domain as a part of a regular expression; checked DNS labels have no other special sign than the dot."""
    return name.replace(".", r"\.")


def short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
