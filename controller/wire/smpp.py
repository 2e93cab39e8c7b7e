"""A link to a carrier's message centre over SMPP 3.4 (aiosmpplib), held as long as it is wanted.

    link = Link("203.0.113.9", 2775, "acme", "secret", received)
    task = asyncio.create_task(link.run())
    answer = await link.submit("5f0c-7", "+4930555010", "+33123456789", "text")

What the library does, seen on 0.7.4, and what follows from it:

- it connects again by itself, with growing pauses; what waited for an answer then is of unknown outcome;
- it acknowledges what comes in (deliver_sm) after `received` has returned; an error there ends the connection
without an acknowledgement, and the centre brings it again;
- a text that is not in the GSM alphabet goes as UCS-2; more than 254 bytes in one piece, as message_payload;
- a password has 8 characters at most.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from controller.errors import InputError

try:
    import aiosmpplib
except ImportError:  # the extra `smpp`
    aiosmpplib = None

log = logging.getLogger("dialplane.messages")

ANSWER_S = 20.0
_LATER = frozenset({"ESME_RTHROTTLED", "ESME_RMSGQFUL", "ESME_RSYSERR", "ESME_RX_T_APPN"})
# The centre is asked whether it is there when nothing came for so long.
_QUIET_S = 30.0


class Answer(NamedTuple):
    """What the centre said. `status`: name of the command status, or empty: nothing; `later`: it may say something else
    another time."""

    ok: bool
    status: str
    later: bool


Received = Callable[[str, str, str], Awaitable[None]]
"""From, to (as they came, with + where they are international), text. An error: it is not acknowledged."""


class Link:
    """One binding as transceiver."""

    def __init__(self, host: str, port: int, system_id: str, password: str, received: Received) -> None:
        """InputError: the library is not installed, or cannot use these."""
        if aiosmpplib is None:
            raise InputError("SMPP needs the extra smpp: pip install 'dialplane[smpp]'")
        self.name = f"{system_id}@{host}:{port}"
        self._received = received
        self._answers: dict[str, asyncio.Future[Answer]] = {}
        try:
            self._esme: Any = aiosmpplib.ESME(
                host, port, system_id, password,
                hook=_hook(self), enquire_link_interval=_QUIET_S, log_level=logging.CRITICAL,
            )  # fmt: skip
        except ValueError as error:
            raise InputError(f"SMPP {self.name}: {error}") from None

    async def run(self) -> None:
        """Hold the link until cancelled."""
        await self._esme.start()

    @property
    def bound(self) -> bool:
        """The centre knows us at the moment."""
        return bool(self._esme.session_state.name.startswith("BOUND"))

    async def submit(self, id_: str, sender: str, to: str, text: str) -> Answer:
        """Hand a text over, once. `id_` is for this process: the centre gives its own."""
        if not self.bound:
            return Answer(False, "not connected", True)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[id_] = answer
        try:
            message = aiosmpplib.SubmitSm(
                short_message=text,
                source=_number(sender),
                destination=_number(to),
                log_id=id_,
                registered_delivery=0,
            )
            await self._esme.broker.enqueue(message)
            async with asyncio.timeout(ANSWER_S):
                return await answer
        except TimeoutError:
            return Answer(False, "no answer", True)
        except ValueError as error:
            return Answer(False, str(error), False)
        finally:
            del self._answers[id_]

    def answered(self, id_: str, answer: Answer) -> None:
        """The centre, or the library for it, said this."""
        waiting = self._answers.get(id_)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    async def came(self, message: Any) -> None:
        """A text for us."""
        text = message.short_message or message.message_payload
        try:
            await self._received(_shown(message.source), _shown(message.destination), text)
        except Exception as error:
            log.warning("message by SMPP %s: %s; it is not acknowledged", self.name, error)
            raise ConnectionError(str(error)) from error


def _hook(link: Link) -> Any:
    """The library's door to us."""

    class Hook(aiosmpplib.AbstractHook):  # type: ignore[misc]
        async def sending(self, smpp_message: Any, pdu: bytes, client_id: str) -> None:
            """Nothing."""

        async def received(self, smpp_message: Any, pdu: bytes, client_id: str) -> None:
            if isinstance(smpp_message, aiosmpplib.SubmitSmResp):
                status = smpp_message.command_status.name
                link.answered(smpp_message.log_id, Answer(status == "ESME_ROK", status, status in _LATER))
            elif isinstance(smpp_message, aiosmpplib.DeliverSm) and not smpp_message.is_receipt():
                await link.came(smpp_message)

        async def send_error(self, smpp_message: Any, error: Exception, client_id: str) -> None:
            link.answered(smpp_message.log_id, Answer(False, str(error), not isinstance(error, ValueError)))

    return Hook()


def _number(number: str) -> Any:
    if number.startswith("+"):
        return aiosmpplib.PhoneNumber(number[1:], aiosmpplib.TON.INTERNATIONAL, aiosmpplib.NPI.ISDN)
    return aiosmpplib.PhoneNumber(number, aiosmpplib.TON.ALPHANUMERIC, aiosmpplib.NPI.UNKNOWN)


def _shown(number: Any) -> str:
    digits = str(number.number)
    return f"+{digits}" if number.ton.name == "INTERNATIONAL" and digits.isdecimal() else digits
