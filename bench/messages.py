"""What sealing costs while the toy records and plays: from the ring to littlefs, and back."""

from __future__ import annotations

from collections.abc import Iterator

from host_tests import ram_flash
from hushbear import container

from .counting import NS_PER_INSTRUCTION, Board, on_boards
from .figures import Figure, Row

CHUNKS = 8  # counted together: a second of sound
SECONDS = CHUNKS * container.CHUNK_BLOCKS * container.BLOCK_SAMPLES / container.RATE
MHZ = 240

_HOW = (
    f"{CHUNKS} chunks of 4 blocks, littlefs on a flash in RAM, which takes no time to erase; each"
    f" instruction {NS_PER_INSTRUCTION} ns"
)
SEAL = Figure(
    "seal and store, while recording",
    f"% of {MHZ} MHz",
    f"Sealer.take and Recording.write: {_HOW}",
    ("≤", 15),
)
OPEN = Figure(
    "fetch, open and decode, while playing",
    f"% of {MHZ} MHz",
    f"Opener.fill, to the ring and out of it, ima.decode: {_HOW}",
    ("≤", 15),
)
FIGURES = [SEAL, OPEN]

_SETUP = f"""
from hushbear import ima
from hushbear.ring import Ring
from hushbear.sealing import Opener, Sealer

flash = new_flash(128, 4096)
store = Store("/flash/msg", 4)
store.boot()
header = container.pack_header(bytes(range(16)), container.TOY, 0, 1)
key = bytes(range(64, 96))
chunk = bytearray(container.CHUNK_SIZE)
ring = Ring(bytearray(10 * 256))
block = bytearray(256)
pcm = bytearray(2 * container.BLOCK_SAMPLES)


def seal(sealer):
    for i in range({CHUNKS} * container.CHUNK_BLOCKS):
        ring.put(block, 0, 256)
        sealer.take(ring)


def start(n):
    head = container.pack_header(make_id(n), container.TOY, 0, 1)
    return Sealer(store.record(head), head, key, chunk)


def play(opener):
    for i in range({CHUNKS}):
        size = opener.fill()
        at = 0
        while at < size:
            ring.put(opener.chunk, at, 256)
            at += 256
            ring.get(block, 0, 256)
            ima.decode(block, 0, 256, pcm, 0)
"""
_SEALED = """
sealer = start(1)
seal(sealer)
sealer.finish()
recording = store._room.recording
recording.keep()
reader = store.open(OUTBOX, make_id(1))
reader.readinto(bytearray(48))
head = container.pack_header(make_id(1), container.TOY, 0, 1)
"""


def measure() -> Iterator[Row]:
    yield from on_boards(FIGURES, _count)


def _count(board: Board) -> Iterator[Row]:
    setup = ram_flash.SOURCE + _SETUP
    args = {"reserve": 4}
    count = board.count("seal(sealer)", setup + "sealer = start(1)\nseal(sealer)\n", args)[0]
    yield _share(SEAL, board, count)
    count = board.count(
        "reader.seek(48)\nplay(Opener(reader, head, key, chunk))",
        setup + _SEALED + "play(Opener(reader, head, key, chunk))\n",
        args,
    )[0]
    yield _share(OPEN, board, count)


def _share(figure: Figure, board: Board, count: int) -> Row:
    return figure.on(
        board.name,
        count * NS_PER_INSTRUCTION / 1e9 / SECONDS * 100,
        f"{count / SECONDS / 1e6:.1f} million instructions for a second of sound;"
        f" {count / SECONDS / MHZ / 1e4:.1f} % if each took a cycle",
    )
