"""Who may not call what: kamailio/blocks.cfg over the same tables."""

from __future__ import annotations

from collections.abc import Iterator

from controller.fraud.ranges import ranges
from controller.policy import Entries

_LONGEST = 10


def blocked(
    entries: Entries, account: str, device: str, called: str, source: str, *, outside: bool
) -> str | None:
    """Why it is stopped: account before user, device, source and all, of each the longest prefix before a class, a
    country, `outside` and everything; None: it is not. `outside`: the number is known to be none of the account's."""
    user = _pairs(entries.edge("credential", device) or "").get("user", "") if device else ""
    subjects = [f"account:{account}"]
    subjects += [f"user:{account}/{user}"] if user else []
    subjects += [f"device:{device}"] if device else []
    subjects += [f"source:{source}"] if source else []
    subjects.append("all:*")
    now = entries.now.timestamp()
    for subject in subjects:
        for what in _whats(entries, account, called, outside=outside):
            reason = entries.edge("block", f"{subject}:{what}")
            said = _pairs(reason or "")
            if reason is None or float(said.get("until", "inf")) <= now:
                continue
            if "incident" in said and _allowed(entries, subjects, called, now):
                continue
            more = f" (incident {said['incident']})" if "incident" in said else ""
            return f"block {subject}:{what}: {reason.partition(';')[0]}{more}"
    return None


def destination(entries: Entries, account: str, called: str) -> tuple[str, list[str]]:
    """Class and countries of an E.164 number for who calls from the account's, as far as prefixes tell."""
    known = ranges()
    found = next((known[called[:n]] for n in range(_LONGEST, 1, -1) if called[:n] in known), None)
    if found is None:
        return "unallocated", []
    cls, _, lands = found.partition("/")
    home = _pairs(entries.edge("account", account) or "").get("country", "")
    if cls in ("", "high_risk"):
        cls = "national" if home in lands.split("+") else cls or "international"
    return cls, [one for one in lands.split("+") if one]


def _whats(entries: Entries, account: str, called: str, *, outside: bool) -> Iterator[str]:
    yield from (called[:length] for length in range(len(called), 0, -1))
    if outside and called.startswith("+"):
        cls, lands = destination(entries, account, called)
        yield cls
        yield from lands
    if outside:
        yield "outside"
    yield "*"


def _allowed(entries: Entries, subjects: list[str], called: str, now: float) -> bool:
    """Whether an allow-list takes it out of what rules have blocked."""
    for subject in subjects:
        for what in ("*", *(called[:length] for length in range(len(called), 1, -1))):
            allow = entries.edge("allow", f"{subject}:{what}")
            if allow is not None:
                if float(_pairs(allow).get("until", "inf")) > now:
                    return True
                break
    return False


def _pairs(value: str) -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in value.split(";") if "=" in pair)
