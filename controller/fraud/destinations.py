"""What kind of destination a number is, by the package phonenumbers (Google's libphonenumber), for who calls from a
country.

| class | is |
|---|---|
| internal | an extension: digits without + |
| freephone | costs the caller nothing |
| national, mobile | at home |
| shared_cost | dearer than an ordinary call, at home or abroad |
| premium | the called party earns: premium rate, at home or abroad, and +979 |
| international | abroad |
| high_risk | abroad, where fraud pays most: countries below, personal numbers, networks of no country |
| satellite | Inmarsat, Iridium, Globalstar, Thuraya |
| unallocated | abroad, and no number of the plan: hijacked ranges look so, and so do wrong numbers |

Which class holds is a matter of the prefix, so numbers of 11 digits and more that differ only in the last four share
an answer.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import phonenumbers
from phonenumbers import PhoneNumberType

# What carriers and their associations name most often for international revenue share fraud: small operators with high
# termination rates, and ranges whose numbers are let to anybody. A list to begin with; rules name others.
HIGH_RISK = frozenset(
    (
        *("AF", "AL", "AZ", "BA", "BI", "BF", "BJ", "CD", "CF", "CG", "CI", "CM", "CU", "DJ", "ER", "ET", "GM", "GN"),
        *("GQ", "GW", "HT", "KM", "KP", "LR", "LV", "LT", "LY", "MD", "MG", "ML", "MR", "MV", "NE", "PS", "SD", "SL"),
        *("SN", "SO", "SS", "ST", "TD", "TG", "TN", "YE", "ZW"),
        # islands
        *("CK", "FJ", "FK", "KI", "MH", "NC", "NR", "NU", "PF", "PG", "PW", "SB", "SH", "TK", "TL", "TO", "TV", "VU"),
        *("WF", "WS", "AC"),
        # +1, and not where many who dial it believe
        *("AG", "AI", "BB", "DM", "DO", "GD", "GY", "JM", "KN", "LC", "MS", "TC", "TT", "VC", "VG"),
    )
)  # fmt: skip
#: Codes that belong to no country; phonenumbers calls their region 001.
SATELLITE = ("+870", "+881", "+8821")
NETWORKS = ("+882", "+883", "+878")
_BY_TYPE = {
    PhoneNumberType.PREMIUM_RATE: "premium",
    PhoneNumberType.SHARED_COST: "shared_cost",
    PhoneNumberType.TOLL_FREE: "freephone",
    PhoneNumberType.PERSONAL_NUMBER: "high_risk",
}
_PREFIX_COUNTS_FROM = 12  # with the +
_LAST = 4


class Destination(NamedTuple):
    """`country`: ISO 3166-1, "" for none; `cls`: one of `model.CLASSES`."""

    country: str
    cls: str


_INTERNAL = Destination("", "internal")


def classify(number: str, home: str) -> Destination:
    """Where an E.164 number with + leads, for a caller in country `home`; anything without + is an extension."""
    if not number.startswith("+"):
        return _INTERNAL
    if len(number) >= _PREFIX_COUNTS_FROM:
        return _classified(number[:-_LAST], len(number), home)
    return _classified(number, len(number), home)


@functools.lru_cache(maxsize=100_000)
def _classified(begin: str, length: int, home: str) -> Destination:  # noqa: PLR0911
    # 2345 is as good as any: no plan has it for something of its own.
    number = begin + "2345"[: length - len(begin)]
    for prefixes, cls in ((SATELLITE, "satellite"), (NETWORKS, "high_risk")):
        if number.startswith(prefixes):
            return Destination("", cls)
    try:
        parsed = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return Destination("", "unallocated")
    country = phonenumbers.region_code_for_number(parsed)
    kind = _BY_TYPE.get(phonenumbers.number_type(parsed))
    if country == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY:
        return Destination("", kind or "high_risk")
    valid = country is not None
    country = country or phonenumbers.region_code_for_country_code(parsed.country_code or 0)
    own = country == home or _same_code(country, home)
    if kind is not None:
        return Destination(country, kind)
    if own:
        mobile = phonenumbers.number_type(parsed) == PhoneNumberType.MOBILE
        return Destination(country, "mobile" if mobile else "national")
    if country in HIGH_RISK:
        return Destination(country, "high_risk")
    return Destination(country, "international" if valid else "unallocated")


def _same_code(country: str, home: str) -> bool:
    """Guernsey dials London as national; nobody dials Jamaica so, nor Kazakhstan."""
    code = phonenumbers.country_code_for_region(country)
    return code not in (0, 1, 7) and code == phonenumbers.country_code_for_region(home)


def block_of(number: str) -> str:
    """The range of 10,000 numbers that a number is in: carriers let them so."""
    return number[:-_LAST]
