"""A numbered channel between two who share nothing yet but a number: for CPace's messages."""

from __future__ import annotations

import asyncio

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from .errors import Unreachable
from .http import Relay

_POLL = 30  # seconds of one long poll


class Rendezvous:
    """One side of a channel. `begin` or `join` makes one; messages go both ways, in order."""

    def __init__(self, relay: Relay, key: Ed25519PrivateKey, number: int, expires: int) -> None:
        self._relay = relay
        self._key = key
        self._sent = 0
        self._received = 0
        self.number = number
        self.expires = expires  # Unix seconds; 0 where only the other side knows

    @classmethod
    async def begin(cls, relay: Relay) -> Rendezvous:
        """Begin a channel; tell the other one its number."""
        key = Ed25519PrivateKey.generate()
        said = (await relay.request(key, "POST", "/v1/rendezvous")).json()
        number, expires = said.get("number"), said.get("expires")
        if not (isinstance(number, int) and isinstance(expires, int) and number > 0):
            raise Unreachable("The relay gives a number that is none.")
        return cls(relay, key, number, expires)

    @classmethod
    def join(cls, relay: Relay, number: int) -> Rendezvous:
        """Be the other side of a channel, from the first message sent or received on."""
        return cls(relay, Ed25519PrivateKey.generate(), number, 0)

    async def send(self, message: bytes) -> None:
        """Leave a message of up to 1024 bytes; raises Over, or NotFound for a number that is not
        (or no longer) to be had. Sent again after Unreachable, it arrives once."""
        path = self._path(self._sent)
        await self._relay.request(self._key, "PUT", path, None, message)
        self._sent += 1

    async def receive(self, seconds: float) -> bytes:
        """Return the other side's next message; raises TimeoutError, Over, NotFound."""
        loop = asyncio.get_running_loop()
        until = loop.time() + seconds
        while (left := until - loop.time()) > 0:
            wait = max(1, min(_POLL, int(left)))
            answer = await self._relay.request(
                self._key, "GET", self._path(self._received), {"wait": wait},
                wait=wait,
            )  # fmt: skip
            if answer.status == 200:
                self._received += 1
                return answer.body
        raise TimeoutError

    async def close(self) -> None:
        """End the channel for both sides; raises NotFound if it is over anyway."""
        await self._relay.request(self._key, "DELETE", f"/v1/rendezvous/{self.number}")

    def _path(self, place: int) -> str:
        return f"/v1/rendezvous/{self.number}/messages/{place}"
