"""A call that an AGI server keeps for long: one command after another, and what may interrupt them.

    held = HeldCall(reader, writer, deadline_s=5)
    digit = await held.play("queue-thankyou", wake)      # until it is over, a key is pressed, or `wake` is set
    digit = await held.rest(8, wake, keys=True)
    said = await held.gosub("dp-queue-ring", "20")       # as long as it takes: a whole talk

What Asterisk 22 does (`res_agi.c`, `app_stack.c`), and what follows:

- between commands it reads the call's frames and drops them, keys too: who wants keys has a command run for them;
- STREAM FILE and WAIT FOR DIGIT end when the next command arrives. The first then says nothing, unless it was over just
  before (its reply holds `endpos=`); the second always replies;
- but a command that arrives together with the one before it is not seen until something more arrives: after a second
  without a reply a word that is no command is sent, which it answers with 510;
- GOSUB first says `100 Trying`, and its last word is not what the context returned: GOSUB_RETVAL holds that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress

from controller.wire.agi import Reply, Session, encode

# Everything but a Gosub, a sound and a wait is done in a moment: an Asterisk that needs longer is stuck.
REPLY_S = 10.0
_NUDGE_S = 1.0
_APART_S = 0.05
_NUDGE = b"-\n"
_NO_COMMAND = "510 "
_TRYING = "100 "


class HeldCall(Session):
    """An exchange without a deadline of its own: each command has one. Broken: the caller, or Asterisk, is gone."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, deadline_s: float
    ) -> None:
        super().__init__(reader, writer, deadline_s=deadline_s)
        # Replies still to come that nobody waits for: of waits for a key, of nudges, and perhaps of a sound.
        self._waits = self._nudges = 0
        self._sound = False

    @classmethod
    def of(cls, session: Session) -> HeldCall:
        """Keep this session: the deadline of its server is off."""
        session.keep()
        return cls(session._reader, session._writer, deadline_s=REPLY_S)

    async def run(self, *words: str) -> Reply:
        """A command that is done in a moment."""
        self._writer.write(encode(words))
        return await self._answered(REPLY_S)

    async def ask(self, sound: str, digit_s: int, digits: int, limit_s: float) -> str:
        """Play a sound; gives what is typed then, `digits` at most, with no longer pause than `digit_s`."""
        # Whatever arrives ends it: nothing may be on its way, and nothing is sent until it is answered.
        await self.run("NOOP")
        while self._waits or self._nudges or self._sound:
            await self.run("NOOP")
        await asyncio.sleep(_APART_S)
        self._writer.write(encode(("GET", "DATA", sound, str(digit_s * 1000), str(digits))))
        typed = (await self._answered(limit_s)).result
        return typed if typed.isdecimal() else ""

    async def gosub(self, context: str, *arguments: str) -> str:
        """Run `context,s,1` on the call until it returns; what it returned. The call may have been elsewhere since."""
        self._writer.write(encode(("GOSUB", context, "s", "1", ",".join(arguments))))
        await self._answered(None)
        return await self.full_variable("${GOSUB_RETVAL}")

    async def play(self, sound: str, wake: asyncio.Event, keys: str = "") -> str:
        """A sound; gives the key of `keys` that ended it, or nothing. One that cannot be played is over at once."""
        if self._sound:
            # Else its reply could be taken for that of the sound before.
            await self.run("NOOP")
        line = await self._interruptible(("STREAM", "FILE", sound, keys), wake)
        if line is None:
            self._sound = True
            return ""
        return _key(await self._parsed(line))

    async def rest(self, seconds: float, wake: asyncio.Event, *, keys: bool = False) -> str:
        """Nothing, for so long, or until `wake` is set; with `keys`, gives the key that was pressed."""
        if keys:
            line = await self._interruptible(("WAIT", "FOR", "DIGIT", str(int(seconds * 1000))), wake)
            if line is None:
                self._waits += 1
                return ""
            return _key(await self._parsed(line))
        with suppress(TimeoutError):
            line = await self._raced(wake, seconds)
            if line is not None and not self._stale(line):
                await self._parsed(line)
        return ""

    async def _interruptible(self, words: Sequence[str], wake: asyncio.Event) -> str | None:
        """The line that answers a command; None: `wake` was set before."""
        self._writer.write(encode(words))
        sent = asyncio.get_running_loop().time()
        while True:
            line = await self._raced(wake, None)
            if line is None:
                # Else the next command could arrive together with this one.
                await asyncio.sleep(max(0.0, sent + _APART_S - asyncio.get_running_loop().time()))
            if line is None or not self._stale(line):
                return line

    async def _raced(self, wake: asyncio.Event, seconds: float | None) -> str | None:
        """The next line; None: `wake` was set. TimeoutError: neither in so many seconds."""
        self._until = None
        reading = asyncio.create_task(self._line())
        waking = asyncio.create_task(wake.wait())
        try:
            done, _ = await asyncio.wait(
                {reading, waking}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if reading in done:
                return reading.result()
            if not done:
                raise TimeoutError
            return None
        finally:
            # What was read so far stays in the stream's buffer.
            reading.cancel()
            waking.cancel()
            await asyncio.gather(reading, waking, return_exceptions=True)

    async def _reply(self) -> Reply:
        return await self._answered(REPLY_S)

    async def _answered(self, limit_s: float | None) -> Reply:
        """The reply to the command just sent."""
        self._deadline_s = limit_s or 0
        self._until = None if limit_s is None else asyncio.get_running_loop().time() + limit_s
        unseen = self._waits > 0 or self._sound or self._nudges > 0
        while True:
            try:
                async with asyncio.timeout(_NUDGE_S if unseen else None):
                    line = await self._line()
            except TimeoutError:
                self._writer.write(_NUDGE)
                self._nudges += 1
                continue
            if line.startswith(_TRYING):
                unseen = False
            elif not self._stale(line):
                self._sound = False
                return await self._parsed(line)

    def _stale(self, line: str) -> bool:
        """Whether this belongs to a command that was interrupted, or to a nudge."""
        if self._nudges and line.startswith(_NO_COMMAND):
            self._nudges -= 1
        elif self._waits:
            self._waits -= 1
        elif self._sound and " endpos=" in line:
            self._sound = False
        else:
            return False
        return True


def _key(reply: Reply) -> str:
    """The key that a result names by its code; empty: none."""
    code = int(reply.result or 0)
    if code < 0:
        # A file that is not there, or a call that is gone: the next command will tell.
        return ""
    return chr(code) if chr(code) in "0123456789*#" else ""
