"""Messages as files, for tests: speech-like sound, containers, and how much they are alike."""

from __future__ import annotations

import binascii
import hashlib
import struct
import subprocess
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from host_tests import key_set
from host_tests.ffmpeg import FFMPEG
from host_tests.virtual import VirtualToy
from hushbear import container
from hushbear_companion import sealing
from hushbear_companion.message import Header
from hushbear_companion.records import Box

Pcm = npt.NDArray[np.int16]

EPOCH = 1
FAMILY = {EPOCH: bytes(range(64, 96))}  # family keys, by epoch


def speech(seconds: float, seed: int = 1, peak: int = 12000) -> Pcm:
    """Return something like a voice: a gliding pitch with harmonics, in syllables, and breath."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * container.RATE)) / container.RATE
    pitch = 180 + 40 * np.sin(2 * np.pi * 0.7 * t + seed) + 15 * np.sin(2 * np.pi * 2.3 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / container.RATE
    voice = sum(np.sin(k * phase + rng.uniform(0, 6)) / k**1.3 for k in range(1, 12))
    syllables = 0.15 + 0.85 * np.sin(2 * np.pi * 1.7 * t + seed) ** 2
    sound = syllables * voice + 0.01 * rng.standard_normal(len(t))
    return np.asarray(sound / np.abs(sound).max() * peak, np.int16)


def make(pcm: Pcm, message_id: bytes, sender: bytes = b"grandma\0", time: int = 0) -> bytes:
    """Return a sealed message; ffmpeg is the encoder."""
    wav = subprocess.run(
        [FFMPEG, "-v", "error", "-f", "s16le", "-ar", "16000", "-ac", "1", "-i", "-",
         "-c:a", "adpcm_ima_wav", "-block_size", "256", "-bitexact", "-f", "wav", "-"],
        input=pcm.tobytes(), stdout=subprocess.PIPE, check=True,
    ).stdout  # fmt: skip
    at = wav.index(b"data") + 8
    body = wav[at:]
    body = body[: len(body) // container.BLOCK_ALIGN * container.BLOCK_ALIGN]
    return sealing.seal(Header(message_id, sender, time, EPOCH), body, FAMILY[EPOCH])


def decode(message: bytes, keys: Mapping[int, bytes] = FAMILY) -> Pcm:
    """Return the sound of a sealed message; ffmpeg is the decoder."""
    _, body = sealing.unseal(message, keys)
    samples = len(body) // container.BLOCK_ALIGN * container.BLOCK_SAMPLES
    fmt = struct.pack("<HHIIHHHH", 0x11, 1, container.RATE, 8110, 256, 4, 2, 505)
    chunks = b"fmt " + struct.pack("<I", 20) + fmt
    chunks += b"fact" + struct.pack("<II", 4, samples)
    chunks += b"data" + struct.pack("<I", len(body)) + body
    wav = b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks
    pcm = subprocess.run(
        [FFMPEG, "-v", "error", "-i", "-", "-f", "s16le", "-"],
        input=wav, stdout=subprocess.PIPE, check=True,
    ).stdout  # fmt: skip
    return np.frombuffer(pcm, np.int16)


def find(part: Pcm, whole: Pcm) -> int:
    """Return at which sample of `whole` `part` fits best; it may begin before `whole` does."""
    size = 1 << (len(part) + len(whole)).bit_length()
    spectrum = np.fft.rfft(whole.astype(float), size)
    correlation = np.fft.irfft(spectrum * np.conj(np.fft.rfft(part.astype(float), size)), size)
    at = int(np.argmax(correlation))
    return at if at <= len(whole) else at - size


def snr(heard: Pcm, spoken: Pcm) -> float:
    """Return the SNR in dB of `heard` against where it lies in `spoken`, at the best gain."""
    at = find(heard, spoken)
    first, last = max(0, -at), min(len(heard), len(spoken) - at)
    a = heard[first:last].astype(float)
    b = spoken[at + first : at + last].astype(float)
    gain = np.dot(a, b) / np.dot(b, b)
    noise = a - gain * b
    return float(10 * np.log10(np.dot(gain * b, gain * b) / np.dot(noise, noise)))


def digest(message: bytes) -> bytes:
    return hashlib.sha256(message).digest()


# As they are on flash (settings_wire.SETTINGS_BODY)
SETTINGS = (
    *("volume", "volume_max", "brightness", "flags", "quiet_from", "quiet_to"),
    *("record_min_ms", "record_max_s", "keep_days", "language"),
)


def found(toy: VirtualToy) -> VirtualToy:
    """Give a new toy the family key that the messages here are sealed with; return it."""
    if not toy.nvs.stored():
        toy.nvs.put("hushbear", "set1", key_set.pack(1, {}, FAMILY))
    return toy


STORE = """
import asyncio, binascii
from hushbear.store import Store
store = Store()
store.boot()
"""


async def give(toy: VirtualToy, *contents: bytes) -> None:
    """Put messages into the inbox of a toy, as if a phone had sent them, oldest first."""
    for content in contents:
        message_id = content[16:32]
        source = STORE + f"store.offer({message_id!r}, {len(content)}, {digest(content)!r})\n"
        for at in range(0, len(content), 1024):
            piece = content[at : at + 1024]
            text = binascii.b2a_base64(piece, newline=False)
            source += f"store.append({at}, binascii.a2b_base64({text!r}), 0, {len(piece)})\n"
        await toy.exec_repl(source + f"asyncio.run(store.commit({message_id!r}))\n")


# Blocks of the child's into the outbox, with no microphone: make(n) gives block n.
RECORD = """
from hushbear import container
from hushbear.keys import Keys
from hushbear.ring import Ring
from hushbear.sealing import Sealer
def record(message_id, blocks, make):
    keys = Keys()
    header = container.pack_header(message_id, container.TOY, 0, keys.epoch())
    recording = store.record(header, container.sealed_size(blocks))
    key = keys.family_key(keys.epoch())
    sealer = Sealer(recording, header, key, bytearray(container.CHUNK_SIZE))
    ring = Ring(bytearray(2 * container.BLOCK_ALIGN))
    for n in range(blocks):
        ring.put(make(n), 0, container.BLOCK_ALIGN)
        sealer.take(ring)
    sealer.finish()
    recording.keep()
"""


async def outbox(toy: VirtualToy) -> list[bytes]:
    """Return the messages the toy has recorded, oldest first."""
    return await stored(toy, Box.OUTBOX)


async def stored(toy: VirtualToy, box: Box) -> list[bytes]:
    """Return the messages in a box, oldest first."""
    source = STORE + (
        f"for entry in store.entries({box:d}):\n"
        f"    with store.open({box:d}, entry.id) as file:\n"
        "        buf = bytearray(255)\n"
        "        while n := file.readinto(buf):\n"
        "            print('>', binascii.b2a_base64(memoryview(buf)[:n]).decode().strip())\n"
        "    print('> end')\n"
    )
    found, content = [], b""
    for line in (await toy.exec_repl(source)).splitlines():
        if line == "> end":
            found.append(content)
            content = b""
        elif line.startswith("> "):
            content += binascii.a2b_base64(line[2:])
    return found


async def configure(toy: VirtualToy, **changes: int | bytes) -> None:
    """Change settings of a toy, by their names in SETTINGS."""
    places = {SETTINGS.index(name): value for name, value in changes.items()}
    await toy.exec_repl(
        "import struct\n"
        "from hushbear import settings, settings_file, settings_wire\n"
        "s = settings.Settings()\n"
        "values = list(struct.unpack(settings_wire.SETTINGS_BODY, settings_file.body(s)))\n"
        f"for place, value in {places}.items():\n"
        "    values[place] = value\n"
        "settings_file.change(s, struct.pack(settings_wire.SETTINGS_BODY, *values))\n"
    )


async def crash_log(toy: VirtualToy) -> str:
    """Return what the toy has written down about itself."""
    return await toy.exec_repl(
        "for name in ('/crash.0', '/crash.1'):\n"
        "    try:\n"
        "        print(open(name).read())\n"
        "    except OSError:\n"
        "        pass\n"
    )
