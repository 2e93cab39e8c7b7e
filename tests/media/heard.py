"""Which sounds Asterisk played, to whom and when: its own log says so. Who hears whom: what arrives there does."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

from tests.media.node import MediaNode
from tests.media.peer import Audio
from tests.media.resident import awaited

_LOG = "/var/log/asterisk/heard.log"
_PLAYING = re.compile(r"\[(\S+ \S+?)\] \S+ \S+ <([^>]+)> Playing '([^']+)\.gsm'")


class Played(NamedTuple):
    """One sound; `at`: seconds since 1970."""

    at: float
    channel: str
    sound: str


class Heard:
    """Sounds since the log was opened."""

    def __init__(self, media: MediaNode) -> None:
        self._media = media

    def played(self) -> list[Played]:
        return [
            Played(datetime.fromisoformat(at).replace(tzinfo=UTC).timestamp(), channel, sound)
            for at, channel, sound in _PLAYING.findall(self._media.sh(f"grep Playing {_LOG} || true"))
        ]

    def by_caller(self) -> list[list[str]]:
        """The sounds of each channel, those who came first before others."""
        sounds: dict[str, list[str]] = {}
        for one in sorted(self.played(), key=lambda one: one.channel):
            sounds.setdefault(one.channel, []).append(one.sound)
        return list(sounds.values())

    def until(self, sound: str, times: int = 1) -> list[Played]:
        """Waits until a sound was begun so many times; these times."""

        def found() -> list[Played]:
            all_ = [one for one in self.played() if one.sound == sound]
            return all_[:times] if len(all_) >= times else []

        return awaited(found, f"{sound} is not played {times} times")


@contextlib.contextmanager
def listening(media: MediaNode) -> Iterator[Heard]:
    """While it lasts, sounds are written down."""
    media.cli(f"logger add channel {_LOG} verbose(3)")
    try:
        awaited(lambda: media.sh(f"ls {_LOG} || true"), "Asterisk does not write its log")
        yield Heard(media)
    finally:
        media.cli(f"logger remove channel {_LOG}")
        time.sleep(0.05)
        media.sh(f"rm -f {_LOG}")


def hears(audio: Audio, limit_s: float = 20) -> bool:
    """Whether voice arrives there, in the end."""
    before, end = audio.loud, time.monotonic() + limit_s
    while audio.loud < before + 30 and time.monotonic() < end:
        time.sleep(0.05)
    return audio.loud >= before + 30
