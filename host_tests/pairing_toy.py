"""The toy of companion_toy.py with a pairing window, written down from docs/protocol.md.

    toy = OpenToy(key, b"493027")
    air = PairingAir(toy)

Its half of CPace is `cryptography`'s multiplication on the generator that the vectors prove.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import struct

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from host_tests.companion_toy import Air, Link, Refused, Toy
from hushbear import family_wire, pairing_wire, wire
from hushbear_companion import cpace
from hushbear_companion.errors import LinkLost
from hushbear_companion.session import Stream
from hushbear_companion.transport import Sighting

CODE = b"493027"


class OpenToy(Toy):
    """A toy whose window is open while `attempts` are left; `code` None: it is not."""

    def __init__(self, key: bytes, code: bytes | None = CODE) -> None:
        super().__init__(key)
        self.code = code
        self.attempts = pairing_wire.ATTEMPTS
        self.paired: tuple[bytes, bytes, bytes] | None = None  # key, sender id, name

    @property
    def open(self) -> bool:
        return self.code is not None and self.attempts > 0

    def pair(self, body: bytes) -> bytes:
        """Return what a PAIR request is answered with, after its status."""
        (name,) = struct.unpack(pairing_wire.PAIR_REQUEST, body)
        if len(self.phones) == family_wire.SLOTS:
            raise Refused(wire.FULL)
        self.asking = (os.urandom(32), os.urandom(8), name)
        epochs = [struct.pack(family_wire.EPOCH, *each) for each in sorted(self.family.items())]
        return struct.pack(pairing_wire.PAIR_RESPONSE, *self.asking[:2]) + b"".join(epochs)

    def remember(self) -> None:
        """Take the phone in: the key of this model is now the new phone's, in slot 0."""
        self.paired = self.asking
        self.key, sender, name = self.asking
        self.phones[0] = (sender, 1_790_000_000, name)
        self.code = None


class PairingLink(Link):
    """One attempt."""

    toy: OpenToy

    async def greeting(self) -> bool:
        hello = await self.frame()
        version, sid, ya = struct.unpack(pairing_wire.HELLO, hello)
        if version != pairing_wire.VERSION or not self.toy.open:
            return False
        self.toy.attempts -= 1
        assert self.toy.code is not None
        await self.put(self.answer(self.toy.code, sid, ya))
        return True

    def answer(self, code: bytes, sid: bytes, ya: bytes) -> bytes:
        scalar = X25519PrivateKey.generate()
        generator = cpace.calculate_generator(code, b"Hushbear pairing 1", sid)
        yb = scalar.exchange(X25519PublicKey.from_public_bytes(generator))
        k = scalar.exchange(X25519PublicKey.from_public_bytes(ya))
        shares = cpace.lv_cat(ya, b"phone", yb, b"toy" + bytes([self.toy.attempts]))
        isk = hashlib.sha512(cpace.lv_cat(b"CPace255_ISK", sid, k) + shares).digest()
        self.noise.set_psks(HKDF(SHA256(), 32, b"", b"Hushbear pairing psk 1").derive(isk))
        self.noise.set_prologue(b"Hushbear pairing 1")
        return struct.pack(pairing_wire.ANSWER, self.toy.attempts, yb)

    async def handle(self, kind: int, tag: int, body: bytes) -> None:
        answer = b""
        status = wire.OK
        try:
            if kind == pairing_wire.PAIR:
                answer = self.toy.pair(body)
            elif kind == pairing_wire.PAIRED:
                self.toy.remember()
            else:
                status = wire.UNKNOWN
        except Refused as refused:
            status = refused.args[0]
        await self.send(kind | wire.RESPONSE, tag, bytes([status]) + answer)
        if self.toy.paired:
            raise ConnectionError  # it restarts


class PairingAir(Air):
    """Toys around, each with its window open or not. `connects` that fail come first."""

    def __init__(self, *toys: OpenToy, link: type[PairingLink] = PairingLink) -> None:
        super().__init__(*toys)
        self.open_toys = toys
        self.failing_connects = 0
        self._pairing_link = link

    async def sightings(
        self, seconds: float, settle: float | None = None, service: str = wire.SERVICE_UUID
    ) -> list[Sighting]:
        pairing = service == pairing_wire.SERVICE_UUID
        heard = await super().sightings(seconds, settle)
        return [
            Sighting(each.address, each.rssi, each.device, service)
            for each in heard
            if self.open_toys[each.device].open == pairing
        ]

    async def open(self, sighting: Sighting, seconds: float) -> Stream:
        if sighting.service != pairing_wire.SERVICE_UUID:
            return await super().open(sighting, seconds)
        if self.failing_connects:
            self.failing_connects -= 1
            raise LinkLost("The toy is in sight, but connecting to it failed.")
        link = self._pairing_link(self.open_toys[sighting.device], self)
        self.tasks.append(asyncio.create_task(link.run()))
        return link.phone
