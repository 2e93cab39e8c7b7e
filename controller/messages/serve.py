"""`dialplane message serve`: the engine, the door for what carriers bring over HTTP, and links to message centres."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress

from controller.messages import http, store
from controller.messages.carriers import Carrier
from controller.messages.engine import Engine
from controller.wire.smpp import Link

Keep = Callable[[http.Inbound], str | None]


async def run(dsn: str, carriers: Sequence[Carrier], listen: tuple[str, int] | None) -> None:
    """Until cancelled. OSError: the address is taken. InputError: a carrier that cannot be spoken to."""
    keep = keeper(dsn)
    links = {one.name: link(one, keep) for one in carriers if one.place is not None}
    door = http.server(listen, carriers, keep) if listen else None
    if door is not None:
        threading.Thread(target=door.serve_forever, name="carriers", daemon=True).start()
    try:
        with suppress(asyncio.CancelledError):
            async with asyncio.TaskGroup() as tasks:
                for one in links.values():
                    tasks.create_task(one.run())
                tasks.create_task(Engine(dsn, carriers, links).run())
    finally:
        if door is not None:
            door.shutdown()
            door.server_close()


def keeper(dsn: str) -> Keep:
    """Stores what carriers bring, each on a connection of its own: they are few, and none is kept for them."""

    def keep(one: http.Inbound) -> str | None:
        with store.connection(dsn) as working:
            return store.inbound(working, one)

    return keep


def link(carrier: Carrier, keep: Keep) -> Link:
    """The link to a carrier's message centre. What comes has no id there: brought again, it is another message."""

    async def received(sender: str, to: str, text: str) -> None:
        said = http.Inbound(
            carrier.name, uuid.uuid4().hex, sender, to if to.startswith("+") else f"+{to}", text
        )
        await asyncio.to_thread(keep, said)

    assert carrier.place is not None  # noqa: S101 - of those that speak SMPP
    return Link(*carrier.place, carrier.system_id, carrier.password, received)
