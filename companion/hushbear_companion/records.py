"""The records of hushbear.wire as typed values. What a toy sends is checked here, once.

A toy that has the key may still be broken or taken over: lengths, offsets, counts and texts are
bounded before anything uses them; what is impossible raises ToyMisbehaves.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any

from hushbear import settings_wire, upkeep_wire, wire

from . import message
from .errors import (
    Damaged,
    HushbearError,
    NoSuchMessage,
    ToyBusy,
    ToyFailed,
    ToyFull,
    ToyMisbehaves,
    UsageError,
)

_LANGUAGE = re.compile("([a-z]{2})?")

STATUS_NAMES = {
    wire.UNKNOWN: "unknown request",
    wire.MALFORMED: "malformed request",
    wire.NOT_FOUND: "no such message",
    wire.FULL: "the toy is full",
    wire.BUSY: "the toy is busy",
    wire.RANGE: "offset out of range",
    wire.DAMAGED: "message damaged",
    wire.FAILED: "the toy failed",
}


class Box(IntEnum):
    """The two boxes of a toy."""

    INBOX = wire.INBOX  # phone to child
    OUTBOX = wire.OUTBOX  # child to phone


class Doing(IntEnum):
    """What the toy does at the moment."""

    IDLE = wire.IDLE
    RECORDING = wire.RECORDING
    PLAYING = wire.PLAYING


@dataclass(frozen=True)
class Record:
    """One plaintext record."""

    kind: int
    tag: int
    body: bytes


@dataclass(frozen=True)
class Status:
    """How the toy is. `clock` is None where it is not set, `battery_mv` where not measured."""

    protocol: int
    doing: Doing
    quiet_now: bool
    uptime: int
    clock: datetime | None
    free: int
    total: int
    heap_free: int
    inbox: int
    unheard: int
    outbox: int
    unfetched: int
    crashlog: int
    battery_mv: int | None
    firmware: str


@dataclass(frozen=True)
class Entry:
    """One message in a box. `done`: heard (inbox), fetched (outbox)."""

    box: Box
    sequence: int
    id: bytes
    sender: bytes
    size: int
    time: datetime | None
    done: bool

    @property
    def seconds(self) -> float:
        """How long the message is."""
        return message.duration(self.size)


@dataclass(frozen=True)
class Settings:
    """What can be set. Times of day are minutes after midnight, `keep_days` is 0 where messages
    are kept as long as there is room, `language` is "" for the one that was flashed first.
    """

    volume: int
    volume_max: int
    led: int
    quiet: bool
    quiet_from: int
    quiet_to: int
    record_min_ms: int
    record_max_s: int
    keep_days: int
    keep_until_heard: bool
    language: str

    def changed(self, **changes: Any) -> Settings:
        """Return these settings with `changes`, or raise UsageError for one out of range."""
        settings = replace(self, **changes)
        ranges = {
            "volume": (0, 100, "%"),
            "volume_max": (0, 100, "%"),
            "led": (0, 100, "%"),
            "quiet_from": (0, settings_wire.DAY_MINUTES - 1, " minutes"),
            "quiet_to": (0, settings_wire.DAY_MINUTES - 1, " minutes"),
            "record_min_ms": (*settings_wire.RECORD_MIN_MS, " ms"),
            "record_max_s": (*settings_wire.RECORD_MAX_S, " s"),
            "keep_days": (0, settings_wire.KEEP_DAYS_MAX, " days"),
        }
        for name, (low, high, unit) in ranges.items():
            if not low <= getattr(settings, name) <= high:
                label = name.replace("_", "-").removesuffix("-ms").removesuffix("-s")
                raise UsageError(
                    f"{label} must be {low} to {high}{unit}.", "Choose another value."
                )
        if settings.record_min_ms > 1000 * settings.record_max_s:
            raise UsageError(
                "The shortest recording must not be longer than the longest.",
                "Change --record-min, --record-max or both.",
            )
        if not _LANGUAGE.fullmatch(settings.language):
            raise UsageError(
                f"{settings.language!r} is no language.", "Give two letters, such as en."
            )
        return settings


def clean(text: bytes) -> str:
    """Return text from the toy, without control characters other than line ends and tabs."""
    return printable(text.decode("utf-8", "replace"), also="\n\t")


def printable(text: str, also: str = "") -> str:
    """Return `text` with a mark in place of what could steer a terminal, but for `also`."""
    return "".join(c if c.isprintable() or c in also else "�" for c in text)


def parse_record(plaintext: bytes) -> Record:
    """Return the record in a frame's plaintext."""
    if not 2 <= len(plaintext) <= wire.RECORD_MAX:
        raise ToyMisbehaves("The toy sent a record of an impossible length.")
    return Record(plaintext[0], plaintext[1], plaintext[2:])


def pack_record(kind: int, tag: int, body: bytes) -> bytes:
    """Return the plaintext of a record."""
    return struct.pack(wire.RECORD_HEAD, kind, tag) + body


def check_status(body: bytes, doing: str) -> bytes:
    """Return what follows an OK status, or raise the error that the status means."""
    if not body:
        raise ToyMisbehaves("The toy sent a response without a status.")
    status = body[0]
    if status == wire.OK:
        return body[1:]
    raise StatusError(status, doing)


class StatusError(Exception):
    """A response with a status other than OK."""

    def __init__(self, status: int, doing: str) -> None:
        super().__init__(status)
        self.status = status
        self.doing = doing

    def error(self) -> HushbearError:
        """Return the error that a user sees."""
        name = STATUS_NAMES.get(self.status, f"status {self.status}")
        text = f"The toy could not {self.doing}: {name}."
        if self.status == wire.FULL:
            return ToyFull(f"The toy has no room: it could not {self.doing}.")
        if self.status == wire.BUSY:
            return ToyBusy(f"The toy is busy: it could not {self.doing}.")
        if self.status == wire.NOT_FOUND:
            return NoSuchMessage(f"The toy has no such message: it could not {self.doing}.")
        if self.status == wire.DAMAGED:
            return Damaged(text)
        if self.status == wire.FAILED:
            return ToyFailed(text)
        return ToyMisbehaves(text)


def parse_status(body: bytes) -> Status:
    """Return what a STATUS response says."""
    values = _unpack(upkeep_wire.STATUS_BODY, body)
    protocol, doing, flags, uptime, clock, free, total, heap_free = values[:8]
    inbox, unheard, outbox, unfetched, crashlog, battery, firmware = values[8:]
    if doing not in list(Doing):
        raise ToyMisbehaves("The toy is in a state that is not known here.")
    return Status(
        protocol=protocol,
        doing=Doing(doing),
        quiet_now=bool(flags & upkeep_wire.QUIET_NOW),
        uptime=uptime,
        clock=_time(clock),
        free=free,
        total=total,
        heap_free=heap_free,
        inbox=inbox,
        unheard=unheard,
        outbox=outbox,
        unfetched=unfetched,
        crashlog=crashlog,
        battery_mv=battery or None,
        firmware=clean(firmware.rstrip(b"\0")).replace("\n", " ").replace("\t", " "),
    )


def parse_entries(body: bytes, box: Box, after: int) -> list[Entry]:
    """Return the entries of a LIST response; their sequence numbers must rise from `after`."""
    if len(body) % wire.ENTRY_SIZE:
        raise ToyMisbehaves("The toy sent half an entry of a list.")
    entries = []
    for sequence, id_, sender, size, time, flags in struct.iter_unpack(wire.ENTRY, body):
        if sequence <= after:
            raise ToyMisbehaves("The toy's list does not go forward.")
        after = sequence
        done = bool(flags & wire.DONE)
        entries.append(Entry(box, sequence, id_, sender, size, _time(time), done))
    return entries


def parse_settings(body: bytes) -> Settings:
    """Return what a SETTINGS response says."""
    volume, volume_max, led, flags, start, end, shortest, longest, keep_days, language = _unpack(
        settings_wire.SETTINGS_BODY, body
    )
    settings = Settings(
        volume=volume,
        volume_max=volume_max,
        led=led,
        quiet=bool(flags & settings_wire.QUIET_HOURS),
        quiet_from=start,
        quiet_to=end,
        record_min_ms=shortest,
        record_max_s=longest,
        keep_days=keep_days,
        keep_until_heard=bool(flags & settings_wire.UNTIL_HEARD),
        language=clean(language.rstrip(b"\0")),
    )
    try:
        return settings.changed()
    except UsageError as error:
        raise ToyMisbehaves(f"The toy says impossible settings: {error.message}") from None


def pack_settings(settings: Settings) -> bytes:
    """Return the body of a CONFIGURE request."""
    flags = settings_wire.QUIET_HOURS if settings.quiet else 0
    if settings.keep_until_heard:
        flags |= settings_wire.UNTIL_HEARD
    return struct.pack(
        settings_wire.SETTINGS_BODY,
        settings.volume,
        settings.volume_max,
        settings.led,
        flags,
        settings.quiet_from,
        settings.quiet_to,
        settings.record_min_ms,
        settings.record_max_s,
        settings.keep_days,
        settings.language.encode(),
    )


def parse_send(body: bytes, size: int) -> tuple[int, int]:
    """Return (offset to go on at, limit) of a SEND response, both at most `size`."""
    offset, limit = _unpack(wire.SEND_RESPONSE, body)
    if offset > size or limit < offset:
        raise ToyMisbehaves("The toy asked for a part of the message that does not exist.")
    return offset, min(limit, size)


def parse_grant(body: bytes) -> int:
    """Return the limit in a GRANT."""
    (limit,) = _unpack(wire.GRANT_BODY, body)
    return int(limit)


def parse_fetch(body: bytes) -> int:
    """Return the size in a FETCH response: one that a message can have."""
    (size,) = _unpack(wire.FETCH_RESPONSE, body)
    try:
        message.blocks_in(size)
    except HushbearError:
        raise ToyMisbehaves(f"The toy offers a message of {size} bytes.") from None
    return int(size)


def parse_data(body: bytes) -> tuple[int, bytes]:
    """Return (offset, bytes) of a DATA record."""
    head = struct.calcsize(wire.DATA_HEAD)
    if not head < len(body) <= head + wire.DATA_MAX:
        raise ToyMisbehaves("The toy sent a piece of an impossible length.")
    return struct.unpack_from(wire.DATA_HEAD, body)[0], body[head:]


def parse_end(body: bytes) -> bytes:
    """Return the digest in an END record."""
    (digest,) = _unpack(wire.END_BODY, body)
    return bytes(digest)


def _unpack(layout: str, body: bytes) -> tuple[Any, ...]:
    if len(body) != struct.calcsize(layout):
        raise ToyMisbehaves("The toy sent a record of the wrong length.")
    return struct.unpack(layout, body)


def _time(seconds: int) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
