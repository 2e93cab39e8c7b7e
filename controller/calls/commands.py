"""What an agent does when asked: handlers by verb. Called by `service.py`, once per command.

A handler gets the command's arguments and returns its result; an error is a DialplaneError. Nothing here is
retried: `hangup`, `transfer` and `originate` done twice are two.
"""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from controller.calls.contacts import unregister
from controller.calls.store import UNKNOWN
from controller.calls.table import VARIABLES, CallTable, Channel
from controller.entries import server_id
from controller.errors import DialplaneError, InputError, NodeRefused
from controller.wire.ami import Ami, Event, OutcomeUnknown

Arguments = Mapping[str, Any]
Result = dict[str, Any]
Handler = Callable[[Arguments], Awaitable[Result]]

#: Where a leg goes that an operator transfers: operators may dial what the most trusted user may.
TRANSFER_CONTEXT = "dp-transfer-international"
ORIGINATE_CONTEXT = "dp-originate-user"
# AMI takes lines of 1,024 bytes; the dialplan reads so many variables.
_LIST_BYTES, _LISTS = 900, 4
# How long the preferred device rings alone.
_ALONE_S = 8
# The dialplan ends the ringing; Originate's own time is for a dialplan that does not.
_SPARE_S = 5
# Longer than any queue rings its members (queues.ring_time_s).
_BACK_S = 605
STATES = {1: "calling", 2: "ringing", 3: "up", 4: "up", 5: "over"}
#: Reason of OriginateResponse -> why nobody took a placed call.
REASONS = {
    "0": "no answer",
    "1": "no answer",
    "3": "no answer",
    "5": "busy",
    "8": "not registered, or not reached",
}


class Rpc(Protocol):
    """What is needed of controller.wire.jsonrpc.JsonRpc."""

    path: Path

    def call(self, method: str, /, *params: Any, store_path: str | None = None) -> Any:
        """One request's result; with `store_path` Kamailio writes its whole answer there instead."""


async def run(handlers: Mapping[str, Handler], verb: str, arguments: Arguments) -> Result:
    """The result to store: what the handler returned, or {"error", "outcome"}."""
    handler = handlers.get(verb)
    if handler is None:
        return {
            "outcome": "refused",
            "error": f"no agent of this kind can {verb!r}; it can: {', '.join(handlers)}",
        }
    try:
        return await handler(arguments)
    except OutcomeUnknown as error:
        return {"outcome": UNKNOWN, "error": str(error)}
    except DialplaneError as error:
        return {"outcome": "refused", "error": str(error)}
    except (KeyError, TypeError, ValueError) as error:
        return {"outcome": "refused", "error": f"{verb}: arguments that cannot be used: {error!r}"}


class MediaCommands:
    """Verbs of a media node, over AMI. `table` is kept by the service."""

    def __init__(self, ami: Ami, table: CallTable) -> None:
        self._ami, self._table = ami, table
        self._answers: dict[str, asyncio.Future[Event]] = {}
        ami.on("OriginateResponse", self._originated)
        self.handlers: dict[str, Handler] = {
            "calls": self.calls,
            "hangup": self.hangup,
            "transfer": self.transfer,
            "originate": self.originate,
            "call_back": self.call_back,
        }

    async def resync(self) -> None:
        """Make the table what Asterisk lists now. It also tells what no event of the classes asked for does."""
        listed = await self._ami.action("Status", {"Variables": ",".join(VARIABLES)}, timeout_s=10)
        listed.check("listing the channels")
        self._table.resync([one for one in listed.events if one["Event"] == "Status"])

    async def _legs(self, call: str) -> list[Channel]:
        await self.resync()
        return self._table.calls().get(call, [])

    async def calls(self, arguments: Arguments) -> Result:
        """Live calls: `{"calls": {call id: [legs]}}`."""
        await self.resync()
        return {"calls": {call: [asdict(leg) for leg in legs] for call, legs in self._table.calls().items()}}

    async def hangup(self, arguments: Arguments) -> Result:
        """Hang up every leg of `calls`, listed once and hung up at once; a receipt for each."""
        await self.resync()
        table = self._table.calls()
        legs = [(call, leg) for call in _calls(arguments) for leg in table.get(call, [])]
        return {"receipts": await asyncio.gather(*(self._hang_up(call, leg) for call, leg in legs))}

    async def _hang_up(self, call: str, leg: Channel) -> Result:
        try:
            answer = await self._ami.action("Hangup", {"Channel": leg.name, "Cause": "16"})
        except OutcomeUnknown as error:
            return {"call": call, "leg": leg.name, "ok": None, "text": str(error)}
        over = answer.ok or answer.message.startswith("No such channel")  # with its peer, just before
        return {"call": call, "leg": leg.name, "ok": over, "text": answer.message}

    async def transfer(self, arguments: Arguments) -> Result:
        """Send the caller of `call` to `to`; the others are hung up by Asterisk."""
        legs = await self._legs(str(arguments["call"]))
        if not legs:
            return {"receipts": []}
        to = _dialled(arguments["to"])
        fields = {"Channel": legs[0].name, "Context": TRANSFER_CONTEXT, "Exten": to, "Priority": "1"}
        answer = await self._ami.action("Redirect", fields)
        return {"receipts": [{"leg": legs[0].name, "ok": answer.ok, "text": answer.message}]}

    async def originate(self, arguments: Arguments) -> Result:
        """Ring `first` alone for a while, if it is given, then all `devices` at once; when one answers, dial `to` from
        there as `user` of `account`. `ring_s`: how long it rings in all."""
        call, ring_s = str(uuid.uuid4()), int(arguments.get("ring_s", 30))
        answer = await self._ami.action("Originate", placed(call, ring_s, arguments))
        event = await self._answer_of(answer.check("originate").fields["ActionID"], ring_s + _SPARE_S + 5)
        if event.get("Response") != "Success":
            reason = event.get("Reason", "")
            raise NodeRefused(
                f"{', '.join(arguments['devices'])} did not take the call: {REASONS.get(reason, reason)}"
            )
        return {"call": call}

    async def call_back(self, arguments: Arguments) -> Result:
        """Ring members of a queue for a caller who hung up and whose turn it is; who answers is led to that caller."""
        call = str(uuid.uuid4())
        answer = await self._ami.action("Originate", called_back(call, arguments))
        answer.check("call back")
        return {"call": call}

    async def _answer_of(self, action: str, timeout_s: float) -> Event:
        answer = self._answers.setdefault(action, asyncio.get_running_loop().create_future())
        try:
            async with asyncio.timeout(timeout_s):
                return await answer
        except TimeoutError:
            raise OutcomeUnknown(f"originate: no outcome in {timeout_s:g} s") from None
        finally:
            self._answers.pop(action, None)

    def _originated(self, event: Event) -> None:
        action = event.get("ActionID", "")
        answer = self._answers.setdefault(action, asyncio.get_running_loop().create_future())
        if not answer.done():
            answer.set_result(event)
        while len(self._answers) > 1000:  # noqa: PLR2004 - answers to originates of others, never asked for
            self._answers.pop(next(iter(self._answers)))


def placed(call: str, ring_s: int, arguments: Arguments) -> dict[str, str | list[str]]:
    """Fields of the Originate of a placed call; `dp-originate-user` of asterisk/extensions.conf does the rest."""
    account, to = _word(arguments["account"]), _dialled(arguments["to"])
    lists = [""]
    for device in map(_aor, arguments["devices"]):
        if len(lists[-1]) + len(device) + 1 > _LIST_BYTES:
            lists.append("")
        lists[-1] += device + "&"
    lists[-1] = lists[-1].removesuffix("&")
    first = arguments.get("first")
    alone_s = min(_ALONE_S, ring_s // 2) if first and len(arguments["devices"]) > 1 else 0
    if not lists[0] or len(lists) > _LISTS:
        raise InputError(f"{len(arguments['devices'])} devices cannot ring at once: 1 to about 80")
    return {
        "Channel": f"Local/{to}@{ORIGINATE_CONTEXT}/n",
        "Application": "NoOp",
        "Timeout": str((ring_s + _SPARE_S) * 1000),
        "Async": "true",
        "Variable": [
            f"CHANNEL(userfield)={call}",
            f"CHANNEL(accountcode)={account}",
            f"__DP_CALL={call}",
            f"__DP_ACCOUNT={account}",
            f"_DP_CALLER={_word(arguments.get('user') or '')}",
            f"DP_FIRST={_aor(first) if alone_s else ''}",
            f"DP_FIRST_S={alone_s}",
            f"DP_RING_S={ring_s - alone_s}",
            *(f"DP_DEVICES_{number}={one}" for number, one in enumerate(lists, 1)),
        ],
    }


def called_back(call: str, arguments: Arguments) -> dict[str, str | list[str]]:
    """Fields of the Originate for a caller of a queue; `dp-queue-back` of extensions_queues.conf does the rest.

    `number` is what the member sees. Where the call goes says the AGI server, from the row of the caller.
    """
    number = _checked(arguments["number"], "+", "a number")
    account, queue = _word(arguments["account"]), _word(arguments["queue"])
    return {
        "Channel": "Local/s@dp-queue-back/n",
        "Context": "dp-queue-caller",
        "Exten": "s",
        "Priority": "1",
        "Timeout": str(_BACK_S * 1000),
        "CallerID": number,
        "Async": "true",
        "Variable": [
            f"CHANNEL(userfield)={call}",
            f"CHANNEL(accountcode)={account}",
            f"__DP_CALL={call}",
            f"__DP_ACCOUNT={account}",
            f"__DP_BACK={queue}/{int(arguments['caller'])}",
        ],
    }


class EdgeCommands:
    """Verbs of an edge, over JSON-RPC. `node`: its name; "": contacts of any home are its own."""

    def __init__(self, rpc: Rpc, node: str = "") -> None:
        self._rpc = rpc
        self._home = server_id(node) if node else None
        self._one_at_a_time = asyncio.Lock()
        self.handlers: dict[str, Handler] = {
            "calls": self.calls,
            "hangup": self.hangup,
            "rpc": self.rpc,
            "unregister": self.unregister,
        }

    async def calls(self, arguments: Arguments) -> Result:
        """Live dialogs: `{"calls": {call id: [legs]}}`."""
        return {"calls": await self._dialogs()}

    async def _dialogs(self) -> dict[str, list[Result]]:
        """By way of a file: some 60 dialogs fill a datagram, and an answer that does not fit is lost."""
        answer = self._rpc.path.parent / f"dialogs-{os.getpid()}.json"

        def listed() -> Any:
            try:
                self._rpc.call("dlg.list", store_path=str(answer))
                return json.loads(answer.read_text(errors="replace")).get("result")
            except (OSError, ValueError) as error:
                raise NodeRefused(
                    f"dlg.list: Kamailio's answer in {answer} cannot be read: {error}"
                ) from None
            finally:
                answer.unlink(missing_ok=True)

        async with self._one_at_a_time:
            return dialogs(await asyncio.to_thread(listed))

    async def rpc(self, arguments: Arguments) -> Result:
        """Any method of the edge's JSON-RPC, as an operator wants it: `{"result": ...}`."""
        method, parameters = str(arguments["method"]), arguments["parameters"]
        return {"result": await asyncio.to_thread(self._rpc.call, method, *parameters)}

    async def unregister(self, arguments: Arguments) -> Result:
        """Ask phones of `device` that are at home here to fetch their configuration, and remove their contacts; with
        `rest` remove those of other homes. A receipt for each."""
        aor, rest = _aor(arguments["device"]), bool(arguments.get("rest"))
        return {"receipts": await asyncio.to_thread(unregister, self._rpc, aor, self._home, rest=rest)}

    async def hangup(self, arguments: Arguments) -> Result:
        """End every dialog of `calls`, listed once: BYE both ways if it stands, CANCEL if it still rings."""
        receipts = []
        found = await self._dialogs()
        for call, leg in [(one, leg) for one in _calls(arguments) for leg in found.get(one, [])]:
            try:
                if leg["state"] == "up":
                    entry, number = leg["id"].split(":")
                    await asyncio.to_thread(self._rpc.call, "dlg.end_dlg", int(entry), int(number))
                else:
                    await asyncio.to_thread(self._rpc.call, "tm.cancel", leg["sip_call_id"], leg["cseq"])
                receipts.append({"call": call, "leg": leg["id"], "ok": True, "text": "ended"})
            except NodeRefused as error:
                receipts.append({"call": call, "leg": leg["id"], "ok": False, "text": str(error)})
        return {"receipts": receipts}


def dialogs(listed: Any) -> dict[str, list[Result]]:
    """`dlg.list` by call id, without those that are over. The dialog variable `ev` says whose it is
    (kamailio/events.cfg).
    """
    calls: dict[str, list[Result]] = {}
    for one in listed or []:
        variables: dict[str, str] = {}
        for pair in one.get("variables") or []:
            variables.update(pair)
        try:
            said = json.loads("{" + variables.get("ev", "") + "}")
        except ValueError:
            said = {}
        state = STATES.get(int(one["state"]), str(one["state"]))
        if state == "over":
            continue
        leg = {
            "id": f"{one['h_entry']}:{one['h_id']}",
            "sip_call_id": one.get("call-id", ""),
            "cseq": str((one.get("caller") or {}).get("cseq", "")),
            "state": state,
            "since": int(one.get("start_ts") or one.get("init_ts") or 0),
            **said,
        }
        calls.setdefault(str(said.get("call") or f"sip:{leg['sip_call_id']}"), []).append(leg)
    return calls


def _calls(arguments: Arguments) -> list[str]:
    return [str(one) for one in arguments["calls"]]


def _dialled(text: Any) -> str:
    return _checked(text, "+*#._-", "what to dial")


def _aor(text: Any) -> str:
    return _checked(text, "._@-", "a device")


def _word(text: Any) -> str:
    return _checked(text, "._-", "a name") if text else ""


def _checked(text: Any, also: str, what: str) -> str:
    """Letters, digits and `also`: nothing else reaches a dial string."""
    if (
        not isinstance(text, str)
        or not text
        or not all(one.isascii() and (one.isalnum() or one in also) for one in text)
    ):
        raise InputError(f"{text!r} cannot be {what}: letters, digits and {also} only")
    return text
