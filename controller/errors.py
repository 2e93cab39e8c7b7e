"""The error tree. Each error is a sentence: what is wrong, where (table, key, node), what to do.

DialplaneError               exit 1   any failure we can name
├── InputError               exit 2   a command, file or value that cannot be used as given
│   └── BadRows              exit 2   many problems at once, each with table and key
├── UnsafePlan               exit 4   refused: the plan is suspicious; --allow-unsafe REASON lifts it
├── PartlyApplied            exit 5   some nodes hold the revision, some do not
├── NotVerified              exit 6   applied, but reading back did not show it
├── StalePlan                exit 7   somebody else published since the plan was made, or holds the lock
├── DatabaseError            exit 1   PostgreSQL away or refusing
├── StateError               exit 1   an agent cannot write its own file (its disk is full)
├── BadPolicy                exit 1   an entry of table policy, or a flag, that a decision cannot read
├── TemplateError            exit 1   a template does not render or its output cannot be parsed
└── NodeError                exit 1   a server beside an agent
    ├── NodeUnreachable               no answer (deadline, refused, socket missing)
    ├── NodeRefused                   the server answered with an error
    └── UnsafeValue                   a value that cannot be carried on that wire without changing its meaning
"""

from __future__ import annotations

from typing import ClassVar


class DialplaneError(Exception):
    """Root of all errors we raise; `exit_code` is what a command ends with."""

    exit_code: ClassVar[int] = 1


class InputError(DialplaneError):
    """A command, file or value that cannot be used as given."""

    exit_code = 2


class BadRows(InputError):
    """Every problem found, each naming table, key and what to do."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__(f"{len(problems)} problem{'s' * (len(problems) != 1)}:\n  " + "\n  ".join(problems))

    def __reduce__(self) -> tuple[type[BadRows], tuple[list[str]]]:
        """Of a process that shares the work of a plan: the problems, not the sentence made of them."""
        return type(self), (self.problems,)


class UnsafePlan(DialplaneError):
    """The plan is suspicious and was not published."""

    exit_code = 4


class PartlyApplied(DialplaneError):
    """Some nodes hold the revision, some do not (yet): agents go on by themselves."""

    exit_code = 5


class NotVerified(DialplaneError):
    """The revision was applied but what runs is not shown to be what was meant."""

    exit_code = 6


class StalePlan(DialplaneError):
    """The published state changed since the plan was made, or another publisher holds the lock."""

    exit_code = 7


class DatabaseError(DialplaneError):
    """PostgreSQL cannot be reached or refuses."""


class StateError(DialplaneError):
    """An agent's own file cannot be written; what it held before stays."""


class BadPolicy(DialplaneError):
    """An entry of table policy, or a flag, that a decision cannot read; names it and the field."""


class TemplateError(DialplaneError):
    """A template does not render, or its output cannot be parsed into entries."""


class NodeError(DialplaneError):
    """Something about the server beside an agent."""


class NodeUnreachable(NodeError):
    """No answer from the server: deadline passed, connection refused, socket missing."""


class NodeRefused(NodeError):
    """The server answered with an error."""


class UnsafeValue(NodeError):
    """A value that cannot be carried on that wire without changing its meaning."""
