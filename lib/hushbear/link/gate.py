"""Handshakes one at a time, and after failures only after a pause that grows.

The pause costs a guesser time and the toy nothing. It is capped, and ends with the first success,
so a stranger who keeps failing delays the family's phone by seconds and never shuts it out.
"""

import asyncio
import time

_FIRST_MS = const(100)
_LONGEST_MS = const(2000)


class Gate:
    """`async with gate:` around the work of one handshake; then `succeeded()` or `failed()`."""

    def __init__(self):
        self._lock = asyncio.Lock()
        self._pause = 0
        self._since = 0

    async def __aenter__(self):
        await self._lock.acquire()
        try:
            left = self._pause - time.ticks_diff(time.ticks_ms(), self._since)
            if self._pause and left > 0:
                await asyncio.sleep_ms(left)
        except asyncio.CancelledError:
            self._lock.release()
            raise

    async def __aexit__(self, *exc):
        self._lock.release()

    def succeeded(self):
        self._pause = 0

    def failed(self):
        self._pause = min(2 * self._pause, _LONGEST_MS) or _FIRST_MS
        self._since = time.ticks_ms()
