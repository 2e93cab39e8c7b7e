"""The file of an edge, as the agent reads and empties it."""

from __future__ import annotations

import base64
import sqlite3
import uuid
from datetime import timedelta
from pathlib import Path

import pytest

from controller.errors import NodeRefused
from controller.messages.outbox import BATCH, Outbox

SCRIPT = Path(__file__).parents[3] / "kamailio" / "messages.sql"


@pytest.fixture
def file(tmp_path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(tmp_path / "messages.db", isolation_level=None)
    connection.executescript(SCRIPT.read_text())
    return connection


def write(
    file: sqlite3.Connection,
    text: bytes = b"hello",
    expires: int = -1,
    type_: str = "text/plain",
    who: tuple[str, ...] = ("198.51.100.9", "phone%2f1"),
) -> uuid.UUID:
    id_ = uuid.uuid4()
    row = (str(id_), 1_764_450_000_123, "acme", "desk1@acme.example", "alice", "103", "", "several", expires)
    encoded = (base64.b64encode(type_.encode()).decode(), base64.b64encode(text).decode())
    values = (*row, *encoded, *who)
    file.execute(f"INSERT INTO message VALUES ({', '.join('?' * len(values))})", values)
    return id_


def test_a_row_is_read_until_it_is_shipped(file: sqlite3.Connection, tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "messages.db")
    ids = [write(file, "привет".encode()), write(file)]
    assert outbox.changed()
    assert not outbox.changed()
    found = outbox.batch()
    assert [one.id for one in found] == ids
    assert (found[0].body.decode(), found[0].sender, found[0].content_type, found[0].bad) == (
        "привет", "desk1@acme.example", "text/plain", "",
    )  # fmt: skip
    outbox.shipped(ids[:1])
    assert [one.id for one in outbox.batch()] == ids[1:]
    assert not outbox.changed()
    write(file)
    assert outbox.changed()


@pytest.mark.parametrize(
    ("written", "read"),
    [("phone%2f1", "phone/1"), ("caf%e9%00+%22%27", "caf\N{REPLACEMENT CHARACTER}? \"'"), ("", "")],
)
def test_who_wrote_it(file: sqlite3.Connection, tmp_path: Path, written: str, read: str) -> None:
    write(file, who=("2001:db8::9", written))
    (one,) = Outbox(tmp_path / "messages.db").batch()
    assert (one.source, one.agent) == ("2001:db8::9", read)


def test_a_file_of_before_says_it_not(
    file: sqlite3.Connection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file.execute("ALTER TABLE message DROP COLUMN source")
    file.execute("ALTER TABLE message DROP COLUMN agent")
    id_ = write(file, who=())
    (one,) = Outbox(tmp_path / "messages.db").batch()
    assert (one.id, one.sender, one.source, one.agent) == (id_, "desk1@acme.example", "", "")
    assert "messages.db lacks the columns source, agent" in caplog.text


@pytest.mark.parametrize(("expires", "days"), [(-1, 7), (3600, 1 / 24), (10**8, 7), (0, 0)])
def test_when_it_expires(file: sqlite3.Connection, tmp_path: Path, expires: int, days: float) -> None:
    write(file, expires=expires)
    (one,) = Outbox(tmp_path / "messages.db").batch()
    assert one.expires_at - one.at == timedelta(days=days)


def test_what_cannot_be_read_keeps_nobody_waiting(file: sqlite3.Connection, tmp_path: Path) -> None:
    bad, good = write(file), write(file)
    file.execute("UPDATE message SET body = '***' WHERE id = ?", (str(bad),))
    write(file, type_="text/plain\r\nX-Evil: 1")
    first, second, third = Outbox(tmp_path / "messages.db").batch()
    assert first.bad.startswith("cannot be read")
    assert (second.id, second.bad) == (good, "")
    assert (third.content_type, bool(third.bad)) == ("text/plain", True)


def test_a_batch_has_an_end(file: sqlite3.Connection, tmp_path: Path) -> None:
    file.execute("BEGIN")
    for _ in range(BATCH + 1):
        write(file)
    file.execute("COMMIT")
    assert len(Outbox(tmp_path / "messages.db").batch()) == BATCH


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(NodeRefused, match="agent install edge"):
        Outbox(tmp_path / "messages.db").batch()


def test_a_file_of_today_lacks_nothing(
    file: sqlite3.Connection, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert Outbox(tmp_path / "messages.db").batch() == []
    assert caplog.text == ""


def test_a_new_file(file: sqlite3.Connection, tmp_path: Path) -> None:
    outbox = Outbox(tmp_path / "messages.db")
    assert outbox.changed()
    file.close()
    for path in tmp_path.glob("messages.db*"):
        path.unlink()
    other = sqlite3.connect(tmp_path / "messages.db", isolation_level=None)
    other.executescript(SCRIPT.read_text())
    id_ = write(other)
    assert outbox.changed()
    assert [one.id for one in outbox.batch()] == [id_]
