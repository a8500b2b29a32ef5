"""The live part of a page: rendered once for all who look, sent when it changed, as server-sent events."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Hashable
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

LOOK_S = 0.5
"""Seconds between two looks at what a page shows."""

BEAT_S = 15.0
"""Seconds after which a page that did not change hears that the console is still there."""

LONGEST_S = 600.0
"""Seconds after which a stream ends. The page connects again, which needs a session that has not ended."""


@dataclass(slots=True)
class LivePart:
    """The live part of one page.

    However many pages are open, the state is looked at once in `LOOK_S` and rendered once for each change.

    Args:
        version: returns a value that differs when the part would; must be cheap.
        render: returns the part as HTML. Both are called in one thread at a time, not in the event loop.
    """

    version: Callable[[], Hashable]
    render: Callable[[], str]
    _looked: float = -LOOK_S
    _version: Hashable = None
    _text: str = ""
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def current(self, *, is_fresh: bool = False) -> str:
        """Return the part as it is now; at most `LOOK_S` old, unless a person has just acted and it is read again."""
        async with self._lock:
            if is_fresh or time.monotonic() - self._looked >= LOOK_S:
                await run_in_threadpool(self._look)
                self._looked = time.monotonic()
            return self._text

    def _look(self) -> None:
        version = self.version()
        if version != self._version or not self._text:
            self._text, self._version = self.render(), version


def stream(part: LivePart, *, is_closing: Callable[[], bool] = lambda: False) -> StreamingResponse:
    """Return a response that sends the part now and after every change, until the reader leaves.

    Args:
        part: what to send.
        is_closing: returns whether the server is stopping; the stream ends then, and the page connects again later.
    """
    return StreamingResponse(_changes(part, is_closing), media_type="text/event-stream")


async def _changes(part: LivePart, is_closing: Callable[[], bool]) -> AsyncIterator[str]:
    sent, spoke = "", time.monotonic()
    ends = spoke + LONGEST_S
    while not is_closing() and time.monotonic() < ends:
        text = await part.current()
        if text != sent:
            sent, spoke = text, time.monotonic()
            yield "".join(f"data: {line}\n" for line in text.splitlines()) + "\n"
        elif time.monotonic() - spoke > BEAT_S:
            spoke = time.monotonic()
            yield ": still here\n\n"
        await asyncio.sleep(LOOK_S)
