"""Where addresses are, by a file as GeoLite2 and DB-IP publish them, made here."""

from __future__ import annotations

from pathlib import Path

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

from controller.errors import InputError
from controller.fraud.places import Places

BERLIN, TUNIS = (52.52, 13.4), (36.8, 10.18)


def write(path: Path, where: dict[str, tuple[float, float] | None]) -> None:
    """A file of networks; None: known, but not where."""
    made = MMDBWriter(4, "GeoLite2-City", languages=["en"])
    for network, at in where.items():
        location = (
            {"location": {"latitude": at[0], "longitude": at[1]}} if at else {"country": {"iso_code": "DE"}}
        )
        made.insert_network(IPSet([network]), location)
    made.to_db_file(str(path))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    found = tmp_path / "city.mmdb"
    write(found, {"198.51.100.0/24": BERLIN, "203.0.113.0/24": None})
    return found


def test_where_an_address_is(path: Path) -> None:
    places = Places(path)
    assert places("198.51.100.9") == pytest.approx(BERLIN)
    assert [places(one) for one in ("203.0.113.1", "192.0.2.1", "2001:db8::1", "nonsense", "")] == [None] * 5


def test_a_file_that_replaces_it_is_read_and_one_that_cannot_be_read_changes_nothing(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    places = Places(path)
    places._look_at = 0.0
    path.write_bytes(b"nothing of the kind")
    assert places("198.51.100.9") == pytest.approx(BERLIN)
    assert "what was read before still holds" in caplog.text
    other = path.with_suffix(".new")
    write(other, {"198.51.100.0/24": TUNIS})
    other.replace(path)
    assert places("198.51.100.9") == pytest.approx(BERLIN)
    places._look_at = 0.0
    assert places("198.51.100.9") == pytest.approx(TUNIS)


@pytest.mark.parametrize("name", ["city.mmdb.gone", "text"])
def test_no_such_file(tmp_path: Path, name: str) -> None:
    (tmp_path / "text").write_text("no database")
    with pytest.raises(InputError, match=f"--places .*{name}"):
        Places(tmp_path / name)
