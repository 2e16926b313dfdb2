"""The hand program from outside: hands on paws, ears for what the toy says, a phone that pairs.

The toy speaks a language of whistles, each prompt a note of its own, so a test knows every word.
"""

from __future__ import annotations

import asyncio
import binascii
import contextlib
import os
import struct
from collections.abc import AsyncIterator

import numpy as np
from bleak import BleakClient, BleakScanner
from bleak.exc import BleakError
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from host_tests.messages import Pcm
from host_tests.virtual.body import Body
from host_tests.virtual.i2s import Sound
from host_tests.virtual.radio import Phone
from hushbear import family_wire, pairing_wire, wire
from hushbear_companion import pairing
from hushbear_companion.adpcm import encode
from hushbear_companion.cpace import Initiator as CPace
from hushbear_companion.errors import NoOpenWindow
from hushbear_companion.framing import FrameReader, frame
from hushbear_companion.noise import CipherState, Initiator
from hushbear_companion.pairing import Membership
from hushbear_companion.session import Timing
from hushbear_companion.transport import Radio
from tools import voice_file

RATE = 16000
PROMPTS = (
    *"0123456789",
    *("pairing", "paired", "wrong", "closed", "let-go", "cancelled", "erasing", "erased", "full"),
)
_FIRST_HZ, _STEP_HZ = 1000, 150
_LOUD = 300


def language() -> bytes:
    """Return the file of whistles, each 0.16 s long."""
    t = np.arange(5 * 505) / RATE
    edges = np.minimum(1, np.minimum(t, t[::-1]) / 0.01)
    said = {
        name: encode(np.asarray(9000 * edges * np.sin(2 * np.pi * hertz * t), np.int16))
        for name, hertz in zip(PROMPTS, range(_FIRST_HZ, 8000, _STEP_HZ), strict=False)
    }
    return voice_file.pack("en", said)


async def give_voice(toy: Body) -> None:
    """Put the language onto the toy, and restart it."""
    content = language()
    for at in range(0, len(content), 4096):
        text = binascii.b2a_base64(content[at : at + 4096], newline=False)
        await toy.exec_repl(
            "import binascii\n"
            f"with open('/voice', {'ab' if at else 'wb'!r}) as file:\n"
            f"    file.write(binascii.a2b_base64({text!r}))\n"
        )


_known: dict[int, tuple[Sound, int, list[str]]] = {}  # words of the sounds, by their id()


def words(toy: Body, since: float = 0.0) -> list[str]:
    """Return what the toy has said; a beep is "-"."""
    return [
        word for sound in toy.speaker.sounds if sound.start >= since for word in _words_in(sound)
    ]


def _words_in(sound: Sound) -> list[str]:
    _, pieces, heard = _known.get(id(sound), (sound, -1, []))
    if pieces != len(sound.pieces):
        pieces = len(sound.pieces)
        heard = _words(sound.pcm)
        _known[id(sound)] = sound, pieces, heard
    return heard


def _words(pcm: Pcm) -> list[str]:
    loud = np.flatnonzero(np.abs(pcm.astype(int)) > _LOUD)
    # 20 ms of silence end a word, and what is shorter than that is none.
    stretches = np.split(loud, np.flatnonzero(np.diff(loud) > RATE // 50) + 1)
    return [
        _word(pcm[stretch[0] : stretch[-1] + 1]) for stretch in stretches if len(stretch) > 320
    ]


def _word(pcm: Pcm) -> str:
    middle = pcm[len(pcm) // 4 : -(len(pcm) // 4)].astype(float)
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 15))
    hertz = int(np.argmax(spectrum)) * RATE / (1 << 15)
    number = round((hertz - _FIRST_HZ) / _STEP_HZ)
    return PROMPTS[number] if 0 <= number < len(PROMPTS) else "-"


async def wait_for_words(toy: Body, *wanted: str, since: float = 0.0, timeout: float = 60) -> None:
    """Wait until the toy has said these words in a row."""
    async with asyncio.timeout(timeout):
        while not _contains(words(toy, since), wanted):
            await asyncio.sleep(0.1)


def _contains(said: list[str], wanted: tuple[str, ...]) -> bool:
    n = len(wanted)
    return any(tuple(said[at : at + n]) == wanted for at in range(len(said) - n + 1))


async def code_of(toy: Body, since: float = 0.0) -> str:
    """Listen to the code, as the parent does."""
    async with asyncio.timeout(30):
        while True:
            said = words(toy, since)
            if "pairing" in said:
                digits = said[said.index("pairing") + 1 :][:6]
                if len(digits) == 6 and all(digit.isdigit() for digit in digits):
                    return "".join(digits)
            await asyncio.sleep(0.1)


async def call(toy: Body, seconds: float = 6.5) -> None:
    """Make the gesture and go on holding, `seconds` in all; return when the hands have let go."""
    if "play" in toy.paws:
        toy.press("record")
        toy.press("play")
        await asyncio.sleep(seconds)
        toy.release("play")
        toy.release("record")
        return
    for _ in range(4):
        await toy.hold("play", 0.15)
        await asyncio.sleep(0.15)
    await toy.hold("play", seconds)


class Caller:
    """A phone's connection to a toy whose window is open."""

    def __init__(self, bleak: BleakClient) -> None:
        self.bleak = bleak
        self.heard = bytearray()
        self._frames = FrameReader()
        self._tx: CipherState | None = None
        self._rx: CipherState | None = None
        self._tag = 0

    async def send(self, data: bytes) -> None:
        with contextlib.suppress(BleakError):  # the toy may have hung up
            await self.bleak.write_gatt_char(wire.TO_TOY_UUID, data, response=False)

    async def frame(self, seconds: float = 30) -> bytes | None:
        """Return the next frame, or None when the toy has hung up."""
        for _ in range(round(seconds * 100)):
            piece, self.heard = self.heard, bytearray()
            self._frames.feed(bytes(piece))
            if (payload := self._frames.next()) is not None:
                return payload
            if not self.bleak.is_connected:
                return None
            await asyncio.sleep(0.01)
        raise TimeoutError

    async def hung_up(self, within: float) -> bool:
        for _ in range(round(within * 100)):
            if not self.bleak.is_connected:
                return True
            await asyncio.sleep(0.01)
        return False

    async def agree(self, code: str) -> tuple[bytes, int]:
        """Run CPace; return (key, attempts left). Raises NoOpenWindow if the toy hangs up."""
        sid = os.urandom(16)
        cpace = CPace(code.encode(), pairing_wire.CI, sid, pairing_wire.AD_PHONE)
        await self.send(frame(struct.pack(pairing_wire.HELLO, 1, sid, cpace.share)))
        answer = await self.frame()
        if answer is None:
            raise NoOpenWindow("it hung up")
        left, share = struct.unpack(pairing_wire.ANSWER, answer)
        isk = cpace.finish(share, pairing_wire.AD_TOY + bytes([left]))
        return HKDF(SHA256(), 32, b"", pairing_wire.PSK_INFO).derive(isk), left

    async def open(self, psk: bytes) -> bool:
        """Open the session; return whether the toy answered."""
        initiator = Initiator(psk, pairing_wire.PROLOGUE)
        await self.send(frame(initiator.write_1()))
        answer = await self.frame()
        if answer is None:
            return False
        initiator.read_2(answer)
        self._tx, self._rx = initiator.split()
        return True

    async def ask(self, kind: int, body: bytes = b"") -> tuple[int, bytes]:
        """Send a request; return (status, body) of the response."""
        assert self._tx and self._rx
        self._tag += 1
        await self.send(frame(self._tx.seal(struct.pack("<BB", kind, self._tag) + body)))
        answer = await self.frame()
        assert answer is not None, "the toy hung up"
        record = self._rx.open(answer)
        assert record[:2] == bytes([kind | wire.RESPONSE, self._tag])
        return record[2], record[3:]

    async def keys(self, name: bytes) -> Membership:
        status, body = await self.ask(pairing_wire.PAIR, name.ljust(32, b"\0"))
        assert status == wire.OK
        psk, sender = struct.unpack_from(pairing_wire.PAIR_RESPONSE, body)
        epochs = struct.iter_unpack(family_wire.EPOCH, body[40:])
        return Membership(psk, sender, dict(epochs))


@contextlib.asynccontextmanager
async def caller(phone: Phone, timeout: float = 5) -> AsyncIterator[Caller]:
    """Connect to the toy whose window is open; raises NoOpenWindow if none is in sight."""
    device = await BleakScanner.find_device_by_filter(
        lambda _, seen: pairing_wire.SERVICE_UUID in seen.service_uuids,
        timeout=timeout,
        backend=phone.scanner,
    )
    if device is None:
        raise NoOpenWindow("none in sight")
    bleak = BleakClient(device, backend=phone.client, timeout=5)
    this = Caller(bleak)
    try:
        await bleak.connect()
        await bleak.start_notify(wire.TO_PHONE_UUID, lambda _, data: this.heard.extend(data))
    except (BleakError, TimeoutError):
        raise NoOpenWindow("it does not take the connection") from None
    try:
        yield this
    finally:
        await bleak.disconnect()


async def pair(
    phone: Phone, code: str, name: str = "Papa", timing: Timing | None = None
) -> Membership:
    """Pair, with the companion. Raises what it raises; NoOpenWindow if no window is in sight."""
    air = Radio(scanner=phone.scanner, client=phone.client)
    timing = timing or Timing(scan=3)
    sighting = pairing.choose(await pairing.open_windows(air, timing))
    kept: list[Membership] = []
    await pairing.pair(air, sighting, pairing.check_code(code), name, kept.append, timing)
    return kept[0]
