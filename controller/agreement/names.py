"""What name servers answer about accounts: a sample, those that are suspected anyway, or all."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

from controller.agreement import compare
from controller.agreement.compare import Finding
from controller.dns import ask, names, store
from controller.errors import InputError
from controller.wire import dns as wire

if TYPE_CHECKING:
    from psycopg import Connection

# A secondary may be behind for the time its zones say, and a transfer.
_TRANSFER_S = 5
_TIMEOUT_S = 1.0


def look(
    connection: Connection[Any], sample: int | None, suspected: Collection[str], *, limit_s: float
) -> tuple[list[Finding], list[str]]:
    """Ask name servers about `sample` accounts (None: all) and those suspected, for at most `limit_s` seconds each.

    What disagrees, and a sentence for each server. Without a setting name_servers nobody is asked.
    """
    servers = store.name_servers(connection)
    settings = store.settings(connection)
    if sample is None:

        def places() -> Iterable[names.Place]:
            return store.places(connection)

    else:
        chosen = sorted({*store.sample(connection, sample), *suspected})

        def places() -> Iterable[names.Place]:
            return store.places_of(connection, chosen)

    found: list[Finding] = []
    said: list[str] = []
    for one in servers:
        told, sentence = _server(connection, settings, one, places, limit_s)
        found += told
        said.append(f"name server {one}: {sentence}")
    return found, said


def _server(
    connection: Connection[Any], settings: names.Settings, one: str, places: ask.Places, limit_s: float
) -> tuple[list[Finding], str]:
    def whole(what: str, expected: str, found: str) -> Finding:
        return Finding(None, what, f"name server {one}", expected, found, compare.CHECK)

    try:
        where = wire.server(one)
    except InputError as error:
        return [whole("answers", "answers", str(error))], str(error)
    standing = ask.standing(connection, settings, where, _TIMEOUT_S)
    if standing.late is None:
        return [whole("answers", "answers", standing.text)], standing.text
    if standing.late:
        if standing.late > 0 and store.changed_within(connection, _TRANSFER_S):
            return [], f"{standing.text}: rows changed a moment ago, not compared"
        expected, got = f"serial {standing.newest}", f"serial {standing.serial}"
        return [whole("serial", expected, got)], standing.text
    asked = ask.differences(connection, settings, (one, where), places, limit_s=limit_s)
    accounts = {
        f"{place.account}.{zone}.": place.account
        for place in _named(asked, places)
        for zone in (settings.zone, settings.device_zone)
    }
    found = [each._replace(where=f"name server {one}") for each in compare.named(asked.differences, accounts)]
    sentence = f"{asked.accounts} accounts asked, {len(found)} names differ"
    if asked.stopped:
        sentence += f"; stopped: {asked.stopped}"
        if "no answers" in asked.stopped:
            found.append(whole("answers", "answers", asked.stopped))
    return found, sentence


def _named(asked: ask.Asked, places: ask.Places) -> Iterable[names.Place]:
    return places() if asked.differences else ()
