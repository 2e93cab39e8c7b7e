"""What an operator asks about messages, and sends."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from controller.errors import InputError

if TYPE_CHECKING:
    from psycopg import Connection

_NEWEST = """
    SELECT m.id::text, m.at, m.account, m.sender, m.called, m.lead, m.state,
           (SELECT count(*) FROM control.message_deliveries AS d WHERE d.message = m.id AND d.state = 'delivered')
           || '/' || (SELECT count(*) FROM control.message_deliveries AS d WHERE d.message = m.id), m.reason
      FROM control.messages AS m
     WHERE (%(account)s::text IS NULL OR m.account = %(account)s) AND (NOT %(waiting)s OR m.ended_at IS NULL)
     ORDER BY m.at DESC LIMIT %(most)s"""
_ONE = """
    SELECT m.id::text AS message, m.account, m.at, m.way, m.edge, m.sender, m.called, m.lead, m.shown, m.content_type,
           m.size, m.why, m.taking, m.state, m.status, m.reason, m.expires_at, m.ended_at, m.body,
           (SELECT coalesce(jsonb_agg(jsonb_build_object(
                'address', d.address, 'kind', d.kind, 'purpose', d.purpose, 'member', d.member, 'place', d.place,
                'state', d.state, 'tries', d.tries, 'edge', d.edge, 'status', d.status, 'reason', d.reason,
                'due_at', d.due_at, 'ended_at', d.ended_at) ORDER BY d.place, d.id), '[]')
              FROM control.message_deliveries AS d WHERE d.message = m.id) AS deliveries
      FROM control.messages AS m WHERE m.id::text ^@ %s LIMIT 2"""
_SEND = """
    INSERT INTO control.messages (id, account, way, sender, sender_user, called, body, size, state)
    SELECT %(id)s, a.name, 'command', %(sender)s, u.name, %(called)s, %(body)s, %(size)s, 'accepted'
      FROM public.accounts AS a
      JOIN public.domains AS o ON o.account_id = a.id
      JOIN public.devices AS d ON d.domain_id = o.id AND d.name || '@' || o.name = %(sender)s AND d.enabled
      LEFT JOIN public.users AS u ON u.id = d.user_id
     WHERE a.name = %(account)s"""


class Line(NamedTuple):
    """A message in a listing. `delivered`: how many have it, of how many."""

    message: str
    at: datetime
    account: str
    sender: str
    called: str
    lead: str | None
    state: str
    delivered: str
    reason: str


def newest(connection: Connection[Any], account: str | None, *, waiting: bool, most: int) -> list[Line]:
    """The newest messages; `waiting`: those that somebody has still to get."""
    values = {"account": account, "waiting": waiting, "most": most}
    return [Line(*row) for row in connection.execute(_NEWEST, values).fetchall()]


def one(connection: Connection[Any], beginning: str) -> dict[str, Any]:
    """The message whose id begins so, its deliveries, and its `text` while it is kept. InputError: none, or several."""
    cursor = connection.execute(_ONE, (beginning.lower(),))
    found = cursor.fetchall()
    if len(found) != 1:
        raise InputError(
            f"{'no' if not found else 'more than one'} message has an id that begins with {beginning}"
        )
    assert cursor.description is not None  # noqa: S101 - a SELECT has columns
    row = dict(zip((column.name for column in cursor.description), found[0], strict=True))
    body = row.pop("body")
    row["text"] = None if body is None else bytes(body).decode("utf-8", "backslashreplace")
    return row


def send(connection: Connection[Any], account: str, sender: str, called: str, text: str) -> str:
    """A message of a device, to be delivered by whoever runs `message serve`; its id. InputError: no such device."""
    id_, body = uuid.uuid4(), text.encode()
    values = {
        "id": id_,
        "account": account,
        "sender": sender,
        "called": called,
        "body": body,
        "size": len(body),
    }
    if connection.execute(_SEND, values).rowcount != 1:
        raise InputError(
            f"account {account} has no enabled device {sender} (dialplane message send --from name@domain)"
        )
    return str(id_)
