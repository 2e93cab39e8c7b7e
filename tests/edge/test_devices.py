"""Registration, digest, straight calls, in-dialog routing."""

from __future__ import annotations

import uuid

import pytest

from tests.edge.conftest import DOMAIN, Make, credential
from tests.edge.edge import Edge
from tests.edge.message import challenge_of, credentials

pytestmark = pytest.mark.live


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_registers(make: Make, edge: Edge, algorithm: str, transport: str) -> None:
    phone = make("desk1", 50, transport=transport)
    answer = phone.register(algorithm=algorithm)
    assert "expires=300" in answer["Contact"]
    assert "desk1" in str(edge.rpc("ul.lookup", "location", f"desk1@{DOMAIN}"))
    phone.register(expires=0)


def test_both_challenges_the_stronger_first(make: Make) -> None:
    phone = make("desk1", 50)
    phone.send("REGISTER", f"sip:{DOMAIN}", to=f"<{phone.uri}>")
    answer = phone.expect(401)
    offered = answer.all("WWW-Authenticate")
    assert ["SHA-256" in offered[0], "algorithm=MD5" in offered[1], len(offered)] == [True, True, 2]
    assert challenge_of(answer, "MD5")["realm"] == DOMAIN
    assert challenge_of(answer, "MD5")["qop"] == "auth"


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_wrong_password_and_unknown_user_get_the_same_answer(make: Make, edge: Edge, algorithm: str) -> None:
    before = edge.refused("credentials")
    answers = []
    for user, host in (("desk1", 51), ("nobody", 52)):
        phone = make(user, host)
        answers.append(phone.register(algorithm=algorithm, password="wrong", status=401))
    shapes = [[(k, len(v)) for k, v in one.headers if k.endswith("Authenticate")] for one in answers]
    assert answers[0].start == answers[1].start
    assert shapes[0] == shapes[1]
    assert "stale" not in answers[0]["WWW-Authenticate"]
    assert edge.refused("credentials") == before + 2


def test_the_dummy_hash_of_unknown_users_opens_nothing(make: Make) -> None:
    phone = make("nobody", 53)
    phone.send("REGISTER", f"sip:{DOMAIN}", to=f"<{phone.uri}>")
    challenge = challenge_of(phone.expect(401), "SHA-256")
    dummy = "d1a1b1c1e1f1a2b2c2d2e2f2a3b3c3d3d1a1b1c1e1f1a2b2c2d2e2f2a3b3c3d3"
    proof = credentials(challenge, "REGISTER", f"sip:{DOMAIN}", "nobody", "", ha1=dummy)
    phone.send("REGISTER", f"sip:{DOMAIN}", cseq=2, to=f"<{phone.uri}>", headers=(("Authorization", proof),))
    assert phone.expect(401)


def test_a_replayed_nonce_is_stale(make: Make) -> None:
    phone, other = make("desk1", 54), make("desk1", 55)
    registrar = f"sip:{DOMAIN}"
    phone.send("REGISTER", registrar, to=f"<{phone.uri}>")
    challenge = challenge_of(phone.expect(401), "MD5")
    proof = credentials(challenge, "REGISTER", registrar, "desk1", "secret")
    sent = (("Authorization", proof),)
    phone.send("REGISTER", registrar, to=f"<{phone.uri}>", headers=sent)
    assert phone.expect(200)
    other.send("REGISTER", registrar, to=f"<{phone.uri}>", headers=sent)
    assert "stale=true" in other.expect(401)["WWW-Authenticate"]
    # The next count of the same nonce is good: phones keep their nonce.
    again = credentials(challenge, "REGISTER", registrar, "desk1", "secret", count=2)
    phone.send("REGISTER", registrar, to=f"<{phone.uri}>", headers=(("Authorization", again),))
    assert phone.expect(200)


def test_a_caller_without_domain_has_nowhere_to_sign_in(make: Make) -> None:
    phone = make("desk1", 59)
    phone.send("INVITE", f"sip:103@{DOMAIN}", from_="<tel:+4930123>;tag=1")
    assert phone.expect(403)


def test_nobody_registers_for_another(make: Make) -> None:
    phone = make("desk1", 56)
    registrar = f"sip:{DOMAIN}"
    phone.send("REGISTER", registrar, to=f"<{phone.uri}>")
    proof = credentials(challenge_of(phone.expect(401), "MD5"), "REGISTER", registrar, "desk1", "secret")
    phone.send("REGISTER", registrar, to=f"<sip:desk2@{DOMAIN}>", headers=(("Authorization", proof),))
    assert phone.expect(401)


@pytest.mark.parametrize("dialled", ["103", "lobby"])
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_straight_call(make: Make, edge: Edge, dialled: str, transport: str) -> None:
    caller, called = make("desk1", 60), make("lobby", 61, transport=transport)
    called.register()
    invite = caller.invite(f"sip:{dialled}@{DOMAIN}", headers=(("x-dp-account", "evil"),))
    incoming = called.expect("INVITE")
    assert not [name for name, _ in incoming.headers if name.lower().startswith("x-dp-")]
    assert incoming.get("Proxy-Authorization") is None
    called.answer(incoming, 180, "Ringing")
    assert caller.expect(180)
    called.answer(incoming, 200, "OK")
    leg = caller.established(invite, caller.final(invite))
    called.expect("ACK")
    caller.within(leg, "INVITE", headers=(("X-DP-Emergency", "1"),))
    again = called.expect("INVITE")
    assert again.get("X-DP-Emergency") is None
    called.answer(again, 200, "OK")
    caller.expect(200)
    caller.within(leg, "ACK", cseq=leg.cseq)
    called.expect("ACK")
    theirs = called.callee(incoming)
    called.within(theirs, "REFER", headers=(("Refer-To", f"<sip:desk2@{DOMAIN}>"),))
    refer = caller.expect("REFER")
    caller.answer(refer, 202, "Accepted")
    called.expect(202)
    called.within(theirs, "BYE", headers=(("Reason", 'Q.850;cause=16;text="Normal"'),))
    caller.answer(caller.expect("BYE"), 200, "OK")
    called.expect(200)
    story = edge.events()[-3:]
    assert [(one["event"], one["leg"], one["by"]) for one in story] == [
        ("start", "straight", ""),
        ("answered", "straight", ""),
        ("end", "straight", "callee"),
    ]
    assert len({one["id"] for one in story}) == 1
    assert story[0]["called"] == dialled
    assert story[0]["device"] == f"desk1@{DOMAIN}"
    assert story[2]["cause"] == 16
    called.register(expires=0)


def test_straight_call_forks_to_all_contacts(make: Make) -> None:
    caller, one, two = make("desk1", 62), make("lobby", 63), make("lobby", 64)
    one.register()
    two.register()
    invite = caller.invite(f"sip:103@{DOMAIN}")
    first, second = one.expect("INVITE"), two.expect("INVITE")
    one.answer(first, 180)
    two.answer(second, 200)
    leg = caller.established(invite, caller.final(invite))
    cancel = one.expect("CANCEL")
    one.answer(cancel, 200)
    one.answer(first, 487)
    two.expect("ACK")
    one.expect("ACK")
    caller.within(leg, "BYE")
    two.answer(two.expect("BYE"), 200)
    caller.expect(200)
    one.register(expires=0)
    two.register(expires=0)


def test_cancel_while_ringing(make: Make, edge: Edge) -> None:
    caller, called = make("desk1", 65), make("lobby", 66)
    called.register()
    invite = caller.invite(f"sip:103@{DOMAIN}")
    incoming = called.expect("INVITE")
    called.answer(incoming, 180)
    caller.expect(180)
    caller.send(
        "CANCEL", invite.uri, call_id=invite["Call-ID"], cseq=2, from_=invite["From"], to=invite["To"],
        via=invite["Via"],
    )  # fmt: skip
    called.answer(called.expect("CANCEL"), 200)
    called.answer(incoming, 487, "Request Terminated")
    caller.expect(lambda m: m.status == 200 and m.method == "CANCEL")
    assert caller.final(invite).status == 487
    called.expect("ACK")
    assert [(one["event"], one["status"]) for one in edge.events()[-2:]] == [("start", 0), ("failed", 487)]
    called.register(expires=0)


def test_unregistered_device_dialled_by_its_address(make: Make) -> None:
    caller = make("desk1", 67)
    invite = caller.invite(f"sip:mobile@{DOMAIN}")
    assert caller.final(invite).status == 480


def test_a_device_named_like_an_extension_is_for_the_media_node(make: Make, edge: Edge, net: str) -> None:
    edge.put("credential", f"104@{DOMAIN}", credential("104", user="lobby"))
    phone, media = make("104", 67), make("media1", 21, transport="tcp")
    phone.register()
    caller = make("desk1", 68)
    invite = caller.invite(f"sip:104@{DOMAIN}")
    incoming = media.expect("INVITE")
    assert incoming["X-DP-Ring"] == f"104@{DOMAIN} lobby"
    media.answer(incoming, 486)
    assert caller.final(invite).status == 486
    assert phone.silent(0.1)
    phone.register(expires=0)
    edge.drop("credential", f"104@{DOMAIN}")


def test_a_device_dialled_by_name_from_behind_nat_is_for_the_media_node(make: Make) -> None:
    media, caller = make("media1", 21, transport="tcp"), make("desk1", 69, claims="192.168.1.9")
    invite = caller.invite(f"sip:lobby@{DOMAIN}", headers=(("X-DP-Ring", "evil"),))
    incoming = media.expect("INVITE")
    assert incoming.all("X-DP-Ring") == [f"lobby@{DOMAIN} lobby"]
    media.answer(incoming, 486)
    assert caller.final(invite).status == 486
    other = caller.invite(f"sip:102@{DOMAIN}")
    incoming = media.expect("INVITE")
    assert incoming.all("X-DP-Ring") == []
    media.answer(incoming, 486)
    assert caller.final(other).status == 486


def test_foreign_domain_is_not_ours_to_call(make: Make) -> None:
    caller = make("desk1", 68)
    assert caller.final(caller.invite("sip:bob@elsewhere.example")).status == 404
    assert caller.final(caller.invite("sip:s1@small.example")).status == 404


@pytest.mark.parametrize(
    ("method", "status"),
    [("OPTIONS", 200), ("INFO", 405), ("SUBSCRIBE", 489), ("BYE", 405)],
)
def test_other_methods(make: Make, method: str, status: int) -> None:
    phone = make("desk1", 69)
    phone.send(method, f"sip:103@{DOMAIN}")
    answer = phone.expect(status)
    assert (answer.get("Allow") is not None) == (status == 405)


def test_strays_inside_no_dialog(make: Make) -> None:
    phone = make("desk1", 70)
    phone.send("BYE", f"sip:103@{DOMAIN}", to=f"<sip:103@{DOMAIN}>;tag=x")
    assert phone.expect(481)
    phone.send("CANCEL", f"sip:103@{DOMAIN}", call_id=uuid.uuid4().hex)
    assert phone.expect(481)


@pytest.mark.parametrize("method", ["INVITE", "BYE", "ACK", "INFO"])
def test_a_forged_route_is_no_relay(make: Make, edge: Edge, net: str, method: str) -> None:
    stranger, victim = make("desk1", 71), make("victim", 72)
    # As it is an hour after the start, when every phone has registered since.
    edge.rpc("htable.flush", "young")
    stranger.send(
        method, f"sip:victim@{net}.72", to=f"<sip:victim@{net}.72>;tag=x",
        headers=(("Route", f"<sip:{edge.address};lr>"),),
    )  # fmt: skip
    if method != "ACK":
        assert stranger.expect(481)
    assert victim.silent()


@pytest.mark.parametrize("since", ["the edge started", "it registered"])
def test_a_phone_ends_a_call_that_the_edge_forgot(make: Make, edge: Edge, net: str, since: str) -> None:
    """After a restart no dialog is known; what phones talk over from one to the other still has an end."""
    phone, other = make("desk1", 73), make("lobby", 74)
    edge.put("young", "edge", "1")
    if since == "it registered":
        edge.rpc("htable.flush", "young")
        phone.register()
    phone.send(
        "BYE", f"sip:lobby@{net}.74", to=f"<sip:lobby@{net}.74>;tag=x",
        headers=(("Route", f"<sip:{edge.address};lr>"),),
    )  # fmt: skip
    other.answer(other.expect("BYE"), 200)
    assert phone.expect(200)
    edge.rpc("htable.flush", "young")
