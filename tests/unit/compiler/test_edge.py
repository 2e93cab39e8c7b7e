from __future__ import annotations

from dataclasses import replace

from controller.compiler import edge
from controller.desired.model import Account, Beside, Extension, Group, GroupMember, Number, Service
from tests.unit.samples import ACME, BUSY, CARRIER, HANGUP, MD5, SHA256, SYSTEM, device


def held(account: Account) -> dict[tuple[str, str], str]:
    return {(entry.address.table, entry.address.key): entry.value for entry in edge.account_entries(account)}


def test_an_account_gives_its_entries() -> None:
    assert held(ACME) == {
        ("account", "acme"): "cluster=c1;status=active;country=DE;limit=20;ext=3",
        ("domain", "acme.example"): "acme",
        ("credential", "desk1@acme.example"): f"account=acme;user=alice;md5={MD5};sha256={SHA256};limit=2",
        ("credential", "app1@acme.example"): f"account=acme;user=alice;md5={MD5};sha256={SHA256}",
        ("credential", "lobby@acme.example"): f"account=acme;user=lobby;md5={MD5};sha256={SHA256}",
        ("lead", "acme/101"): "user=alice;device=desk1@acme.example+app1@acme.example",
        ("lead", "acme/alice"): "user=alice;device=desk1@acme.example+app1@acme.example",
        ("lead", "acme/103"): "user=lobby;device=lobby@acme.example;straight=1",
        ("number", "+4930555010"): "acme",
        ("service", "acme/*98"): "voicemail",
    }


def test_a_device_shares_the_numbers_of_groups_it_joins_by_registering() -> None:
    sales = Group(
        "sales", "Sales", "all", 25, 15, False, False, False, None, None, BUSY, HANGUP, HANGUP,
        (GroupMember(user="alice", joins=True), GroupMember(device="lobby@acme.example")),
    )  # fmt: skip
    silent = replace(sales, name="silent", members=(GroupMember(device="app1@acme.example", joins=True),))
    account = replace(
        ACME,
        groups=(sales, silent, replace(sales, name="others", members=(GroupMember(user="alice"),))),
        numbers=(*ACME.numbers, Number("+4930555020", "600")),
        extensions=(
            *ACME.extensions,
            Extension("600", "group", None, "sales", 25, BUSY, HANGUP, HANGUP),
            Extension("*31", "membership", None, "sales", 25, BUSY, HANGUP, HANGUP),
        ),
    )
    shared = {key: value for (table, key), value in held(account).items() if table == "shared"}
    assert shared == {
        "desk1@acme.example": "sales/+4930555020,sales/600",
        "app1@acme.example": "sales/+4930555020,sales/600,silent/",
    }


def test_a_limit_of_nothing_is_a_limit() -> None:
    assert held(replace(ACME, call_limit=0))["account", "acme"].endswith("limit=0;ext=3")


def test_an_account_that_moves() -> None:
    """Both clusters hold it; edges lead to the other one what is still up there."""
    adding = replace(ACME, beside=(Beside("c2", False),))
    assert held(adding) == held(ACME)
    assert adding.held_by == ("c1", "c2")
    tied = replace(ACME, cluster="c2", beside=(Beside("c1", True),))
    assert held(tied)["account", "acme"] == "cluster=c2;status=active;country=DE;limit=20;ext=3;was=c1"
    assert tied.held_by == ("c2", "c1")


def test_a_service_that_stands_apart() -> None:
    """Its cluster is a pair of the account; extensions of that service and numbers that lead to them say so."""
    queue = replace(ACME.extensions[0], extension="6000", kind="queue", user=None, target="support")
    account = replace(
        ACME,
        extensions=(*ACME.extensions, queue),
        numbers=(*ACME.numbers, Number("+4930555060", "6000")),
        services=(Service("pstn", "c2"), Service("queue", "c3", "c1")),
        device_group="west",
    )
    found = held(account)
    assert found["account", "acme"].endswith(";ext=4;group=west;pstn=c2/;queue=c3/c1")
    assert found["service", "acme/6000"] == found["service", "acme/+4930555060"] == "queue"
    assert account.held_by == ("c1", "c2", "c3")


def test_disabled_devices_and_devices_of_disabled_users_cannot_register() -> None:
    account = replace(
        ACME,
        users=tuple(replace(user, enabled=user.name != "lobby") for user in ACME.users),
        devices=(device("desk1", "alice", enabled=False), device("lobby", "lobby"), device("door", None)),
    )
    credentials = {key for table, key in held(account) if table == "credential"}
    assert credentials == {"door@acme.example"}


def test_an_extension_with_two_devices_or_a_next_step_needs_a_media_node() -> None:
    two = replace(ACME, devices=(*ACME.devices, device("lobby2", "lobby")))
    for account, extension, straight in ((two, "103", False), (ACME, "101", False), (ACME, "103", True)):
        assert held(account)["lead", f"acme/{extension}"].endswith(";straight=1") == straight


def test_a_trunk_that_registers_has_a_registration_and_a_disabled_one_nothing() -> None:
    trunk = replace(CARRIER, register=True, auth_user="u1", auth_realm="r", auth_ha1_md5=MD5)
    tables = [entry.address.table for entry in edge.trunk_entries(trunk, "DE")]
    assert tables == ["trunk", "trunk_address", "registration"]
    assert list(edge.trunk_entries(replace(trunk, enabled=False), "DE")) == []


def test_the_system_gives_trusted_nodes_emergency_numbers_and_shared_trunks() -> None:
    entries = {(entry.address.table, entry.address.key): entry.value for entry in edge.system_entries(SYSTEM)}
    assert entries["media_node", "10.213.0.21"] == "media1"
    assert entries["edge_node", "10.213.0.11"] == "edge1"
    assert entries["emergency", "DE:112"] == "1"
    assert entries["trunk", "carrier-a"] == "host=198.51.100.7;port=5060;transport=udp;format=digits"


def test_a_trunk_that_writes_national_numbers_knows_its_country() -> None:
    trunk = replace(CARRIER, number_format="national")
    values = {country: next(edge.trunk_entries(trunk, country)).value for country in ("DE", "ES", "US")}
    assert values["DE"].endswith("format=national;code=49;np=0")
    assert values["ES"].endswith("format=national;code=34")
    assert values["US"].endswith("format=national;code=1;np=1")


def test_who_gets_messages() -> None:
    """A group by its extension and name; a name that a device has is the device's; a conference takes none."""
    sales = Group("sales", "Sales", "all", 25, 15, False, False, False, None, None, BUSY, HANGUP, HANGUP)
    account = replace(
        ACME,
        groups=(sales, replace(sales, name="desk1")),
        numbers=(*ACME.numbers, Number("+4930555020", "600"), Number("+4930555030", "8000")),
        extensions=(
            *ACME.extensions,
            Extension("600", "group", None, "sales", 25, BUSY, HANGUP, HANGUP),
            Extension("8000", "conference", None, "meeting", 25, BUSY, HANGUP, HANGUP),
        ),
    )
    found = {key: value for (table, key), value in held(account).items() if table == "lead"}
    assert {key: value for key, value in found.items() if "group" in value} == {
        "acme/600": "group=sales",
        "acme/sales": "group=sales",
    }
    assert {"acme/8000", "acme/desk1"} & found.keys() == set()
