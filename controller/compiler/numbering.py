"""How the people of a country dial, from the metadata of the `phonenumbers` library. Pure.

Rules are Asterisk patterns: they go into the rendered contexts `country-XX`, so the dialplan, `route explain` and a
reader see the same thing.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

from controller.errors import InputError

# Harmonised services of social value (116 000 ...) and the short codes people know have 3 or 6 digits.
_SHORT_RANGES = ((0, 1000, 3), (116000, 117000, 6))
_E164_DIGITS = 15
_LONGEST_INTERNATIONAL_PREFIX = 5
# Where the national prefix may be left out, shorter numbers would swallow internal ones that do not exist.
_SHORTEST_WITHOUT_PREFIX = 7


@dataclass(frozen=True, slots=True)
class Rule:
    """What matches `pattern` becomes `prefix` and what is left of it without its first `strip` characters."""

    pattern: str
    prefix: str
    strip: int


@dataclass(frozen=True, slots=True)
class Numbering:
    """A country: calling code, dialling rules, short numbers, and the class of E.164 numbers.

    `classes`: (pattern over E.164 with +, `national` or `international`); what matches none is international.
    """

    country: str
    code: int
    rules: tuple[Rule, ...]
    shorts: tuple[str, ...]
    classes: tuple[tuple[str, str], ...]


@functools.cache
def numbering(country: str) -> Numbering:
    """Numbering of an ISO 3166 country. InputError when the metadata does not know it."""
    metadata = PhoneMetadata.metadata_for_region(country)
    if metadata is None or metadata.country_code is None:
        raise InputError(
            f"country {country!r}: phonenumbers knows no numbering plan; use an ISO 3166 code such as DE"
        )
    code = metadata.country_code
    international = _international_prefixes(metadata)
    rules = [Rule("_+[1-9]X!", "", 0)]
    rules += [Rule(f"_{prefix}[1-9]X!", "+", len(prefix)) for prefix in international]
    national = metadata.national_prefix
    if national:
        rules.append(Rule(f"_{national}[1-9]X!", f"+{code}", len(national)))
    main = PhoneMetadata.metadata_for_region(
        COUNTRY_CODE_TO_REGION_CODE[code][0]
    )  # holds the formats of its code
    formats = main.number_format if main is not None else ()
    if not national or any(one.national_prefix_optional_when_formatting for one in formats):
        rules += [
            Rule("_" + "X" * length, f"+{code}", 0)
            for length in _lengths(metadata)
            if not national or length >= _SHORTEST_WITHOUT_PREFIX
        ]
    return Numbering(country, code, tuple(rules), _shorts(country), tuple(_classes(country, code)))


def _lengths(metadata: PhoneMetadata) -> tuple[int, ...]:
    description = metadata.general_desc
    lengths = description.possible_length if description is not None else ()
    return tuple(one for one in lengths if 0 < one <= _E164_DIGITS)


def _international_prefixes(metadata: PhoneMetadata) -> list[str]:
    """Prefixes dialled before a foreign number: the preferred one, else the regular expression where it is plain."""
    preferred = metadata.preferred_international_prefix
    if preferred:
        return [preferred.replace("~", "")]
    pattern = metadata.international_prefix or ""
    if pattern.isdigit():
        return [pattern]
    # Countries with a prefix per carrier: the expression is small, so every text it could match is tried.
    matches = re.compile(pattern).fullmatch
    texts = (
        f"{number:0{width}d}"
        for width in range(2, _LONGEST_INTERNATIONAL_PREFIX + 1)
        for number in range(10**width)
    )
    return [text for text in texts if matches(text)]


@functools.cache
def _shorts(country: str) -> tuple[str, ...]:
    metadata = PhoneMetadata.short_metadata_for_region(country)
    description = metadata.short_code if metadata is not None else None
    if description is None or not description.national_number_pattern:
        return ()
    matches = re.compile(description.national_number_pattern).fullmatch
    return tuple(
        text
        for first, end, width in _SHORT_RANGES
        for text in (f"{number:0{width}d}" for number in range(first, end))
        if matches(text)
    )


def _classes(country: str, code: int) -> list[tuple[str, str]]:
    """National is the calling code, less what other countries of the same code are known to begin with."""
    found = [(f"_+{code}X!", "national")]
    for region in COUNTRY_CODE_TO_REGION_CODE.get(code, ()):
        other = PhoneMetadata.metadata_for_region(region)
        if region == country or other is None or not other.leading_digits:
            continue
        found += [
            (f"_+{code}{prefix}X!", "international")
            for prefix in other.leading_digits.split("|")
            if prefix.isdigit()
        ]
    return found
