"""A toy written down from docs/protocol.md, for tests of the companion without firmware.

`Toy` keeps messages and answers requests; `Air` carries bytes to it, loses frames and drops links
as a test wishes. Tests of hostile toys replace one method. Noise comes from `noiseprotocol`, which
is not the companion's own.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from noise.connection import NoiseConnection
from noise.exceptions import NoiseInvalidMessage

from hushbear import container, family_wire, settings_wire, upkeep_wire, wire
from hushbear_companion import message, sealing
from hushbear_companion.errors import LinkLost
from hushbear_companion.session import Stream, Timing
from hushbear_companion.transport import Sighting

QUICK = Timing(
    scan=0.02, settle=0.0, connect=1, handshake=0.2, pairing=0.2, response=0.2, write=1, stall=0.2,
    retries=4, first_pause=0.0, longest_pause=0.0,
)  # fmt: skip
NEVER = 1 << 60
SETTINGS = struct.pack(
    settings_wire.SETTINGS_BODY, 60, 80, 50, 1, 20 * 60, 7 * 60, 500, 45, 0, b""
)


SENDER = b"phone  1"  # that the toy has given to the phone with its key
FAMILY = {1: bytes(range(1, 33)), 2: bytes(range(2, 34))}


def make_message(
    blocks: int = 20,
    time: int = 1_790_000_000,
    sender: bytes = bytes(8),
    family: dict[int, bytes] = FAMILY,
) -> bytes:
    """Return a message of `blocks` blocks of noise, sealed with the family's newest key."""
    body = b"".join(b"\0\0\0\0" + os.urandom(252) for _ in range(blocks))
    epoch = max(family)
    return sealing.seal(message.Header(message.new_id(), sender, time, epoch), body, family[epoch])


def blocks_of(content: bytes, family: dict[int, bytes] = FAMILY) -> bytes:
    """Return the blocks of a sealed message."""
    return sealing.unseal(content, family)[1]


@dataclass
class Stored:
    sequence: int
    content: bytes
    done: bool = False

    @property
    def id(self) -> bytes:
        return self.content[16:32]

    def entry(self) -> bytes:
        return struct.pack(
            wire.ENTRY, self.sequence, self.id, self.content[32:40], len(self.content),
            *struct.unpack_from("<I", self.content, 12), wire.DONE if self.done else 0,
        )  # fmt: skip


class Refused(Exception):
    pass


class Toy:
    """The state that survives a lost link."""

    def __init__(self, key: bytes) -> None:
        self.key = key
        self.boxes: dict[int, list[Stored]] = {wire.INBOX: [], wire.OUTBOX: []}
        self.sequences = itertools.count(1)  # over both boxes
        self.parts: dict[bytes, bytearray] = {}
        self.room = 1 << 20
        self.settings = SETTINGS
        self.languages = {"de", "en"}
        self.name = b""
        self.naming = b""
        self.crashlog = b""
        self.firmware = b"0.1"
        self.clock: tuple[int, int] | None = None
        self.family = dict(FAMILY)
        self.phones = {0: (SENDER, 1_790_000_000, b"parent"), 3: (b"grandma\0", 0, b"Grandma")}
        self.asked: list[int] = []  # kinds of the requests so far
        self.data_seen = 0  # message bytes received, repeats included
        self.data_sent = 0

    def record(self, content: bytes) -> None:
        """The child has recorded a message."""
        self.boxes[wire.OUTBOX].append(Stored(next(self.sequences), content))

    def inbox(self) -> list[bytes]:
        return [stored.content for stored in self.boxes[wire.INBOX]]

    def find(self, box: int, message_id: bytes) -> Stored:
        for stored in self.boxes[box]:
            if stored.id == message_id:
                return stored
        raise Refused(wire.NOT_FOUND)

    async def answer(self, link: Link, kind: int, tag: int, body: bytes) -> bytes:
        """Return the body of the response after its status."""
        self.asked.append(kind)
        if kind == upkeep_wire.STATUS:
            inbox, outbox = self.boxes[wire.INBOX], self.boxes[wire.OUTBOX]
            return struct.pack(
                upkeep_wire.STATUS_BODY, 1, 0, 0, 3600, 1_790_000_000, self.room, 1 << 20, 50000,
                len(inbox), sum(not s.done for s in inbox), len(outbox),
                sum(not s.done for s in outbox), len(self.crashlog), 0, self.firmware,
            )  # fmt: skip
        if kind == upkeep_wire.TIME:
            self.clock = struct.unpack(upkeep_wire.TIME_BODY, body)
            return b""
        if kind == upkeep_wire.LIST:
            box, after = struct.unpack(upkeep_wire.LIST_REQUEST, body)
            entries = [s.entry() for s in self.boxes[box] if s.sequence > after]
            return b"".join(entries[: upkeep_wire.ENTRIES_MAX])
        if kind == wire.SEND:
            return self.offer(link, tag, *struct.unpack(wire.SEND_REQUEST, body))
        if kind == wire.COMMIT:
            self.commit(link, body)
            return b""
        if kind == wire.FETCH:
            message_id, offset, limit = struct.unpack(wire.FETCH_REQUEST, body)
            content = self.find(wire.OUTBOX, message_id).content
            if offset > len(content):
                raise Refused(wire.RANGE)
            link.download = (tag, content, offset, limit)
            return struct.pack(wire.FETCH_RESPONSE, len(content))
        if kind == wire.FETCHED:
            self.find(wire.OUTBOX, body).done = True
            return b""
        if kind == upkeep_wire.DELETE:
            box, message_id = struct.unpack(upkeep_wire.DELETE_REQUEST, body)
            self.boxes[box].remove(self.find(box, message_id))
            return b""
        if kind == upkeep_wire.SETTINGS:
            return self.settings
        if kind == upkeep_wire.CONFIGURE:
            if body[-2:] not in (b"\0\0", *(each.encode() for each in self.languages)):
                raise Refused(wire.NOT_FOUND)
            self.settings = body
            return b""
        if kind == upkeep_wire.NAME:
            return self.take_name(body)
        if kind == upkeep_wire.CRASHLOG:
            (offset,) = struct.unpack(upkeep_wire.CRASHLOG_REQUEST, body)
            return self.crashlog[offset : offset + wire.DATA_MAX]
        if kind == upkeep_wire.CLEAR_CRASHLOG:
            self.crashlog = b""
            return b""
        if kind == family_wire.FAMILY:
            return self.epochs(*struct.unpack(family_wire.FAMILY_REQUEST, body))
        if kind == family_wire.PHONES:
            return b"".join(
                struct.pack(
                    family_wire.PHONE, slot | (family_wire.ASKING if slot == 0 else 0), *phone
                )
                for slot, phone in self.phones.items()
            )
        if kind == family_wire.RENAME:
            slot, name = struct.unpack(family_wire.RENAME_REQUEST, body)
            self.phones[slot] = (*self.phone(slot)[:2], name.rstrip(b"\0"))
            return b""
        if kind == family_wire.REVOKE:
            (slot,) = struct.unpack(family_wire.REVOKE_REQUEST, body)
            self.phone(slot)
            del self.phones[slot]
            self.add_epoch()
            return b""
        if kind == family_wire.RENEW:
            (above,) = struct.unpack(family_wire.RENEW_REQUEST, body)
            if above > max(self.family):
                raise Refused(wire.MALFORMED)
            if above == max(self.family):
                if len(self.family) == family_wire.EPOCHS_MAX and self.awaited(min(self.family)):
                    raise Refused(wire.FULL)
                self.add_epoch()
            return self.epochs(above)
        raise Refused(wire.UNKNOWN)

    def epochs(self, above: int) -> bytes:
        return b"".join(
            struct.pack(family_wire.EPOCH, epoch, key)
            for epoch, key in sorted(self.family.items())
            if epoch > above
        )

    def add_epoch(self) -> None:
        self.family[max(self.family) + 1] = os.urandom(32)
        for epoch in sorted(self.family)[: -family_wire.EPOCHS_MAX]:
            del self.family[epoch]

    def awaited(self, epoch: int) -> bool:
        """Whether a message of this epoch waits to be heard, or fetched."""
        return any(
            message.parse_header(stored.content).epoch == epoch
            for box in self.boxes.values()
            for stored in box
            if not stored.done
        )

    def phone(self, slot: int) -> tuple[bytes, int, bytes]:
        if slot not in self.phones:
            raise Refused(wire.NOT_FOUND)
        return self.phones[slot]

    def take_name(self, body: bytes) -> bytes:
        head = struct.calcsize(upkeep_wire.NAME_HEAD)
        if body:
            size, crc, offset = struct.unpack_from(upkeep_wire.NAME_HEAD, body)
            if offset > len(self.naming):
                raise Refused(wire.RANGE)
            self.naming = self.naming[:offset] + body[head:]
            if len(self.naming) == size:
                if zlib.crc32(self.naming) != crc:
                    raise Refused(wire.RANGE)
                self.name = self.naming
        return struct.pack(upkeep_wire.NAME_RESPONSE, len(self.name))

    def offer(self, link: Link, tag: int, message_id: bytes, size: int, digest: bytes) -> bytes:
        if any(stored.id == message_id for stored in self.boxes[wire.INBOX]):
            return struct.pack(wire.SEND_RESPONSE, size, size)
        if size > self.room:
            raise Refused(wire.FULL)
        part = self.parts.setdefault(message_id, bytearray())
        link.upload = (tag, message_id, size, digest)
        return struct.pack(wire.SEND_RESPONSE, len(part), min(size, len(part) + wire.WINDOW))

    async def data(self, link: Link, tag: int, body: bytes) -> None:
        if link.upload is None or link.upload[0] != tag:
            return
        _, message_id, size, _ = link.upload
        part = self.parts[message_id]
        (offset,) = struct.unpack_from(wire.DATA_HEAD, body)
        piece = body[4:]
        self.data_seen += len(piece)
        if offset != len(part) or offset + len(piece) > size or len(piece) > wire.DATA_MAX:
            link.upload = None
            await link.send(wire.SEND | wire.RESPONSE, tag, bytes([wire.RANGE]))
            return
        part += piece
        await self.grant(link, tag, min(size, len(part) + wire.WINDOW))

    async def grant(self, link: Link, tag: int, limit: int) -> None:
        await link.send(wire.GRANT, tag, struct.pack(wire.GRANT_BODY, limit))

    def commit(self, link: Link, message_id: bytes) -> None:
        if any(stored.id == message_id for stored in self.boxes[wire.INBOX]):
            return
        if link.upload is None or link.upload[1] != message_id:
            raise Refused(wire.NOT_FOUND)
        _, _, size, digest = link.upload
        part = bytes(self.parts[message_id])
        if len(part) != size:
            raise Refused(wire.RANGE)
        link.upload = None
        del self.parts[message_id]
        if hashlib.sha256(part).digest() != digest:
            raise Refused(wire.DAMAGED)
        self.boxes[wire.INBOX].append(Stored(next(self.sequences), part))

    async def stream(self, link: Link) -> None:
        """Send what the phone's limit allows."""
        assert link.download is not None
        tag, content, offset, limit = link.download
        while offset < min(limit, len(content)):
            piece = content[offset : min(offset + wire.DATA_MAX, limit)]
            await link.send(wire.DATA, tag, struct.pack(wire.DATA_HEAD, offset) + piece)
            offset += len(piece)
            self.data_sent += len(piece)
        link.download = (tag, content, offset, limit)
        if offset == len(content):
            link.download = None
            await link.send(wire.END, tag, hashlib.sha256(content).digest())


class Link:
    """One connection, the toy's end."""

    def __init__(self, toy: Toy, air: Air) -> None:
        self.toy = toy
        self.air = air
        self.to_toy = asyncio.StreamReader()
        self.phone = PhoneStream(self)
        self.upload: tuple[int, bytes, int, bytes] | None = None
        self.download: tuple[int, bytes, int, int] | None = None
        self.noise = NoiseConnection.from_name(b"Noise_NNpsk0_25519_AESGCM_SHA256")
        self.noise.set_as_responder()
        self.noise.set_psks(toy.key)
        self.noise.set_prologue(wire.PROLOGUE)

    async def run(self) -> None:
        try:
            if not await self.greeting():
                return
            self.noise.start_handshake()
            self.noise.read_message(await self.frame())
            await self.put(self.noise.write_message())
            while True:
                record = bytes(self.noise.decrypt(await self.frame()))
                await self.handle(record[0], record[1], record[2:])
        except (InvalidTag, NoiseInvalidMessage, asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.drop()

    async def greeting(self) -> bool:
        """What comes before the handshake; return whether the phone may go on."""
        return True

    async def handle(self, kind: int, tag: int, body: bytes) -> None:
        if kind == wire.DATA:
            await self.toy.data(self, tag, body)
        elif kind == wire.GRANT:
            if self.download and self.download[0] == tag:
                (limit,) = struct.unpack(wire.GRANT_BODY, body)
                self.download = (*self.download[:3], limit)
        else:
            try:
                response = bytes([wire.OK]) + await self.toy.answer(self, kind, tag, body)
            except Refused as refused:
                response = bytes([refused.args[0]])
            await self.send(kind | wire.RESPONSE, tag, response)
        if self.download:
            await self.toy.stream(self)

    async def send(self, kind: int, tag: int, body: bytes) -> None:
        await self.put(self.noise.encrypt(bytes([kind, tag]) + body))

    async def put(self, payload: bytes) -> None:
        self.air.count(self)
        self.phone.arrived(struct.pack(wire.FRAME_HEAD, len(payload)) + payload)

    async def frame(self) -> bytes:
        (length,) = struct.unpack(wire.FRAME_HEAD, await self.to_toy.readexactly(2))
        payload = await self.to_toy.readexactly(length)
        self.air.count(self)
        return payload

    def drop(self) -> None:
        self.phone.end()
        if not self.to_toy.at_eof():
            self.to_toy.feed_eof()


class PhoneStream:
    """The phone's end: a session.Stream."""

    def __init__(self, link: Link) -> None:
        self.link = link
        self.pending = bytearray()
        self.over = False
        self.event = asyncio.Event()

    def arrived(self, data: bytes) -> None:
        if not self.over:
            self.pending += data
            self.event.set()

    def end(self) -> None:
        self.over = True
        self.event.set()

    def write_size(self) -> int:
        return 100

    async def write(self, data: bytes) -> None:
        if self.over:
            raise LinkLost("The link to the toy was lost.")
        size = self.write_size()
        for at in range(0, len(data), size):
            self.link.to_toy.feed_data(data[at : at + size])
        await asyncio.sleep(0)

    async def read(self) -> bytes:
        while not self.pending and not self.over:
            self.event.clear()
            await self.event.wait()
        return self.read_nowait()

    def read_nowait(self) -> bytes:
        data = bytes(self.pending)
        self.pending.clear()
        return data

    async def close(self) -> None:
        self.link.drop()


class Air:
    """The toys around. A frame whose number (over all links, from 1) is in `lost` ends its link
    and does not arrive."""

    def __init__(self, *toys: Toy, link: Callable[[Toy, Air], Link] = Link) -> None:
        self.toys = list(toys)
        self.lost: set[int] = set()
        self.frames = 0
        self.opened: list[int] = []
        self.in_sight = True
        self.tasks: list[asyncio.Task[None]] = []
        self._link = link

    def count(self, link: Link) -> None:
        self.frames += 1
        if self.frames in self.lost:
            link.drop()
            raise ConnectionError

    async def sightings(
        self, seconds: float, settle: float | None = None, service: str = wire.SERVICE_UUID
    ) -> list[Sighting]:
        if not self.in_sight or service != wire.SERVICE_UUID:
            return []
        return [Sighting(str(n), -50 - n, n) for n in range(len(self.toys))]

    async def open(self, sighting: Sighting, seconds: float) -> Stream:
        if not self.in_sight:
            raise LinkLost("The toy is in sight, but connecting to it failed.")
        self.opened.append(sighting.device)
        link = self._link(self.toys[sighting.device], self)
        self.tasks.append(asyncio.create_task(link.run()))
        return link.phone


assert container.HEADER_SIZE == 48  # Stored.id cuts the header
