"""Classes of destinations as prefixes, for the memory of edges: a block names `premium`, not a thousand ranges.

From the plans of the package phonenumbers. A prefix says what all numbers that begin so are taken for, which is a
little more than `destinations.py` says of each: an edge that blocks premium numbers blocks the range, whether a number
of it has the right length or not.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import phonenumbers
from phonenumbers import PhoneMetadata

from controller.fraud.destinations import HIGH_RISK, NETWORKS, SATELLITE

#: Digits of a prefix beyond the country code, at most; those of personal numbers are let in bigger ranges.
_DIGITS, _PERSONAL_DIGITS = 6, 3
_SPECIAL = (
    ("premium", "premium_rate", _DIGITS),
    ("shared_cost", "shared_cost", _DIGITS),
    ("high_risk", "personal_number", _PERSONAL_DIGITS),
)
# Codes of no country: freephone, shared cost, premium.
_NOWHERE = {800: "/", 808: "shared_cost/", 979: "premium/"}
_TURNS = 4
# Characters of what an edge looks up first: + and three digits.
_BEGIN = 4
_ALL = frozenset("0123456789")
_Found = set[tuple[str, bool]]


@functools.lru_cache(maxsize=1)
def ranges() -> dict[str, str]:
    """Prefix with + -> `class/countries`: premium, shared_cost, high_risk or satellite, "" for an ordinary one;
    countries (ISO 3166-1) that share it joined with +, "" for none."""
    found: dict[str, str] = {}
    special: dict[str, str] = {}
    for code, regions in phonenumbers.COUNTRY_CODE_TO_REGION_CODE.items():
        plans = [known for one in regions if (known := PhoneMetadata.metadata_for_region(one)) is not None]
        if not plans:
            found[f"+{code}"] = _NOWHERE.get(code, "high_risk/")
            continue
        # Several countries may share what none of them names as its own.
        shared = [known.id for place, known in enumerate(plans) if place == 0 or not known.leading_digits]
        found[f"+{code}"] = f"{'high_risk' if shared[0] in HIGH_RISK else ''}/{'+'.join(shared)}"
        for known in plans[1:]:
            for begin in _leading(known) if known.leading_digits else ():
                found[f"+{code}{begin}"] = f"{'high_risk' if known.id in HIGH_RISK else ''}/{known.id}"
        for cls, column, digits in _SPECIAL:
            for known in plans:
                described = getattr(known, column)
                pattern = described.national_number_pattern if described is not None else None
                for begin in prefixes(pattern, digits) if pattern and pattern != "NA" else ():
                    if begin:
                        special.setdefault(f"+{code}{begin}", f"{cls}/{known.id}")
    found |= special
    found |= dict.fromkeys(NETWORKS, "high_risk/") | dict.fromkeys(SATELLITE, "satellite/")
    return found


@functools.lru_cache(maxsize=1)
def table() -> dict[str, str]:
    """`ranges` as edges look numbers up: `+`, three digits -> `lengths/class/countries` of what begins so; lengths are
    those of longer prefixes that say more, the longest first and joined with +. And those longer prefixes."""
    return looked_up(ranges())


def looked_up(found: Mapping[str, str]) -> dict[str, str]:
    """The same of these ranges."""
    longer = {prefix: f"/{said}" for prefix, said in found.items() if len(prefix) > _BEGIN}
    short = found.keys() - longer
    begins = {}
    for begin in (f"+{digits}" for digits in range(100, 1000)):
        fits = max((prefix for prefix in short if begin.startswith(prefix)), key=len, default=None)
        lengths = sorted({len(prefix) for prefix in longer if prefix.startswith(begin)}, reverse=True)
        if fits is not None or lengths:
            said = found[fits] if fits is not None else "unallocated/"
            begins[begin] = f"{'+'.join(map(str, lengths))}/{said}"
    return begins | longer


def begins(countries: frozenset[str], mobile: bool) -> list[str]:
    """Prefixes of mobile numbers of countries, or of all their numbers."""
    found: list[str] = []
    for country in sorted(countries):
        known = PhoneMetadata.metadata_for_region(country)
        if known is None:
            continue
        pattern = known.mobile.national_number_pattern if mobile and known.mobile is not None else None
        found += [
            f"+{known.country_code}{one}" for one in (prefixes(pattern, 2) if pattern else _leading(known))
        ]
    return sorted(set(found))


def prefixes(pattern: str, most: int) -> list[str]:
    """What strings that match begin with: as far as the pattern says, `most` digits at most; none begins another."""
    found = {text for text, _ in _Reader(pattern).read(most)}
    return sorted(one for one in found if not any(one != other and one.startswith(other) for other in found))


def _leading(known: PhoneMetadata) -> list[str]:
    return prefixes(known.leading_digits, _DIGITS) if known.leading_digits else [""]


class _Reader:
    """Reads the few forms that plans are written in: digits, [..], \\d, (?:..|..), {m,n}, ?."""

    def __init__(self, pattern: str) -> None:
        self._text, self._at = pattern, 0

    def read(self, most: int) -> _Found:
        """What a pattern, or a group of one, begins with; the mark says whether it goes on as it is written."""
        found: _Found = set()
        branch: _Found = {("", True)}
        while self._at < len(self._text) and self._text[self._at] != ")":
            if self._text[self._at] == "|":
                self._at += 1
                found |= branch
                branch = {("", True)}
                continue
            one = self._atom(most)
            low, high = self._times()
            branch = _repeated(branch, one, low, high, most)
        return found | branch

    def _atom(self, most: int) -> _Found:
        sign = self._text[self._at]
        self._at += 1
        if sign == "(":
            self._at += 2 if self._text.startswith("?:", self._at) else 0
            found = self.read(most)
            self._at += 1
            return found
        if sign == "[":
            end = self._text.index("]", self._at)
            digits, self._at = _digits(self._text[self._at : end]), end + 1
        elif sign == "\\":
            digits, self._at = _ALL, self._at + 1
        else:
            digits = frozenset(sign)
        return {("", False)} if digits == _ALL else {(one, True) for one in digits}

    def _times(self) -> tuple[int, int]:
        if self._text.startswith("?", self._at):
            self._at += 1
            return 0, 1
        if not self._text.startswith("{", self._at):
            return 1, 1
        end = self._text.index("}", self._at)
        low, _, high = self._text[self._at + 1 : end].partition(",")
        self._at = end + 1
        return int(low), int(high or low)


def _digits(text: str) -> frozenset[str]:
    found: set[str] = set()
    while text:
        if text.startswith("\\d"):
            return _ALL
        last = text[2] if text[1:2] == "-" else text[0]
        found |= {str(one) for one in range(int(text[0]), int(last) + 1)}
        text = text[3:] if text[1:2] == "-" else text[1:]
    return frozenset(found)


def _repeated(before: _Found, one: _Found, low: int, high: int, most: int) -> _Found:
    found: _Found = set()
    for turn in range(min(high, low + _TURNS) + 1):
        if turn >= low:
            found |= before
        if turn < high:
            before = {
                (text, False)
                if not goes_on or len(text) >= most
                else ((text + more)[:most], on and len(text + more) < most)
                for text, goes_on in before
                for more, on in one
            }
    return found
