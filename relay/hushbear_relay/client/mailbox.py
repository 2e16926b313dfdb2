"""A mailbox: as its owner has it, and as a member writes to it."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from .. import names, signing
from .errors import NotFound, Unreachable
from .http import JSON, Relay


@dataclasses.dataclass(frozen=True)
class Listed:
    """A message that waits in a mailbox. Times are Unix seconds."""

    id: bytes
    member: bytes
    size: int
    position: int
    received: int
    expires: int


@dataclasses.dataclass(frozen=True)
class Listing:
    """What waits, oldest first. `members`: names.digest_of those who may write, says the relay."""

    messages: list[Listed]
    more: bool
    members: bytes


def writing_key(secret: bytes, mailbox: bytes) -> Ed25519PrivateKey:
    """Return the key by which who shares a 32-byte secret with a mailbox's owner writes there: in
    each mailbox another one. The owner can make it, too, and admits who has it."""
    kdf = HKDF(hashes.SHA256(), 32, salt=mailbox, info=b"Hushbear relay writing key 1")
    return Ed25519PrivateKey.from_private_bytes(kdf.derive(secret))


class Mailbox:
    """The owner's side. `key` names the mailbox."""

    def __init__(self, relay: Relay, key: Ed25519PrivateKey) -> None:
        self._relay = relay
        self._key = key
        self.name = names.mailbox_of(signing.public_bytes(key))
        self._path = f"/v1/mailboxes/{self.name.hex()}"

    async def put(self, members: list[bytes]) -> bool:
        """Make the mailbox, or say who may write to it. Return whether it is new."""
        body = json.dumps({"members": [member.hex() for member in members]}).encode()
        answer = await self._relay.request(self._key, "PUT", self._path, None, body, JSON)
        return answer.status == 201

    async def delete(self) -> None:
        """Delete the mailbox with all that is in it."""
        await self._relay.request(self._key, "DELETE", self._path)

    async def list(self, after: int = 0, limit: int = 100, wait: int = 0) -> Listing:
        """Return what waits above a position; if nothing does, wait for it so many seconds."""
        query = {"after": after, "limit": limit, "wait": wait}
        answer = await self._relay.request(
            self._key, "GET", f"{self._path}/messages", query, wait=wait
        )
        said = answer.json()
        try:
            return Listing(
                [_listed(each) for each in said["messages"]],
                bool(said["more"]),
                names.parse(said["members"], names.MEMBER_SIZE),
            )
        except (KeyError, TypeError, ValueError):
            raise Unreachable("The relay lists messages in a way that makes no sense.") from None

    async def get(self, message: bytes) -> bytes:
        """Return a message's body, as it was put; raises Unreachable if it was cut or altered."""
        answer = await self._relay.request(self._key, "GET", self._message(message))
        if not signing.matches(answer.headers.get("Content-Digest"), answer.body):
            raise Unreachable("The message was damaged on its way.")
        return answer.body

    async def remove(self, message: bytes) -> None:
        """Delete a message, there or not."""
        await self._relay.request(self._key, "DELETE", self._message(message))

    def _message(self, message: bytes) -> str:
        return f"{self._path}/messages/{message.hex()}"


class Letterbox:
    """A member's side of somebody's mailbox. `key`: see writing_key."""

    def __init__(self, relay: Relay, mailbox: bytes, key: Ed25519PrivateKey) -> None:
        self._relay = relay
        self._key = key
        self.mailbox = mailbox
        self.member = names.member_of(mailbox, signing.public_bytes(key))
        self._path = f"/v1/mailboxes/{mailbox.hex()}/messages/"

    async def put(self, message: bytes, body: bytes) -> bool:
        """Put a message, as often as you like. Return whether it was not there before."""
        answer = await self._relay.request(
            self._key, "PUT", self._path + message.hex(), None, body
        )
        return answer.status == 201

    async def has(self, message: bytes) -> bool:
        """Return whether a message that was put is still there."""
        try:
            await self._relay.request(self._key, "HEAD", self._path + message.hex())
        except NotFound:
            return False
        return True

    async def withdraw(self, message: bytes) -> None:
        """Delete a message that was put, there or not."""
        await self._relay.request(self._key, "DELETE", self._path + message.hex())


def _listed(said: dict[str, Any]) -> Listed:
    numbers = [said[name] for name in ("size", "position", "received", "expires")]
    if not all(isinstance(number, int) and 0 <= number < 1 << 63 for number in numbers):
        raise ValueError("an impossible number")
    return Listed(
        names.parse(said["id"], names.MESSAGE_SIZE),
        names.parse(said["member"], names.MEMBER_SIZE),
        *numbers,
    )
