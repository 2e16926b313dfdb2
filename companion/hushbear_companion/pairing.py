"""Pairing by voice: who hears the code that a toy speaks, and types it, is in the family.

    sighting = choose(await open_windows(air))
    membership = await pair(air, sighting, check_code(typed), "Papa", keep)

CPace makes a key out of the code, a session proves it, and inside that session the toy gives this
phone a key of its own and the family's. `keep` puts them on the disk; only then the toy is told to
remember the phone, so that it never knows one that has no key. Each attempt that the toy answers
is counted, whatever becomes of it, so nothing here is tried twice.
"""

from __future__ import annotations

import asyncio
import os
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hushbear import pairing_wire, wire

from . import cpace
from .client import Air
from .errors import (
    BadCode,
    LinkLost,
    NoOpenWindow,
    NotThisToy,
    PairingUnsure,
    PhonesFull,
    SeveralWindows,
    ToyMisbehaves,
    WindowClosed,
    WrongCode,
    attempts_in_words,
)
from .family import pack_name, parse_epochs
from .framing import FrameError
from .records import StatusError
from .session import Session, Stream, Timing
from .transport import Sighting

_SID_SIZE = 16
_CONNECTS = 3  # a radio link may fail to come up; that costs no attempt


@dataclass(frozen=True)
class Membership:
    """What a toy gives to a phone that it pairs with: the phone's key and sender id, and the
    family's keys by epoch."""

    key: bytes = field(repr=False)
    sender: bytes
    family: Mapping[int, bytes] = field(repr=False)


def check_code(text: str) -> bytes:
    """Return the code in `text`, whose digits may have blanks or dashes between them, as the toy
    has it; or raise BadCode."""
    digits = "".join(c for c in text if not c.isspace() and c != "-")
    if len(digits) != pairing_wire.CODE_DIGITS or not (digits.isascii() and digits.isdecimal()):
        raise BadCode(f"A code has {pairing_wire.CODE_DIGITS} digits.")
    return digits.encode()


async def open_windows(air: Air, timing: Timing | None = None) -> list[Sighting]:
    """Return the toys in sight whose pairing window is open, strongest first."""
    timing = timing or Timing()
    return await air.sightings(timing.scan, timing.settle, pairing_wire.SERVICE_UUID)


def choose(windows: list[Sighting], *, nearest: bool = False) -> Sighting:
    """Return the only toy of `windows`, or the one whose signal is strongest. Raises NoOpenWindow
    or SeveralWindows."""
    if not windows:
        raise NoOpenWindow("No toy with an open pairing window is in sight.")
    if len(windows) > 1 and not nearest:
        raise SeveralWindows(f"{len(windows)} toys in sight have their pairing window open.")
    return windows[0]


class PairingSession(Session):
    """The phone's side of one attempt: prove(), join() and confirm(), in this order.

    `attempts_left` is how many the toy's window has after this one, None before the toy answered.
    """

    attempts_left: int | None = None

    async def prove(self, code: bytes) -> None:
        """Make a key out of the code and open a session with it: that spends an attempt.

        Raises WrongCode; WindowClosed where the toy ends the link and takes no attempt; LinkLost.
        """
        sid = os.urandom(_SID_SIZE)
        run = cpace.Initiator(code, pairing_wire.CI, sid, pairing_wire.AD_PHONE)
        hello = struct.pack(pairing_wire.HELLO, pairing_wire.VERSION, sid, run.share)
        try:
            answer = await self._exchange(hello, pairing_wire.ANSWER_SIZE, self.timing.pairing)
        except TimeoutError:
            raise await self._lost("The toy did not answer in time.") from None
        except FrameError:
            answer = b""
        if answer is None:
            await self.close()
            raise WindowClosed("The toy takes no attempt: its pairing window has closed.")
        key = self._key(run, answer)
        try:
            await self.open(key, pairing_wire.PROLOGUE)
        except NotThisToy:
            assert self.attempts_left is not None
            raise WrongCode(self.attempts_left) from None

    async def join(self, name: str) -> Membership:
        """Tell the toy this phone's name and return what it gives. It does not know the phone yet.

        Raises PhonesFull, or LinkLost.
        """
        body = struct.pack(pairing_wire.PAIR_REQUEST, pack_name(name))
        answer = await self._ask(pairing_wire.PAIR, body, "take this phone")
        size = struct.calcsize(pairing_wire.PAIR_RESPONSE)
        if len(answer) < size:
            raise ToyMisbehaves("The toy sent a record of the wrong length.")
        key, sender = struct.unpack_from(pairing_wire.PAIR_RESPONSE, answer)
        family = parse_epochs(answer[size:], 0)
        if not any(key) or not any(sender) or not family:
            raise ToyMisbehaves("The toy gave this phone a key that cannot be one.")
        return Membership(key, sender, family)

    async def confirm(self) -> None:
        """Tell the toy that its keys are safe here; returns when it has taken the phone in.

        Raises PhonesFull; PairingUnsure where the link was lost before the toy said so.
        """
        try:
            await self._ask(pairing_wire.PAIRED, b"", "remember this phone")
        except LinkLost:
            raise PairingUnsure("The link was lost at the last moment.") from None

    async def _ask(self, kind: int, body: bytes, doing: str) -> bytes:
        try:
            return await self.request(kind, body, doing)
        except StatusError as refusal:
            if refusal.status == wire.FULL:
                raise PhonesFull("The toy knows as many phones as it can.") from None
            raise refusal.error() from None

    def _key(self, run: cpace.Initiator, answer: bytes) -> bytes:
        if len(answer) != pairing_wire.ANSWER_SIZE:
            raise ToyMisbehaves("The toy's answer to the code has an impossible length.")
        left, share = struct.unpack(pairing_wire.ANSWER, answer)
        if left >= pairing_wire.ATTEMPTS:
            raise ToyMisbehaves("The toy says an impossible number of attempts.")
        self.attempts_left = left
        try:
            isk = run.finish(share, pairing_wire.AD_TOY + bytes([left]))
        except ValueError:
            raise ToyMisbehaves("The toy's answer to the code cannot be one.") from None
        return HKDF(SHA256(), wire.KEY_SIZE, None, pairing_wire.PSK_INFO).derive(isk)


async def pair(
    air: Air,
    sighting: Sighting,
    code: bytes,
    name: str,
    keep: Callable[[Membership], None],
    timing: Timing | None = None,
) -> Membership:
    """Pair with a toy whose window is open, as the phone called `name`.

    `keep` is called with what the toy gave before the toy remembers this phone: when it returns,
    that has to be safe from a loss of power; what it raises ends the pairing. Raises what
    PairingSession does. After any error but PairingUnsure the toy does not know this phone.
    """
    timing = timing or Timing()
    pack_name(name)
    session = PairingSession(await _connect(air, sighting, timing), timing)
    try:
        await session.prove(code)
        membership = await session.join(name)
        keep(membership)
        await session.confirm()
    except WindowClosed:
        await session.close()
        if await _still_open(air, sighting, timing):
            raise LinkLost("The link to the toy was lost before it answered.") from None
        raise
    except LinkLost as lost:
        if isinstance(lost, PairingUnsure) or session.attempts_left is None:
            raise
        left = attempts_in_words(session.attempts_left)
        raise LinkLost(f"{lost.message} That attempt is spent: {left}.") from None
    finally:
        await session.close()
    return membership


async def _connect(air: Air, sighting: Sighting, timing: Timing) -> Stream:
    for attempt in range(_CONNECTS):
        try:
            return await air.open(sighting, timing.connect)
        except LinkLost:
            if attempt == _CONNECTS - 1:
                raise
            await asyncio.sleep(timing.pause(attempt))
            if not await _still_open(air, sighting, timing):
                raise WindowClosed("The toy's pairing window has closed.") from None
    raise AssertionError


async def _still_open(air: Air, sighting: Sighting, timing: Timing) -> bool:
    return sighting.address in [each.address for each in await open_windows(air, timing)]
