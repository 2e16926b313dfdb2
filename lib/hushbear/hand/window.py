"""The pairing window on the air: who speaks with the toy while it is open, and how often.

    Window(code, family, clock, log)
    await .serve(peer)      for Radio.run: one connection
    .wrong                  how many attempts did not succeed
    .paired                 a phone has been added
    .over()                 one has, or the attempts or the time are used up, and none is going on
    .parting                a phone that was added still hears the last answer

Silence, noise and strange versions cost a stranger the connection and the window nothing. An
attempt is spent by the toy's answer, and there is one at a time, so a stranger with a radio can
spend all of them, but cannot have more. When the phone that guesses breaks off, it was an attempt.
"""

import asyncio
import time

from hushbear.hand.pairing import PairingSession
from hushbear.link.errors import SessionOver
from hushbear.link.session import Frame
from hushbear.pairing_wire import ATTEMPTS

_OPEN_MS = const(120000)
_PARTING_MS = const(3000)  # after success, for the last answer to arrive


class Window:
    def __init__(self, code, family, clock, log):
        self.wrong = 0
        self.paired = False
        self.parting = False
        self._left = ATTEMPTS
        self._opened = time.ticks_ms()
        self._code = code
        self._family = family
        self._clock = clock
        self._log = log
        self._frame = Frame()
        self._attempt = asyncio.Lock()

    def over(self):
        return not self._attempt.locked() and not self._open()

    def _open(self):
        in_time = time.ticks_diff(time.ticks_ms(), self._opened) < _OPEN_MS
        return self._left > 0 and in_time and not self.paired

    async def serve(self, peer):
        session = PairingSession(peer, self._frame, self._family, self._clock.now())
        try:
            hello = await session.greeting()
            async with self._attempt:
                if self._open() and peer.connected:
                    await self._try(session, hello)
        except SessionOver:
            pass
        except Exception as error:  # A defect of ours must not cost the others their window.
            self._log(error)
        if session.paired:
            await self._part(peer)

    async def _try(self, session, hello):
        try:
            await session.pair(hello, self._code, self._left - 1)
        finally:
            if session.paired:
                self.parting = self.paired = True
            elif session.guessed:
                self._left -= 1
                self.wrong += 1

    async def _part(self, peer):
        # The phone hangs up when it has heard all.
        for _ in range(_PARTING_MS // 50):
            if not peer.connected:
                break
            await asyncio.sleep_ms(50)
        self.parting = False
