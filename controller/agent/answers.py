"""What Asterisk answers by AMI, taken apart, and what is asked of it in its own words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from controller.agent.values import Line, canonical, joined, split_context
from controller.errors import NodeRefused
from controller.wire.ami import Response

_REGISTRAR = "pbx_config"


def dialplan(answer: Response) -> dict[str, str | None]:
    """Extensions of a ShowDialPlan answer. "Did not find" is an answer; what others registered is not ours."""
    if not answer.ok:
        if answer.message.startswith("Did not find"):
            return {}
        raise NodeRefused(f"ShowDialPlan: Asterisk refused: {answer.message}")
    found: dict[str, list[Line]] = {}
    for event in answer.events:
        if (
            field(event, "Event") == "ListDialplan"
            and field(event, "Registrar") == _REGISTRAR
            and "Priority" in event
        ):
            line = Line(event["Priority"], field(event, "Application"), field(event, "AppData").strip())
            found.setdefault(f"{event['Context']}/{event['Extension']}", []).append(line)
    return {key: canonical("dialplan", joined(tuple(value))) for key, value in found.items()}


def completion(prefix: str) -> str:
    """The console's own way of completing a name: all contexts that begin so."""
    return f'_command matchesarray "dialplan show {prefix}" "{prefix}"'


CHANNELS = "core show channels count"


def channels(answer: Response) -> int:
    """How many channels there are, bridged ones without a dialplan too. NodeRefused: it does not say."""
    for line in answer.check(CHANNELS).output:
        number, _, what = line.strip().partition(" ")
        if what.startswith("active channel") and number.isdecimal():
            return int(number)
    raise NodeRefused(f"{CHANNELS}: Asterisk says no number of channels: {answer.output[:3]}")


def completed(prefix: str, answer: Response) -> Iterable[str]:
    """Asterisk answers with what is common to all, then each, then a mark; cases count alike to it."""
    words = " ".join(answer.check("completing names of contexts").output).split()
    return (word for word in words[1:-1] if word.startswith(prefix))


def variable(name: str, key: str, priority: int) -> str:
    context, extension = split_context(key)
    return f"{name}({context},{extension},{priority})"


def field(fields: Mapping[str, str], name: str) -> str:
    """A header, whatever its case."""
    if name in fields:
        return fields[name]
    lower = name.lower()
    return next((value for header, value in fields.items() if header.lower() == lower), "")
