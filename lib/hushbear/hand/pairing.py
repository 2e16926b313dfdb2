"""Pairing on one connection: CPace with the spoken code, then a session in which the phone gets
its own key and the family's (pairing_wire.py).
"""

import asyncio
import os
import struct

from hushbear import pairing_wire, wire
from hushbear.crypto import kdf
from hushbear.crypto.cpace import Responder
from hushbear.family import cleaned
from hushbear.family_wire import EPOCH
from hushbear.link.errors import Refused, SessionOver, fields
from hushbear.link.session import Session

_HELLO_MS = const(5000)
_ATTEMPT_MS = const(20000)  # from the toy's answer to PAIRED, the toy's arithmetic included
_SENDER_SIZE = const(8)


class PairingSession(Session):
    """`paired` once the phone is in the family. `guessed` once it was answered: that is an attempt
    spent, unless it is `paired` in the end; `right` once it has shown that it knows the code.
    """

    prologue = pairing_wire.PROLOGUE

    def __init__(self, peer, frame, family, now):
        super().__init__(peer, frame)
        self.guessed = self.right = self.paired = False
        self._family = family
        self._now = now  # Unix s
        self._phone = None  # (psk, sender id, name)

    async def greeting(self):
        """Return what the phone says first, (sid, Ya). Raises SessionOver."""
        await self._within(_HELLO_MS, pairing_wire.HELLO_SIZE, pairing_wire.HELLO_SIZE)
        async with self.frame.lock:
            size = self._take()
            hello = bytes(self.frame.view[2 : 2 + size])
        version, sid, ya = struct.unpack(pairing_wire.HELLO, hello)
        if version != pairing_wire.VERSION:
            raise SessionOver("another version of pairing")
        return sid, ya

    async def pair(self, hello, code, left):
        """Answer the phone's greeting, as an attempt with so many left after it, and go on until
        it has paired. Ends by raising SessionOver.
        """
        sid, ya = hello
        ad_toy = pairing_wire.AD_TOY + bytes((left,))
        responder = Responder(code, pairing_wire.CI, sid, pairing_wire.AD_PHONE, ad_toy)
        try:
            for _ in responder.steps(ya):
                await asyncio.sleep_ms(0)
        except ValueError as error:
            raise SessionOver(str(error))
        answer = struct.pack(pairing_wire.ANSWER, left, responder.answer(ya))
        psk = kdf.expand(kdf.extract(b"", responder.isk), pairing_wire.PSK_INFO, wire.KEY_SIZE)
        responder = None
        if not self.peer.connected:
            raise SessionOver("the phone left")
        self.guessed = True
        try:
            await asyncio.wait_for_ms(self._go_on(answer, psk), _ATTEMPT_MS)
        except asyncio.TimeoutError:
            raise SessionOver("pairing not finished in time")

    async def _go_on(self, answer, psk):
        async with self.frame.lock:
            self.frame.buffer[0 : 2 + len(answer)] = struct.pack("<H", len(answer)) + answer
            await self.peer.send(self.frame.view[: 2 + len(answer)], self._connection)
        await self.run(lambda: [(None, psk)], self, self._handle)

    # What Session.run asks of a gate: here it is one attempt.

    async def __aenter__(self):
        pass

    async def __aexit__(self, *exc):
        pass

    def succeeded(self):
        self.right = True

    def failed(self):
        pass

    async def _handle(self, session, kind, tag, body):
        try:
            if kind == pairing_wire.PAIR:
                answer = self._pair(body)
            elif kind == pairing_wire.PAIRED:
                answer = self._keep(body)
            else:
                raise Refused(wire.UNKNOWN)
            status = wire.OK
        except Refused as refused:
            answer = b""
            status = refused.status
        await self.send(kind | wire.RESPONSE, tag, bytes((status,)) + answer)
        if self.paired:
            raise SessionOver("paired")

    def _pair(self, body):
        (name,) = fields(pairing_wire.PAIR_REQUEST, body)
        try:
            name = cleaned(name)
        except ValueError:
            raise Refused(wire.MALFORMED)
        self._family.found()
        self._phone = os.urandom(wire.KEY_SIZE), os.urandom(_SENDER_SIZE), name
        epochs = [struct.pack(EPOCH, *each) for each in self._family.epochs()]
        return struct.pack(pairing_wire.PAIR_RESPONSE, *self._phone[:2]) + b"".join(epochs)

    def _keep(self, body):
        fields("", body)
        if self._phone is None:
            raise Refused(wire.MALFORMED)
        psk, sender, name = self._phone
        self._family.add(psk, sender, name, self._now)
        self.paired = True
        return b""
