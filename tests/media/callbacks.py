"""The company whose queues call back. Its phones are called b1 to b4; ana is the member of every queue."""

from __future__ import annotations

from controller.desired.model import Account, Device, Extension, Number, Step, User
from tests.media.queues import queue_of

BUSY, HANGUP = Step("busy"), Step("hangup")
MEMBER = "b1"
NATIONAL, INTERNATIONAL, INTERNAL, RECORDED = (f"+493077701{one}" for one in range(4))
ANNOUNCEMENT = "vm-goodbye"
PHONES = {"b1": "ana", "b2": "ben", "b3": "cleo", "b4": "cleo"}


def _to(number: str, queue: str) -> Extension:
    return Extension(number, "queue", None, queue, 20, HANGUP, HANGUP, HANGUP)


_BACK: dict[str, object] = {
    "ring_time_s": 2, "retry_s": 3, "callback": True, "callback_tries": 2, "callback_pause_s": 2, "wrap_up_s": 60,
}  # fmt: skip
CALLED = Account(
    name="back-1", display_name="Called", cluster="c1", country="DE", language="en", status="active", call_limit=None,
    caller_id="+4930777000", domains=("back.example",),
    users=tuple(User(name, name.title(), None, None, "national", True) for name in ("ana", "ben", "cleo")),
    devices=tuple(
        Device(phone, "back.example", owner, "0" * 32, "0" * 64, None, None, True) for phone, owner in PHONES.items()
    ),
    extensions=(
        *(
            Extension(str(number), "user", owner, None, 5, BUSY, HANGUP, HANGUP)
            for number, owner in enumerate(("ana", "ben", "cleo"), 101)
        ),
        _to("700", "home"), _to("701", "far-away"), _to("702", "own"), _to("703", "taped"),
    ),
    numbers=(
        Number(NATIONAL, "700"), Number(INTERNATIONAL, "701"), Number(INTERNAL, "702"), Number(RECORDED, "703"),
    ),
    queues=(
        queue_of("home", "ana", **_BACK),
        queue_of("far-away", "ana", **_BACK, callback_permission="international"),
        queue_of("own", "ana", **_BACK, callback_permission="internal"),
        queue_of("taped", "ana", **_BACK, record="always"),
    ),
    record_announcement=ANNOUNCEMENT,
)  # fmt: skip
