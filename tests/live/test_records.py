"""Runs last (conftest.py): whatever the other tests did, every call ended in exactly one record."""

from __future__ import annotations

from tests.live import stack

OPEN = "SELECT call_id, started_at, called, legs FROM control.call_records WHERE NOT complete AND started_at >= '{}'"


def test_every_call_has_one_record_and_it_is_complete(company: None, began: str) -> None:
    stack.until(lambda: not stack.documents(OPEN.format(began)), "every record is complete", 60, 1)
    assert stack.dialplane("call", "list", "--format", "json").out.strip() == "[]"
    records = stack.documents(
        f"SELECT call_id, legs, cause, cause_text, ended_at FROM control.call_records WHERE started_at >= '{began}'"
    )
    assert records
    # One call, one record: no leg of an edge and no channel of a node is told in two of them. (A call between accounts
    # is a call of each: one dialog of the edge, out of the one and into the other.)
    owners: dict[tuple[str, str, str], list[str]] = {}
    for record in records:
        assert record["cause_text"]
        assert record["ended_at"]
        for leg in record["legs"]:
            owners.setdefault((leg["node"], leg["id"], leg["leg"]), []).append(record["call_id"])
    doubled = {leg: calls for leg, calls in owners.items() if len(calls) > 1}
    assert not doubled
    print(f"{len(records)} calls, {len(owners)} legs, one complete record each")


def test_every_call_that_a_server_told_of_has_a_record(company: None, began: str) -> None:
    missing = stack.documents(
        "SELECT DISTINCT call_id FROM control.call_events e WHERE call_id !~ '^(node|linked|device|source|message):' "
        f"AND at >= '{began}' AND NOT EXISTS (SELECT FROM control.call_records r WHERE r.call_id = e.call_id)"
    )
    assert missing == []


def test_no_call_event_is_left_outside_a_call(company: None, began: str) -> None:
    """What a media node wrote before it knew the call has been joined to one."""
    loose = stack.documents(
        f"SELECT DISTINCT e.call_id FROM control.call_events e WHERE starts_with(e.call_id, 'linked:') "
        f"AND e.at >= '{began}' AND NOT EXISTS (SELECT FROM control.call_events o "
        "WHERE NOT starts_with(o.call_id, 'linked:') "
        "AND 'linked:' || o.node || '/' || (o.detail ->> 'linkedid') = e.call_id)"
    )
    assert loose == []
