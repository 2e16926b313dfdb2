"""A session with one phone: the handshake, then sealed records both ways.

Noise_NNpsk0_25519_AESGCM_SHA256 (The Noise Protocol Framework, revision 34) with the toy as
responder. It tries the keys of all paired phones, so no identity crosses the air. Whatever does
not fit ends the session without an answer: `SessionOver` says why, to the toy and to nobody else.
"""

import asyncio
import struct
import time

from hushbear import wire
from hushbear.crypto import cipher_state, x25519  # noqa: F401  (machine code has to stay)
from hushbear.link.errors import SessionOver
from hushbear.once import once

_HANDSHAKE_MS = const(5000)  # of the phone's own time, the toy's arithmetic aside
_LENGTH = const(2)  # bytes of a frame's length field
_BODY = const(4)  # where the body of a frame's record begins
_SEALED_MIN = const(18)  # kind, tag, authentication tag


class Frame:
    """The one buffer for a frame, in or out, of all sessions: it belongs to the task that holds
    `lock`. `body` views its record's body.
    """

    def __init__(self):
        self.buffer = bytearray(wire.FRAME_MAX)
        self.view = memoryview(self.buffer)
        self.body = self.view[_BODY : _LENGTH + wire.RECORD_MAX]
        self.lock = asyncio.Lock()


class Session:
    """One phone's session over `peer`."""

    prologue = wire.PROLOGUE

    def __init__(self, peer, frame):
        self.peer = peer
        self.frame = frame
        self.slot = None  # of the phone, once it is known
        self._connection = peer.connection
        self._rx = None
        self._tx = None

    async def run(self, psks, gate, handle):
        """Run the handshake with whichever of `psks()`, (slot, key), the phone holds, then `await
        handle(self, kind, tag, body)` for each record, which holds the frame: `body` lasts until
        it sends. Ends by raising SessionOver.

        A phone counts as authenticated once its first record opened: before that, it may be a
        recording of another day's handshake.
        """
        try:
            left = await self._within(_HANDSHAKE_MS, wire.HANDSHAKE_SIZE, wire.HANDSHAKE_SIZE)
            async with gate:
                await self._respond(psks)
            await self._within(left, _SEALED_MIN, wire.RECORD_MAX + wire.TAG_SIZE)
            async with self.frame.lock:
                record = self._open()
                gate.succeeded()
                await handle(self, *record)
        except SessionOver:
            if not self._rx or not self._rx.count:
                gate.failed()
            raise
        while True:
            await asyncio.sleep_ms(0)  # A phone that always has more must not hold up the others.
            await self._frame(_SEALED_MIN, wire.RECORD_MAX + wire.TAG_SIZE)
            async with self.frame.lock:
                await handle(self, *self._open())

    async def _within(self, budget, shortest, longest):
        began = time.ticks_ms()
        try:
            await asyncio.wait_for_ms(self._frame(shortest, longest), budget)
        except asyncio.TimeoutError:
            raise SessionOver("handshake not finished in time")
        return max(0, budget - time.ticks_diff(time.ticks_ms(), began))

    async def _frame(self, shortest, longest):
        """Wait until a whole frame of so many bytes is in the peer's ring, and leave it there."""
        peer = self.peer
        length = bytearray(_LENGTH)
        while True:
            if peer.overrun:
                raise SessionOver("more sent than was allowed")
            used = peer.rx.used()
            if used >= _LENGTH:
                peer.rx.peek(length, 0, _LENGTH)
                size = length[0] | length[1] << 8
                if not shortest <= size <= longest:
                    raise SessionOver("frame of impossible size")
                if used >= _LENGTH + size:
                    return
            if not peer.connected:
                raise SessionOver("the phone left")
            await peer.arrived.wait()

    def _take(self):
        rx = self.peer.rx
        frame = self.frame
        rx.get(frame.buffer, 0, _LENGTH)
        size = frame.buffer[0] | frame.buffer[1] << 8
        rx.get(frame.buffer, _LENGTH, size)
        return size

    async def _respond(self, psks):
        frame = self.frame
        async with frame.lock:
            message = bytes(frame.view[_LENGTH : _LENGTH + self._take()])
        noise = once("hushbear.crypto.noise")
        responder = noise.Responder(self.prologue)
        found = None
        for slot, psk in psks():  # all of them: when it answers must not tell which phone this is
            if responder.read_1(psk, message):
                self.slot = slot
                found = psk
            await asyncio.sleep_ms(0)
        if found is None:
            raise SessionOver("no paired phone's handshake")
        responder.read_1(found, message)
        try:
            for _ in responder.steps():
                await asyncio.sleep_ms(0)  # Audio goes on meanwhile.
        except cipher_state.NoiseError as error:
            raise SessionOver(str(error))
        if dict(psks()).get(self.slot) != found:  # in a list, how far it is would take time
            raise SessionOver("removed meanwhile")
        reply = responder.write_2()
        self._rx, self._tx = responder.split()
        async with frame.lock:
            struct.pack_into(wire.FRAME_HEAD, frame.buffer, 0, len(reply))
            frame.view[_LENGTH : _LENGTH + len(reply)] = reply
            await self.peer.send(frame.view[: _LENGTH + len(reply)], self._connection)

    def _open(self):
        frame = self.frame
        size = self._rx.open(frame.buffer, _LENGTH, self._take())
        if size < 0:
            raise SessionOver("record does not open")
        kind, tag = struct.unpack_from(wire.RECORD_HEAD, frame.buffer, _LENGTH)
        return kind, tag, frame.view[_BODY : _LENGTH + size]

    async def send(self, kind, tag, body):
        """Send one record. The caller holds the frame."""
        self.frame.body[: len(body)] = body
        await self.send_body(kind, tag, len(body))

    async def send_body(self, kind, tag, size):
        """Send `size` bytes of the frame's body as a record."""
        frame = self.frame
        struct.pack_into(wire.RECORD_HEAD, frame.buffer, _LENGTH, kind, tag)
        sealed = self._tx.seal(frame.buffer, _LENGTH, _BODY - _LENGTH + size)
        struct.pack_into(wire.FRAME_HEAD, frame.buffer, 0, sealed)
        await self.peer.send(frame.view[: _LENGTH + sealed], self._connection)
