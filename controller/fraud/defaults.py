"""The rules that protect a new installation on its first day, before anybody wrote one and before there is any
history.

Rows replace them one by one: a rule of the same name, for everybody or for whoever needs another one. Thresholds were
tuned on some seeds of the corpus and judged on others (`corpus/`); what they are meant for stands in `comment`.
"""

from __future__ import annotations

from controller.fraud.model import CLASSES, ENFORCE, Permission, Rule

MINUTE, HOUR, DAY = 60, 3600, 86_400
#: Where fraud pays. Numbers of no plan belong here: pumped ranges are often hijacked ones.
COSTLY = ("premium", "satellite", "high_risk", "unallocated")
ABROAD = ("international", *COSTLY)

_STOP = ("notify", "block_destination", "end_calls")
_OFF = ("notify", "outbound_off", "end_calls")
_TAKEN = ("notify", "outbound_off", "end_calls", "unregister", "rotate")
_SOURCE = ("notify", "block_source")

#: What a minute costs, and a message, where nobody says otherwise: for sums of replays, and for limits of cost.
RATES = {
    "internal": 0.0, "freephone": 0.0, "national": 0.01, "mobile": 0.05, "shared_cost": 0.15, "premium": 2.0,
    "international": 0.10, "high_risk": 0.60, "satellite": 5.0, "unallocated": 0.60,
}  # fmt: skip
MESSAGE_COST = 0.08


def _rule(
    name: str,
    comment: str,
    metric: str,
    scope: str,
    window_s: int,
    warning: float | None,
    critical: float | None,
    actions: tuple[str, ...] = _STOP,
    destinations: tuple[str, ...] = ("any",),
    at_least: int = 0,
    baseline: float | None = None,
    new_account_days: int | None = None,
    nights: bool = False,
    release_s: int = DAY,
) -> Rule:
    return Rule(
        name, metric, scope, window_s, critical, warning, destinations, actions, release_s, ENFORCE, at_least,
        baseline=baseline, new_account_days=new_account_days, comment=comment, origin="default",
        from_minute=20 * 60 if nights else None, to_minute=6 * 60 if nights else None,
    )  # fmt: skip


RULES = (
    # Where fraud pays, whoever calls.
    _rule("costly-concurrent", "several calls at once to where fraud pays", "concurrent", "account", MINUTE, 3, 5,
          destinations=COSTLY, baseline=2),
    _rule("costly-concurrent-phone", "the same from one telephone, which then calls nobody", "concurrent", "device",
          MINUTE, 3, 5, _OFF, COSTLY),
    _rule("costly-calls", "many calls in a short time to where fraud pays", "answered", "account", 10 * MINUTE, 5, 8,
          destinations=COSTLY, baseline=2),
    _rule("costly-hour", "an hour's talk to where fraud pays", "minutes", "account", HOUR, 75, 150,
          destinations=COSTLY, baseline=3, release_s=3 * DAY),
    _rule("costly-hour-phone", "more than one telephone can talk to where fraud pays", "minutes", "device", HOUR,
          60, 90, _OFF, COSTLY, release_s=3 * DAY),
    _rule("costly-minutes", "a day's talk to where fraud pays, however slowly it comes", "minutes", "account", DAY,
          75, 150, destinations=COSTLY, baseline=3, release_s=3 * DAY),
    _rule("costly-running", "one call to where fraud pays that does not end", "running_s", "account", MINUTE,
          HOUR, 2 * HOUR, destinations=COSTLY),
    _rule("premium-calls", "premium numbers and satellites are called now and then", "answered", "account", DAY, 3, 6,
          destinations=("premium", "satellite"), baseline=3, release_s=2 * DAY),
    # Abroad.
    _rule("abroad-concurrent", "a telephone has a line or two, not five abroad", "concurrent", "device", MINUTE, 3, 5,
          _OFF, ABROAD),
    _rule("abroad-calls", "one user's calls abroad", "answered", "user", 10 * MINUTE, 8, 14, destinations=ABROAD,
          baseline=3),
    _rule("one-block-abroad", "again and again into one block of numbers abroad", "prefix_calls", "user", HOUR, 5, 8,
          destinations=ABROAD, baseline=3),
    _rule("one-block-at-once", "several calls at once into one block of numbers abroad", "prefix_concurrent", "user",
          MINUTE, 4, 6, destinations=ABROAD),
    _rule("one-block-abroad-day", "the same, slowly", "prefix_calls", "user", DAY, 10, 15, destinations=ABROAD,
          baseline=3, release_s=3 * DAY),
    _rule("abroad-new", "countries the account never called", "new_destinations", "account", HOUR, 10, None,
          ("notify",), ABROAD),
    _rule("costly-new", "the same, where fraud pays", "new_destinations", "account", HOUR, 4, 15, destinations=COSTLY),
    _rule("abroad-minutes", "a day's talk abroad", "minutes", "device", DAY, 360, 720, destinations=ABROAD, baseline=3,
          release_s=3 * DAY),
    _rule("abroad-running", "one call abroad that does not end", "running_s", "account", MINUTE, 4 * HOUR, 8 * HOUR,
          destinations=("international",)),
    _rule("abroad-concurrent-user", "the same without a telephone: a forwarding", "concurrent", "user", MINUTE, 6, 10,
          destinations=ABROAD),
    _rule("abroad-at-night", "calls abroad while nobody is there", "answered", "user", HOUR, 6, 10,
          destinations=ABROAD, baseline=3, nights=True),
    _rule("abroad-minutes-at-night", "the same, in minutes", "minutes", "device", 10 * HOUR, 75, 120,
          destinations=ABROAD, baseline=3, nights=True),
    _rule("new-account-abroad", "an account that came this fortnight", "answered", "user", HOUR, 6, 10,
          destinations=ABROAD, new_account_days=14),
    _rule("new-account-cost", "the same, in money", "cost", "account", DAY, 40, 100, _OFF, new_account_days=14,
          release_s=2 * DAY),
    _rule("cost", "a day's cost", "cost", "account", DAY, 100, 300, _OFF, baseline=4, release_s=2 * DAY),
    # How somebody calls.
    _rule("calls-per-minute", "more calls than a person makes", "calls", "device", MINUTE, 15, 30, _OFF, baseline=3),
    _rule("in-a-row", "numbers one after another", "sequential", "device", 10 * MINUTE, 5, 9, _OFF),
    _rule("short-calls", "calls that are cut at once: bait for a call back", "short_pct", "device", 5 * MINUTE,
          60, 85, _OFF, at_least=6),
    _rule("prefix-scan", "one number behind many prefixes: looking for a way out", "same_tail", "device", 10 * MINUTE,
          2, 3, _OFF, ("internal",)),
    _rule("prefix-scan-source", "the same, by address", "same_tail", "source", 10 * MINUTE, 2, 3, _SOURCE,
          ("internal",)),
    _rule("odd-numbers", "one number after another that is none of outside", "destinations", "device", MINUTE, 6, 9,
          _OFF, destinations=("internal",)),
    _rule("odd-numbers-source", "the same, by address", "destinations", "source", MINUTE, 12, 25, _SOURCE,
          destinations=("internal",)),
    # Messages.
    _rule("one-block-messages", "messages to one block of numbers: somebody earns by them", "prefix_messages",
          "account", 10 * MINUTE, 10, 25),
    _rule("one-block-abroad-messages", "the same abroad", "prefix_messages", "account", 10 * MINUTE, 3, 5,
          destinations=ABROAD),
    _rule("costly-messages", "messages to where fraud pays", "messages", "account", 10 * MINUTE, 10, 20,
          destinations=COSTLY, baseline=3),
    _rule("abroad-codes", "codes sent abroad that nobody used", "unanswered_codes", "account", 10 * MINUTE, 15, 25,
          destinations=ABROAD, baseline=3),
    _rule("device-messages", "more messages than a person writes", "messages", "device", MINUTE, 15, 30, _OFF),
    # Credentials.
    _rule("names-from-one-address", "one address tries many names", "failed_names", "source", 10 * MINUTE, 4, 8,
          _SOURCE),
    _rule("tries-from-one-address", "one address tries and tries", "failed_auth", "source", 5 * MINUTE, 100, 200,
          _SOURCE),
    _rule("tries-for-one-device", "many tries for one name, from wherever", "failed_auth", "device", 10 * MINUTE,
          100, None, ("notify",)),
    _rule("many-addresses", "a device comes from one new address after another", "new_sources", "device", HOUR,
          4, 8, _TAKEN),
    _rule("many-phones", "a device says it is one product after another", "new_agents", "device", DAY, 2, 4, _TAKEN,
          release_s=2 * DAY),
    _rule("impossible-travel", "a device is here and far away", "impossible_travel", "device", 6 * HOUR, 1, 4,
          _TAKEN),
)  # fmt: skip

#: Classes that accounts may call unless a row says otherwise.
PERMISSIONS = tuple(
    Permission(cls, cls not in ("premium", "satellite"), mode=ENFORCE, origin="default") for cls in CLASSES
)
