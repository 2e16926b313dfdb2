"""A toy as the phone sees it: requests and transfers that go on after a lost link.

    async with Client(key) as toy:
        print(await toy.status())
        await toy.send(sealing.seal(header, blocks, toy.family[header.epoch]))

Toys are anonymous, so connecting means to try those in sight, strongest first, until one answers
to the key. Every operation can be repeated without harm and is, after a lost link: a message that
is sent again arrives once, one that is fetched again goes on where it stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeVar

from hushbear import family_wire, upkeep_wire, wire

from . import family, message, records, spoken_name
from .errors import (
    Damaged,
    FirmwareTooOld,
    LinkLost,
    NoSuchMessage,
    NoSuchPhone,
    NoToyInSight,
    NotThisToy,
    ToyMisbehaves,
    UnknownLanguage,
)
from .partfile import PartFile
from .records import Box, Entry, Settings, Status, StatusError
from .session import Session, Stream, Timing
from .toy import Member
from .transport import Radio, Sighting

T = TypeVar("T")
Progress = Callable[[int, int], None]  # (bytes done, bytes in all)
Learned = Callable[["Client"], None]

ENTRIES_MAX = 4096  # messages in a box that are believed
CRASHLOG_MAX = 256 * 1024  # bytes of a crash log that are read
FETCH_WINDOW = 16 * 1024  # message bytes that the toy may send ahead
_TELL_KEYS = "tell the family's keys"
_TELL_PHONES = "tell which phones it knows"
_NO_NEW_KEY = {  # by status: why, and what to do
    wire.UNKNOWN: "The toy cannot make a new one yet: update its firmware.",
    wire.FULL: "A message on the toy still needs the oldest one: let it be heard and fetched, or "
    "delete it.",
    wire.MALFORMED: "The toy knows only older ones: was it reset, or its memory damaged?",
}
_RESTARTS = 2  # how often a transfer begins again because the toy says so
_BUSY_TRIES = 5
_ROUNDS = 2  # how often the toys in sight are tried: a radio link may fail to come up


class Air(Protocol):
    """Where toys are found and reached: transport.Radio, or a model of one."""

    async def sightings(
        self, seconds: float, settle: float | None = None, service: str = wire.SERVICE_UUID
    ) -> list[Sighting]:
        """Return the toys in sight that advertise `service`, strongest first."""

    async def open(self, sighting: Sighting, seconds: float) -> Stream:
        """Connect to one, or raise LinkLost."""


class Client:
    """The phone's side of one toy. One operation at a time."""

    def __init__(
        self,
        key: bytes,
        air: Air | None = None,
        *,
        timing: Timing | None = None,
        waiting: Callable[[str], None] | None = None,
        sender: bytes | None = None,
        family_keys: Mapping[int, bytes] | None = None,
        learned: Learned | None = None,
        renew: int = 0,
    ) -> None:
        """`waiting` is told, in words, whenever the link is lost and what is done about it.

        `sender` and `family_keys` are what is known of the family. Connecting brings the rest;
        `learned` is called with this client when that was anything, before the keys are used.

        `renew` is the newest epoch that somebody has who was removed from the family, 0 where
        there is nobody. Where connecting brings no newer one, the toy is asked to make it. One
        that cannot now is told of by `waiting`, and all goes on with the key that there is.
        """
        self.sender = sender  # this phone's sender id; the toy gives it
        self.family: dict[int, bytes] = dict(family_keys or {})  # its keys, by epoch
        self.members: dict[bytes, Member] = {}  # its phones by sender id, where asked
        self._learned = learned or (lambda _: None)
        self._renew = renew
        self._key = key
        self._air: Air = air or Radio()
        self._timing = timing or Timing()
        self._waiting = waiting or (lambda _: None)
        self._session: Session | None = None
        self._known: Sighting | None = None
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Client:
        await self.connect()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def connect(self) -> None:
        """Find the toy and connect, or raise NoToyInSight, NotThisToy or LinkLost."""
        for attempt in range(_ROUNDS):
            try:
                await self._connect()
                return
            except (NotThisToy, LinkLost):
                if attempt == _ROUNDS - 1:
                    raise

    @property
    def epoch(self) -> int:
        """The number of the family's newest key, 0 where none is known."""
        return max(self.family, default=0)

    async def close(self) -> None:
        """End the connection."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def status(self) -> Status:
        """Return how the toy is."""
        return records.parse_status(await self._ask(upkeep_wire.STATUS, b"", "tell its state"))

    async def entries(self, box: Box) -> list[Entry]:
        """Return the messages in a box, oldest first."""
        entries: list[Entry] = []
        after = 0
        while len(entries) <= ENTRIES_MAX:
            body = struct.pack(upkeep_wire.LIST_REQUEST, box, after)
            more = records.parse_entries(
                await self._ask(upkeep_wire.LIST, body, "list its messages"), box, after
            )
            if not more:
                return entries
            entries += more
            after = more[-1].sequence
        raise ToyMisbehaves("The toy's list of messages does not end.")

    async def settings(self) -> Settings:
        """Return the toy's settings."""
        return records.parse_settings(
            await self._ask(upkeep_wire.SETTINGS, b"", "tell its settings")
        )

    async def configure(self, settings: Settings) -> None:
        """Change the toy's settings, or raise UnknownLanguage and change nothing."""
        body = records.pack_settings(settings.changed())
        try:
            await self._ask(upkeep_wire.CONFIGURE, body, "take the settings")
        except NoSuchMessage:
            raise UnknownLanguage(settings.language) from None

    async def name_size(self) -> int:
        """Return how many bytes of sound the toy's spoken name has, 0 where it has none."""
        return spoken_name.parse_size(
            await self._ask(upkeep_wire.NAME, b"", "tell its spoken name")
        )

    async def give_name(self, blocks: bytes) -> None:
        """Have the toy say these IMA blocks, at most 64, when pairing opens; none: nothing."""
        await self._keep_trying(spoken_name.Giving(blocks).attempt, _Movement())

    async def crashlog(self) -> str:
        """Return the toy's crash log."""
        text = bytearray()
        while len(text) < CRASHLOG_MAX:
            body = struct.pack(upkeep_wire.CRASHLOG_REQUEST, len(text))
            piece = await self._ask(upkeep_wire.CRASHLOG, body, "tell its crash log")
            if not piece:
                break
            text += piece
        return records.clean(bytes(text[:CRASHLOG_MAX]))

    async def clear_crashlog(self) -> None:
        """Empty the crash log."""
        await self._ask(upkeep_wire.CLEAR_CRASHLOG, b"", "clear its crash log")

    async def phones(self) -> list[family.Phone]:
        """Return the phones that the toy knows."""
        phones = family.parse_phones(await self._ask(family_wire.PHONES, b"", _TELL_PHONES))
        self._meet(phones)
        return phones

    async def rename(self, slot: int, name: str) -> None:
        """Change the name of a phone, or raise NoSuchPhone."""
        body = struct.pack(family_wire.RENAME_REQUEST, slot, family.pack_name(name))
        await self._ask_of_phone(family_wire.RENAME, slot, body, "rename the phone")

    async def revoke(self, slot: int) -> None:
        """Have the toy forget a phone, at once, or raise NoSuchPhone; learn the family's new
        key, which that phone does not get."""
        body = struct.pack(family_wire.REVOKE_REQUEST, slot)
        await self._ask_of_phone(family_wire.REVOKE, slot, body, "forget the phone")
        body = struct.pack(family_wire.FAMILY_REQUEST, self.epoch)
        self._take_keys(await self._ask(family_wire.FAMILY, body, _TELL_KEYS))

    async def delete(self, box: Box, message_id: bytes) -> None:
        """Delete a message, or raise NoSuchMessage."""
        body = struct.pack(upkeep_wire.DELETE_REQUEST, box, message_id)
        await self._ask(upkeep_wire.DELETE, body, "delete the message", gone_is_fine=True)

    async def fetched(self, message_id: bytes) -> None:
        """Tell the toy that a message is safe here, so that it may go when room is needed."""
        body = struct.pack(wire.MESSAGE_ID, message_id)
        await self._ask(wire.FETCHED, body, "note that the message was fetched", gone_is_fine=True)

    async def send(self, content: bytes, progress: Progress | None = None) -> None:
        """Bring a whole sealed message into the inbox. Returns when the toy has it on its flash.

        Sent again, in this call or a later one, it arrives once: the id in its header tells.
        """
        message.blocks_in(len(content))
        header = message.parse_header(content)
        sending = _Sending(content, header.id, progress)
        await self._keep_trying(sending.attempt, sending)

    async def fetch(self, entry: Entry, part: Path, progress: Progress | None = None) -> bytes:
        """Return a whole message of the outbox, sealed, its digest checked.

        What arrives is kept at `part` until it is whole, so that a later call goes on from there;
        the caller removes the file when the message is safe elsewhere, and then says fetched().
        """
        with PartFile(part) as file:
            fetching = _Fetching(entry, file, progress)
            await self._keep_trying(fetching.attempt, fetching)
            content = file.content()
        header = message.parse_header(content)
        if header.id != entry.id:
            raise ToyMisbehaves("The toy sent another message than the one that was asked for.")
        return content

    async def _ask_of_phone(self, kind: int, slot: int, body: bytes, doing: str) -> None:
        try:
            await self._ask(kind, body, doing, gone_is_fine=True)
        except NoSuchMessage:
            raise NoSuchPhone(f"The toy knows no phone in slot {slot}.") from None

    async def _ask(
        self, kind: int, body: bytes, doing: str, *, gone_is_fine: bool = False
    ) -> bytes:
        asked = False

        async def attempt(session: Session) -> bytes:
            nonlocal asked
            again, asked = asked, True
            try:
                return await session.request(kind, body, doing)
            except StatusError as refusal:
                # After a lost reply the first request may have been carried out.
                if refusal.status == wire.NOT_FOUND and gone_is_fine and again:
                    return b""
                raise

        return await self._keep_trying(attempt, _Movement())

    async def _keep_trying(
        self, attempt: Callable[[Session], Awaitable[T]], movement: _Movement
    ) -> T:
        """Return what `attempt` returns, on a new link after each that is lost.

        Gives up after `Timing.retries` attempts in a row that moved nothing.
        """
        async with self._lock:
            failures = busy = 0
            while True:
                moved = movement.furthest
                try:
                    if self._session is None:
                        await self._connect()
                    assert self._session is not None
                    return await attempt(self._session)
                except StatusError as refusal:
                    busy += 1
                    if refusal.status != wire.BUSY or busy > _BUSY_TRIES:
                        raise refusal.error() from None
                    # Perhaps it is our own last connection, which the toy has not given up yet.
                    await asyncio.sleep(self._timing.pause(busy - 1))
                except (LinkLost, NotThisToy, NoToyInSight) as lost:
                    await self.close()
                    failures = 1 if movement.furthest > moved else failures + 1
                    if failures > self._timing.retries:
                        raise LinkLost(f"{lost.message} It did not come back.") from lost
                    pause = self._timing.pause(failures - 1)
                    self._waiting(f"{lost.message} Trying again in {pause:.1f} s.")
                    await asyncio.sleep(pause)
                except BaseException:
                    await self.close()
                    raise

    async def _connect(self) -> None:
        await self.close()
        refused = 0
        lost: LinkLost | None = None
        tried: set[str] = set()
        async for sighting in self._candidates():
            if sighting.address in tried:
                continue
            tried.add(sighting.address)
            try:
                session = Session(
                    await self._air.open(sighting, self._timing.connect), self._timing
                )
                await session.open(self._key)
                await self._greet(session)
            except NotThisToy:
                refused += 1
                continue
            except LinkLost as error:
                lost = error
                continue
            self._session = session
            self._known = sighting
            return
        self._known = None
        if lost is not None:
            raise lost
        if refused:
            many = f"None of the {refused} toys in sight answers to the key."
            raise NotThisToy(
                many if refused > 1 else "The toy in sight does not answer to the key."
            )
        raise NoToyInSight("No toy is in sight.")

    async def _candidates(self) -> AsyncIterator[Sighting]:
        """Yield the toy that answered last, then all in sight, strongest first."""
        if self._known is not None:
            yield self._known
        for sighting in await self._air.sightings(self._timing.scan, self._timing.settle):
            yield sighting

    async def _greet(self, session: Session) -> None:
        """Set the toy's clock: the first record proves to it that the key is really here. Then
        learn what is new in the family."""
        try:
            await self._set_clock(session)
            await self._learn(session)
        except BaseException:
            await session.close()
            raise

    async def _set_clock(self, session: Session) -> None:
        now = datetime.now().astimezone()
        offset = now.utcoffset()
        minutes = 0 if offset is None else round(offset.total_seconds() / 60)
        body = struct.pack(upkeep_wire.TIME_BODY, message.timestamp(now.timestamp()), minutes)
        # A clock that is not set costs the date of a recording, nothing else.
        with contextlib.suppress(StatusError):
            await session.request(upkeep_wire.TIME, body, "set its clock")

    async def _learn(self, session: Session) -> None:
        body = struct.pack(family_wire.FAMILY_REQUEST, self.epoch)
        try:
            new = self._take_keys(await session.request(family_wire.FAMILY, body, _TELL_KEYS))
        except StatusError as refusal:
            if refusal.status == wire.UNKNOWN:
                raise FirmwareTooOld("The toy knows nothing of a family.") from None
            raise refusal.error() from None
        if self._renew and self.epoch <= self._renew:
            new |= await self._make_key(session)
        if new or self.sender is None:
            # Who is in the family can be asked again by whoever needs it.
            with contextlib.suppress(StatusError):
                answer = await session.request(family_wire.PHONES, b"", _TELL_PHONES)
                self._meet(family.parse_phones(answer))

    async def _make_key(self, session: Session) -> bool:
        """Have the toy make a family key, unless another phone has by now; return whether there
        is a new one. After a lost link the next greeting learns it, or asks again."""
        body = struct.pack(family_wire.RENEW_REQUEST, self.epoch)
        try:
            answer = await session.request(family_wire.RENEW, body, "make a new family key")
        except StatusError as refusal:
            why = _NO_NEW_KEY.get(refusal.status, refusal.error().message)
            self._waiting(f"The old family key stays for now. {why}")
            self._renew = 0  # this client asks no more
            return False
        if not self._take_keys(answer):
            raise ToyMisbehaves("The toy was to make a new family key, and gave none.")
        return True

    def _take_keys(self, answer: bytes) -> bool:
        keys = family.parse_epochs(answer, self.epoch)
        if keys:
            self.family |= keys
            self._learned(self)
        return bool(keys)

    def _meet(self, phones: list[family.Phone]) -> None:
        self.members = {phone.sender: phone.member for phone in phones}
        self.sender = next(phone.sender for phone in phones if phone.here)
        self._learned(self)


class _Movement:
    """How far an operation has come: more means that the link is of use."""

    furthest = 0


class _Sending(_Movement):
    def __init__(self, content: bytes, message_id: bytes, progress: Progress | None) -> None:
        self._content = content
        self._id = message_id
        self._progress = progress
        self._request = struct.pack(
            wire.SEND_REQUEST, message_id, len(content), hashlib.sha256(content).digest()
        )
        self._restarts = 0

    async def attempt(self, session: Session) -> None:
        while True:
            tag, answer = await session.request_tagged(
                wire.SEND, self._request, "take the message"
            )
            offset, limit = records.parse_send(answer, len(self._content))
            try:
                await self._send(session, tag, offset, limit)
                body = struct.pack(wire.MESSAGE_ID, self._id)
                await session.request(wire.COMMIT, body, "keep the message")
                return
            except StatusError as refusal:
                # SEND again tells where to go on: from 0 when what came was damaged.
                if refusal.status not in (wire.RANGE, wire.DAMAGED, wire.NOT_FOUND):
                    raise
                self._restarts += 1
                if self._restarts > _RESTARTS:
                    raise

    async def _send(self, session: Session, tag: int, offset: int, limit: int) -> None:
        size = len(self._content)
        self._moved(offset)
        stall = session.timing.stall
        loop = asyncio.get_running_loop()
        deadline = loop.time() + stall
        while offset < size:
            if offset < limit:
                piece = self._content[offset : min(offset + session.data_size(), limit)]
                await session.send(wire.DATA, tag, struct.pack(wire.DATA_HEAD, offset) + piece)
                offset += len(piece)
                deadline = loop.time() + stall
                self._moved(offset)
                record = await session.receive_nowait()
            else:
                record = await session.receive(max(0.0, deadline - loop.time()))
            while record is not None:
                if record.tag == tag and record.kind == wire.GRANT:
                    limit = max(limit, min(records.parse_grant(record.body), size))
                elif record.tag == tag and record.kind == wire.SEND | wire.RESPONSE:
                    records.check_status(record.body, "take the message")
                record = await session.receive_nowait()

    def _moved(self, offset: int) -> None:
        self.furthest = max(self.furthest, offset)
        if self._progress:
            self._progress(offset, len(self._content))


class _Fetching(_Movement):
    def __init__(self, entry: Entry, part: PartFile, progress: Progress | None) -> None:
        self._entry = entry
        self._part = part
        self._progress = progress
        self._restarts = 0
        self.furthest = part.size

    async def attempt(self, session: Session) -> None:
        while True:
            try:
                if await self._fetch(session):
                    return
            except StatusError as refusal:
                if refusal.status != wire.RANGE:  # otherwise the part is of something else
                    raise
            self._part.clear()
            self._restarts += 1
            if self._restarts > _RESTARTS:
                raise Damaged("The message arrived damaged, several times.")

    async def _fetch(self, session: Session) -> bool:
        """Receive the rest. Returns whether the whole matches the toy's digest."""
        part = self._part
        limit = part.size + FETCH_WINDOW
        body = struct.pack(wire.FETCH_REQUEST, self._entry.id, part.size, limit)
        tag, answer = await session.request_tagged(wire.FETCH, body, "give the message")
        size = records.parse_fetch(answer)
        if size != self._entry.size or part.size > size:
            raise ToyMisbehaves("The toy gives a message of another size than it listed.")
        self._moved(size)
        stall = session.timing.stall
        loop = asyncio.get_running_loop()
        deadline = loop.time() + stall
        while True:
            record = await session.receive(max(0.0, deadline - loop.time()))
            if record.tag != tag:
                continue
            if record.kind == wire.DATA:
                offset, piece = records.parse_data(record.body)
                if offset != part.size or offset + len(piece) > min(size, limit):
                    raise ToyMisbehaves("The toy sent a piece that does not fit.")
                part.append(piece)
                deadline = loop.time() + stall
                self._moved(size)
                if limit < size and limit - part.size <= FETCH_WINDOW // 2:
                    limit = part.size + FETCH_WINDOW
                    await session.send(wire.GRANT, tag, struct.pack(wire.GRANT_BODY, limit))
            elif record.kind == wire.END:
                digest = records.parse_end(record.body)
                if part.size != size:
                    raise ToyMisbehaves("The toy ended a message before its end.")
                return digest == part.digest()
            elif record.kind == wire.FETCH | wire.RESPONSE:
                records.check_status(record.body, "give the message")

    def _moved(self, size: int) -> None:
        self.furthest = max(self.furthest, self._part.size)
        if self._progress:
            self._progress(self._part.size, size)


def find(entries: list[Entry], text: str) -> Entry:
    """Return the entry whose id, in hexadecimal, begins with `text`; it has to be the only one."""
    found = [entry for entry in entries if entry.id.hex().startswith(text.lower())]
    if not found or not text:
        raise NoSuchMessage(f"No message has an id that begins with {text!r}.")
    if len({entry.id for entry in found}) > 1:
        raise NoSuchMessage(
            f"{len(found)} messages have ids that begin with {text!r}.", "Give more of the id."
        )
    return found[0]
