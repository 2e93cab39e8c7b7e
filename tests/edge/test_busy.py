"""Who is on the telephone, and who does not want to be."""

from __future__ import annotations

import pytest

from tests.edge.conftest import DOMAIN, Make, credential
from tests.edge.edge import Edge
from tests.edge.phone import Endpoint
from tests.edge.steps import answered, dp, hang_up

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("clean")]
SKIP = (("X-DP-Skip-Busy", "1"),)


def ask(media: Endpoint, phone: Endpoint, *, skip: bool = True, emergency: bool = False) -> int:
    """A media node rings desk1; its status. A phone that rings answers 603."""
    headers = (SKIP if skip else ()) + ((("X-DP-Emergency", "1"),) if emergency else ())
    invite = media.invite(f"sip:{phone.user}@{DOMAIN}", sign=False, headers=headers)
    try:
        incoming = phone.expect(lambda m: m.is_request and m["Call-ID"] == invite["Call-ID"], 1)
    except TimeoutError:
        return media.final(invite).status
    assert dp(incoming) == {}
    phone.answer(incoming, 603)
    return media.final(invite).status


def test_who_was_called_is_busy_while_the_call_is_up(make: Make, edge: Edge, media: Endpoint) -> None:
    phone = make("desk1", 60)
    phone.register()
    assert ask(media, phone) == 603
    invite = media.invite(f"sip:desk1@{DOMAIN}", sign=False, headers=(("X-DP-Call", "c-busy"),))
    incoming = phone.expect("INVITE")
    phone.answer(incoming, 180)
    media.expect(180)
    assert ask(media, phone) == 603, "a phone that only rings is not on the telephone"
    leg = answered(media, invite, phone, incoming)
    assert ask(media, phone) == 486
    assert edge.events()[-1]["reason"] == "busy"
    assert ask(media, phone, skip=False) == 603
    assert ask(media, phone, emergency=True) == 603
    hang_up(media, leg, phone)
    assert ask(media, phone) == 603
    phone.register(expires=0)


def test_a_page_passes_over_who_does_not_want_to_be_disturbed(
    make: Make, edge: Edge, media: Endpoint
) -> None:
    phone = make("desk1", 60)
    phone.register()
    edge.put("dnd", "acme/desk", "1")
    invite = media.invite(f"sip:desk1@{DOMAIN}", sign=False, headers=(("X-DP-Skip-Busy", "2"),))
    # A queue knows by these words that nobody said no.
    assert media.final(invite).start == "SIP/2.0 486 On The Telephone"
    assert ask(media, phone) == 603, "a group has the media node ask"
    edge.rpc("htable.flush", "dnd")
    invite = media.invite(f"sip:desk1@{DOMAIN}", sign=False, headers=(("X-DP-Skip-Busy", "2"),))
    hang_up(media, answered(media, invite, phone, phone.expect("INVITE")), phone)
    phone.register(expires=0)


def test_who_calls_is_busy_from_the_beginning(make: Make, media: Endpoint) -> None:
    phone = make("desk1", 61)
    phone.register()
    invite = phone.invite(f"sip:600@{DOMAIN}")
    incoming = media.expect("INVITE")
    assert ask(media, phone) == 486
    media.answer(incoming, 486)
    assert phone.final(invite).status == 486
    assert ask(media, phone) == 603
    phone.register(expires=0)


def test_both_ends_of_a_straight_call_are_busy(make: Make, edge: Edge, media: Endpoint) -> None:
    caller, called = make("desk1", 62), make("lobby", 63)
    caller.register()
    called.register()
    invite = caller.invite(f"sip:103@{DOMAIN}")
    leg = answered(caller, invite, called, called.expect("INVITE"))
    assert (ask(media, caller), ask(media, called)) == (486, 486)
    hang_up(caller, leg, called)
    assert (ask(media, caller), ask(media, called)) == (603, 603)
    assert edge.rpc("dlg.profile_get_size", "busy", f"lobby@{DOMAIN}") == 0
    caller.register(expires=0)
    called.register(expires=0)


def test_a_phone_does_not_say_what_a_media_node_may(make: Make, media: Endpoint) -> None:
    caller, called = make("desk1", 64), make("lobby", 65)
    called.register()
    up = media.invite(f"sip:lobby@{DOMAIN}", sign=False)
    leg = answered(media, up, called, called.expect("INVITE"))
    invite = caller.invite(f"sip:103@{DOMAIN}", headers=SKIP)
    incoming = called.expect("INVITE")
    assert dp(incoming) == {}
    called.answer(incoming, 603)
    assert caller.final(invite).status == 603
    invite = caller.invite(f"sip:600@{DOMAIN}", headers=SKIP)
    incoming = media.expect("INVITE")
    assert "X-DP-Skip-Busy" not in dp(incoming)
    media.answer(incoming, 486)
    assert caller.final(invite).status == 486
    hang_up(media, leg, called)
    called.register(expires=0)


@pytest.mark.parametrize("dialled", ["103", "lobby"])
def test_who_does_not_want_to_be_disturbed_is_asked_of_the_media_node(
    make: Make, edge: Edge, media: Endpoint, dialled: str
) -> None:
    caller, called = make("desk1", 66), make("lobby", 67)
    called.register()
    edge.put("dnd", "other/lobby", "1")
    invite = caller.invite(f"sip:{dialled}@{DOMAIN}")
    called.answer(called.expect("INVITE"), 603)
    assert caller.final(invite).status == 603
    edge.put("dnd", "acme/lobby", "1")
    invite = caller.invite(f"sip:{dialled}@{DOMAIN}")
    incoming = media.expect("INVITE")
    assert dp(incoming).get("X-DP-Ring") == (f"lobby@{DOMAIN} lobby" if dialled == "lobby" else None)
    media.answer(incoming, 486)
    assert caller.final(invite).status == 486
    with pytest.raises(TimeoutError):
        called.expect("INVITE", 0.5)
    edge.drop("dnd", "acme/lobby")
    invite = caller.invite(f"sip:{dialled}@{DOMAIN}")
    called.answer(called.expect("INVITE"), 603)
    assert caller.final(invite).status == 603
    called.register(expires=0)


@pytest.mark.parametrize("recorded", ["desk1", "lobby"], ids=["who calls", "who is called"])
@pytest.mark.parametrize("dialled", ["103", "lobby"])
def test_a_call_of_somebody_who_is_recorded_passes_a_media_node(
    make: Make, edge: Edge, media: Endpoint, dialled: str, recorded: str
) -> None:
    caller, called = make("desk1", 66), make("lobby", 67)
    called.register()
    edge.put("credential", f"{recorded}@{DOMAIN}", f"{credential(recorded)};tape=1")
    try:
        invite = caller.invite(f"sip:{dialled}@{DOMAIN}")
        media.answer(media.expect("INVITE"), 486)
        assert caller.final(invite).status == 486
    finally:
        edge.put("credential", f"{recorded}@{DOMAIN}", credential(recorded))
    invite = caller.invite(f"sip:{dialled}@{DOMAIN}")
    called.answer(called.expect("INVITE"), 603)
    assert caller.final(invite).status == 603
    called.register(expires=0)


ELSEWHERE = 'SIP;cause=200;text="Call completed elsewhere"'


def test_answered_elsewhere_is_said_to_the_phone(make: Make, media: Endpoint) -> None:
    phone = make("desk1", 68)
    phone.register()
    invite = media.invite(f"sip:desk1@{DOMAIN}", sign=False)
    incoming = phone.expect("INVITE")
    phone.answer(incoming, 180)
    media.expect(180)
    media.send(
        "CANCEL", invite.uri, call_id=invite["Call-ID"], cseq=int(invite["CSeq"].split()[0]),
        from_=invite["From"], to=invite["To"], via=invite["Via"], headers=(("Reason", ELSEWHERE),),
    )  # fmt: skip
    cancel = phone.expect("CANCEL")
    assert cancel.all("Reason") == [ELSEWHERE]
    phone.answer(cancel, 200)
    phone.answer(incoming, 487)
    assert media.final(invite).status == 487
    phone.register(expires=0)


def test_answered_at_another_phone_of_the_device(make: Make, media: Endpoint) -> None:
    one, two = make("desk1", 69), make("desk1", 70)
    one.register()
    two.register()
    invite = media.invite(f"sip:desk1@{DOMAIN}", sign=False)
    incoming, ringing = one.expect("INVITE"), two.expect("INVITE")
    two.answer(ringing, 180)
    media.expect(180)
    leg = answered(media, invite, one, incoming)
    cancel = two.expect("CANCEL")
    assert cancel["Reason"].startswith("SIP;cause=200")
    two.answer(cancel, 200)
    two.answer(ringing, 487)
    hang_up(media, leg, one)
    one.register(expires=0)
    two.register(expires=0)
