"""Values as arguments of a dialplan application: what the compiler renders and what a decision answers. Pure.

Escaping follows `__ast_app_separate_args` (Asterisk, main/app.c): a backslash makes the next character literal,
wherever arguments are split; `${` and `$[` written `$\\{`, `$\\[` are not substituted (main/pbx_variables.c).
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable

from controller.errors import TemplateError

_SPECIAL = re.compile(r'([\\,"()\[\]${}&;^])')
SPACE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\ufeff]+")
_PLAIN = re.compile(r"[\w+*#.@:/~!?<>=|'%-]+(?: [\w+*#.@:/~!?<>=|'%-]+)*", re.ASCII).fullmatch
NAME = re.compile(r"[A-Za-z0-9+*#._@:~-]+").fullmatch


class Raw(str):
    """Text that is right as it stands: built by us from parts that were checked."""

    __slots__ = ()


def argument(value: object) -> str:
    """`value` as one argument of a dialplan application; None is empty. White space is folded, ends are cut."""
    if isinstance(value, Raw):
        return value
    text = "" if value is None else str(value)
    if not text or _PLAIN(text):
        return text
    return _SPECIAL.sub(r"\\\1", SPACE.sub(" ", text).strip())


@functools.lru_cache(maxsize=4096)
def name(value: object) -> Raw:
    """`value` as a name; TemplateError when it holds anything a name cannot."""
    if isinstance(value, Raw):
        return value
    text = str(value)
    if not NAME(text):
        raise TemplateError(f"{text!r} cannot be a name here: letters, digits and + * # . _ @ : ~ - only")
    return Raw(text)


def chunks(names: Iterable[str], most: int) -> list[Raw]:
    """Names joined with `&`, as few texts of at most so many characters as hold them; at least one."""
    found = [""]
    for one in names:
        longer = f"{found[-1]}&{one}" if found[-1] else one
        if len(longer) > most:
            found.append(one)
        else:
            found[-1] = longer
    return [Raw(text) for text in found]
