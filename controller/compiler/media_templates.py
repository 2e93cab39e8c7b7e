"""Templates of the media nodes: one strict environment in which no value can leave its place.

Every expression is escaped for a dialplan argument unless a filter says where else it lands:

| filter | lands in | refuses |
|---|---|---|
| (none) | an argument of an application | nothing: escapes |
| `name` | an extension, a context, a part of a path or address | all but `A-Z a-z 0-9 + * # . _ @ : ~ -` |
| `net` | an address with a prefix length | all but hexadecimal digits, `.`, `:`, `/` |
| `secret` | a value of a configuration file | white space, quotes, `;`, `\\`, `#`, control characters |

How an argument is escaped: controller/escape.py.
"""

from __future__ import annotations

import functools
import re
from typing import Any

from jinja2 import (
    Environment,
    FileSystemLoader,
    StrictUndefined,
    Template,
    TemplateNotFound,
    TemplateSyntaxError,
)
from jinja2 import TemplateError as JinjaError

from controller.errors import TemplateError
from controller.escape import Raw, argument, name
from controller.share import templates_dir

_NET = re.compile(r"[0-9A-Fa-f.:/]+").fullmatch
_SECRET = re.compile(r"[A-Za-z0-9+/=._~!@%^*-]+").fullmatch


def _matching(pattern: Any, what: str, value: object) -> str:
    text = str(value)
    if not pattern(text):
        raise TemplateError(f"{text!r} cannot be {what} here")
    return Raw(text)


@functools.cache
def environment() -> Environment:
    """The environment of templates/asterisk/, made once."""
    made = Environment(
        loader=FileSystemLoader(templates_dir() / "asterisk"),
        undefined=StrictUndefined,
        finalize=argument,
        autoescape=False,  # noqa: S701  dialplan, not HTML: `finalize` escapes every expression
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        auto_reload=False,
    )
    made.filters["name"] = name
    made.filters["net"] = functools.partial(_matching, _NET, "an address with a prefix length")
    made.filters["secret"] = functools.partial(_matching, _SECRET, "a secret")
    return made


@functools.cache
def _template(file: str) -> Template:
    return environment().get_template(file)


def render(file: str, values: dict[str, Any]) -> str:
    """The text of template `file`. TemplateError names the template and, where Jinja knows it, the line."""
    try:
        return _template(file).render(values)
    except _FAILURES as error:
        raise _named(error, file) from error


# Whatever an expression that a site wrote can raise.
_FAILURES = (
    TemplateError,
    JinjaError,
    TypeError,
    ValueError,
    LookupError,
    ArithmeticError,
    AttributeError,
    RuntimeError,
    OSError,
)


def forget() -> None:
    """Read every template anew at its next use: for processes that live on after somebody corrected one."""
    _template.cache_clear()
    environment.cache_clear()


def _named(error: Exception, file: str) -> TemplateError:
    """What went wrong in which template and line."""
    if isinstance(error, TemplateNotFound):
        return TemplateError(f"templates/asterisk/{error.message}: no such template")
    if isinstance(error, TemplateSyntaxError):
        return TemplateError(f"templates/asterisk/{error.name or file}:{error.lineno}: {error.message}")
    line = _line(error, file)
    return TemplateError(f"templates/asterisk/{file}{f':{line}' if line else ''}: {error}")


def _line(error: BaseException, file: str) -> int | None:
    """The line of the template a traceback ends in: Jinja rewrites its frames to template lines."""
    found, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename.endswith(file):
            found = trace.tb_lineno
        trace = trace.tb_next
    return found
