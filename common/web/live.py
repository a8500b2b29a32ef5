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

STILL_HERE = b": still here\n\n"
"""What a page hears that did not change."""

LONGEST_S = 600.0
"""Seconds after which a stream ends. The page connects again, which needs a session that has not ended."""


@dataclass(slots=True)
class LivePart:
    """The live part of one page.

    However many pages are open, the state is looked at once in `LOOK_S` and rendered once for each change; the pages'
    streams sleep until then.

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
    _watch: asyncio.Task[None] | None = None
    _message: bytes = b""

    async def current(self, *, is_fresh: bool = False) -> str:
        """Return the part as it is now; at most `LOOK_S` old, unless a person has just acted and it is read again."""
        async with self._lock:
            if is_fresh or time.monotonic() - self._looked >= LOOK_S:
                await run_in_threadpool(self._look)
                self._looked = time.monotonic()
            return self._text

    async def message(self) -> bytes:
        """Return the part as it is now, as one server-sent event."""
        await self.current()
        return self._message

    async def news(self, sent: bytes, is_closing: Callable[[], bool]) -> bytes:
        """Wait until the part differs from what was sent, the server stops, or `BEAT_S` have passed.

        Args:
            sent: the last message of this stream.
            is_closing: returns whether the server is stopping.

        Returns:
            the part as one server-sent event; the same as `sent` where nothing changed.
        """
        if self._message != sent:
            return self._message
        if self._watch is None or self._watch.done():
            self._watch = asyncio.create_task(self._until_news(is_closing))
        watch = self._watch
        await asyncio.wait({watch})  # one task for all streams: a stream that ends does not cancel it
        watch.result()  # what cannot be rendered ends the streams, and pages connect again later
        return self._message

    async def _until_news(self, is_closing: Callable[[], bool]) -> None:
        before, ends = self._message, time.monotonic() + BEAT_S
        while self._message == before and time.monotonic() < ends and not is_closing():
            await asyncio.sleep(LOOK_S)
            await self.current()

    def _look(self) -> None:
        version = self.version()
        if version != self._version or not self._text:
            self._text, self._version = self.render(), version
            self._message = ("".join(f"data: {line}\n" for line in self._text.splitlines()) + "\n").encode()


def stream(part: LivePart, *, is_closing: Callable[[], bool] = lambda: False) -> StreamingResponse:
    """Return a response that sends the part now and after every change, until the reader leaves.

    Args:
        part: what to send.
        is_closing: returns whether the server is stopping; the stream ends then, and the page connects again later.
    """
    return StreamingResponse(_changes(part, is_closing), media_type="text/event-stream")


async def _changes(part: LivePart, is_closing: Callable[[], bool]) -> AsyncIterator[bytes]:
    sent, ends = await part.message(), time.monotonic() + LONGEST_S
    yield sent
    while not is_closing() and time.monotonic() < ends:
        message = await part.news(sent, is_closing)
        yield STILL_HERE if message == sent else message
        sent = message
