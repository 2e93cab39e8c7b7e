"""Reading company files: values stay as written, bad files are told apart from bad rows."""

from __future__ import annotations

from pathlib import Path

import pytest

from controller.errors import InputError
from controller.schema.company import read_company
from controller.schema.forms import SHAPES
from controller.schema.importer import check
from controller.schema.references import REFERENCES


def written(folder: Path, text: str | bytes, name: str = "company.yaml") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_values_stay_as_they_are_written(tmp_path: Path) -> None:
    company = read_company(
        written(
            tmp_path,
            "accounts:\n"
            "  - {name: on, country: NO, call_limit: 010, caller_id: +4930555010, language: null, status: yes}\n",
        )
    )
    (row,) = company.rows["accounts"]
    assert row.values == {
        "name": "on",
        "country": "NO",
        "call_limit": "010",
        "caller_id": "+4930555010",
        "language": None,
        "status": "yes",
    }
    assert row.place("country") == f"{tmp_path}/company.yaml:2"


def test_rows_below_an_account_carry_its_name(tmp_path: Path) -> None:
    company = read_company(
        written(
            tmp_path,
            "accounts: [{name: acme, domains: [a.example], trunks: [{name: t, addresses: [10.0.0.1]}]}]",
        )
    )
    assert company.rows["domains"][0].values == {"account": "acme", "name": "a.example"}
    assert company.rows["trunks"][0].values == {"account": "acme", "name": "t"}
    assert company.rows["trunk_addresses"][0].values == {"trunk": "t", "address": "10.0.0.1"}


def test_trunks_of_an_emergency_number_keep_their_order(tmp_path: Path) -> None:
    company = read_company(
        written(tmp_path, "emergency_numbers: [{country: DE, number: '112', trunks: [b, a]}]")
    )
    assert [(row.values["trunk"], row.values["priority"]) for row in company.rows["emergency_routes"]] == [
        ("b", "10"),
        ("a", "20"),
    ]


UNREADABLE = [
    ("accounts:\n  - {name: acme\n", ":3: not YAML"),
    ("accounts: [\x00]", "not YAML"),
    ("a: &x [1]\nb: *x\n", ":2: not YAML: aliases (*name) are not supported"),
    ("[" * 5000, "nested too deeply"),
    ("{a: " * 5000, "nested too deeply"),
    (b"accounts: \xff\xfe\xfa", "not UTF-8 text (byte 10)"),
    ("--- {}\n--- {}\n", ":2: not YAML"),
    ("accounts: !!python/object/apply:os.system [exit]", ""),
]


@pytest.mark.parametrize(("text", "words"), UNREADABLE, ids=[str(one[0])[:20] for one in UNREADABLE])
def test_a_file_that_cannot_be_read(tmp_path: Path, text: str | bytes, words: str) -> None:
    path = written(tmp_path, text)
    if not words:
        # A tag is never acted on: the value is judged as what it is, a list of rows.
        assert check(read_company(path)) == [f"{path}:1: accounts: expected `name: value` lines"] + [
            f"{path}:1: accounts *: {name} is missing: it needs a value"
            for name in ("name", "display_name", "cluster", "country")
        ]
        return
    with pytest.raises(InputError) as refused:
        read_company(path)
    assert str(refused.value).startswith(str(path))
    assert words in str(refused.value)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_company(tmp_path / "none.yaml")


def test_a_folder_without_tables(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no \.csv file"):
        read_company(tmp_path)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n"])
def test_an_empty_file_is_a_problem(tmp_path: Path, text: str) -> None:
    (problem,) = check(read_company(written(tmp_path, text)))
    assert "empty" in problem


def test_csv_with_an_open_quote(tmp_path: Path) -> None:
    written(tmp_path, 'name,display_name,cluster,country\nacme,"Acme,c1,DE\n', "accounts.csv")
    (problem,) = check(read_company(tmp_path))
    assert "not CSV" in problem


def test_csv_of_excel_has_a_mark_and_crlf(tmp_path: Path) -> None:
    written(tmp_path, b"\xef\xbb\xbfname\r\nc1\r\nc2\r\n", "clusters.csv")
    company = read_company(tmp_path)
    assert [row.values for row in company.rows["clusters"]] == [{"name": "c1"}, {"name": "c2"}]
    assert check(company) == []


def test_what_is_named_is_loaded_before_what_names_it() -> None:
    """Else a company that is new cannot be loaded from one file."""
    order = list(SHAPES)
    late = [
        (table, column)
        for table, shape in SHAPES.items()
        for column in shape.columns
        if column in REFERENCES and order.index(REFERENCES[column].table) > order.index(table)
    ]
    assert late == []
