"""Instructions of the codec, the ring and the filters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

from host_tests.targets.qemu_riscv import QemuRiscv
from host_tests.targets.unix import Unix
from host_tests.test_ima import BLOCK_ALIGN, BLOCK_SAMPLES, INDEX_MOVES, STEPS

from . import native, sounds
from .counting import Board, on_boards
from .figures import Figure, Row

BLOCKS = 10  # of each sound: what fits into a board's memory

PER_SAMPLE = "instructions a sample"
_BLOCK = f"a block of {BLOCK_SAMPLES} samples of speech and of mixed sounds, the call included"
DECODE = Figure("decode", PER_SAMPLE, f"ima.decode of {_BLOCK}", ("≤", 45))
ENCODE = {
    0: Figure("encode, lookahead 0", PER_SAMPLE, f"Encoder(0).encode of {_BLOCK}", ("≤", 100)),
    1: Figure("encode, lookahead 1", PER_SAMPLE, f"Encoder(1).encode of {_BLOCK}", ("≤", 500)),
}
RING = Figure(
    "ring",
    PER_SAMPLE,
    f"put and get of a block of {BLOCK_ALIGN} bytes, which is {BLOCK_SAMPLES} samples",
    ("≤", 30),
)
FILTER = Figure(
    "filter and gain of the microphone",
    PER_SAMPLE,
    "dsp.Capture over a block of speech: DC filter, gain and limiter in one pass; 30 for each of"
    " the first two",
    ("≤", 60),
)
GAIN = Figure("gain of the speaker", PER_SAMPLE, "dsp.scale of a block: the volume", ("≤", 30))
RATIO = Figure(
    "decode, bytecode to viper",
    "times",
    "the time of a plain Python decoder over that of ima.decode, in one process",
)
COUNTED = [DECODE, *ENCODE.values(), RING, FILTER, GAIN]
FIGURES = [*COUNTED, RATIO]


def measure() -> Iterator[Row]:
    yield from on_boards(COUNTED, _count)
    if reason := Unix.missing():
        yield RATIO.missing(Unix.name, reason)
    else:
        yield _ratio(Unix())


def _count(board: Board) -> Iterator[Row]:
    yield from _codec(board)
    yield from _samples(board)


# The codec

_CODE = """
from hushbear import ima
from hushbear.ima_encoder import Encoder
blocks = bytearray(256 * (len(pcm) // 1010))
encoder = Encoder(lookahead)
for i in range(len(pcm) // 1010):
    encoder.encode(pcm, 505 * i, 505, blocks, 256 * i)
out = bytearray(1010)
"""
_C = (
    _CODE
    + native.CALL
    + """
function = code_at + at
views = [memoryview(pcm)[1010 * i :] for i in range(len(pcm) // 1010)]
coded = [memoryview(blocks)[256 * i :] for i in range(len(pcm) // 1010)]
"""
)
_C_CALL = {
    "decode": "c_call(function, coded[i], 256, out)",
    "encode_0": "c_call(function, views[i], out, coded[i][2])",
    "encode_1": "c_call(function, views[i], out, coded[i][2])",
}
_SAME = {
    "decode": "ima.decode(blocks, 256 * i, 256, own, 0)",
    "encode_0": "own[:256] = coded[i][:256]",
    "encode_1": "own[:256] = coded[i][:256]",
}


def _codec(board: Board) -> Iterator[Row]:
    data = [pcm.tobytes()[: 1010 * BLOCKS] for pcm in (sounds.speech(), sounds.clip())]
    decode = "ima.decode(blocks, 256 * i, 256, out, 0)"
    encode = "encoder.encode(pcm, 505 * i, 505, blocks, 256 * i)"
    for figure, lookahead, statement, call, function in (
        (DECODE, 1, decode, "ima.decode(blocks, 0, 4, out, 0)", "decode"),
        (ENCODE[0], 0, encode, "encoder.encode(pcm, 0, 0, blocks, 0)", "encode_0"),
        (ENCODE[1], 1, encode, "encoder.encode(pcm, 0, 0, blocks, 0)", "encode_1"),
    ):
        each = []
        for pcm in data:
            args = {"pcm": pcm, "lookahead": lookahead}
            each.append(sum(board.count(statement, _CODE, args, BLOCKS)) / len(pcm) * 2)
        overhead = board.count(call, _CODE, args)[0] / BLOCK_SAMPLES
        beside = [
            f"speech {each[0]:.1f}, mixed {each[1]:.1f}",
            f"{overhead:.1f} of it for the call",
        ]
        if board.target.name == QemuRiscv.name:
            beside.insert(0, _beside_c(board, data, lookahead, function))
        yield figure.on(board.name, sum(each) / len(each), "; ".join(beside))


def _beside_c(board: Board, data: list[bytes], lookahead: int, function: str) -> str:
    """Return what the same work takes in C, if C does the same."""
    if reason := native.missing():
        return reason
    code, addresses = native.compile_c()
    counts = []
    for pcm in data:
        args = {"pcm": pcm, "lookahead": lookahead, "code": code, "at": addresses[function]}
        differ = board.run(
            _C
            + f"""
own = bytearray(1010)
differ = 0
for i in range(len(pcm) // 1010):
    {_C_CALL[function]}
    {_SAME[function]}
    differ += bytes(own) != bytes(out)
result(differ)
""",
            args,
        )
        if differ:
            return f"C differs in {differ} of {BLOCKS} blocks, not compared"
        counts += board.count(_C_CALL[function], _C, args, BLOCKS)
    return f"C -O2 {sum(counts) / len(counts) / BLOCK_SAMPLES:.1f}"


# Samples outside the codec


def _samples(board: Board) -> Iterator[Row]:
    ring = """
        from hushbear.ring import Ring
        ring = Ring(bytearray(12 * 256))
        block = bytearray(256)
    """
    value = board.per(BLOCK_SAMPLES, "ring.put(block, 0, 256)\nring.get(block, 0, 256)", ring)
    yield RING.on(board.name, value, f"{value * BLOCK_SAMPLES / 256:.1f} a byte")

    slots = (sounds.speech()[8 * BLOCK_SAMPLES :][:BLOCK_SAMPLES].astype("<i4") << 16).tobytes()
    capture = """
        from hushbear import dsp
        capture = dsp.Capture(4)
        pcm = bytearray(2020)
        capture.process(slots, 505, pcm)
    """
    value = board.per(BLOCK_SAMPLES, "capture.process(slots, 505, pcm)", capture, slots=slots)
    yield FILTER.on(board.name, value)
    scale = "from hushbear import dsp\npcm = bytearray(slots)"
    value = board.per(BLOCK_SAMPLES, "dsp.scale(pcm, 0, 505, 9000)", scale, slots=slots)
    yield GAIN.on(board.name, value)


# Where nothing counts instructions

_RATIO = """
from time import ticks_us
from hushbear import ima

def plain(block, out):
    value = (block[0] | block[1] << 8) ^ 0x8000
    value -= 0x8000
    index = block[2]
    n = 0
    for byte in block[4:]:
        for code in (byte & 15, byte >> 4):
            step = steps[index]
            difference = step >> 3
            if code & 4:
                difference += step
            if code & 2:
                difference += step >> 1
            if code & 1:
                difference += step >> 2
            value = max(-32768, min(32767, value - difference if code & 8 else value + difference))
            index = max(0, min(88, index + moves[code & 7]))
            n += 1
            out[n] = value

def shortest(function):
    times = []
    for _ in range(30):
        before = ticks_us()
        for _ in range(10):
            function()
        times.append(ticks_us() - before)
    return min(times)

from array import array
theirs = array("h", bytes(1010))
out = bytearray(1010)
plain(block, theirs)
ima.decode(block, 0, 256, out, 0)
assert bytes(out)[2:] == bytes(theirs)[2:]
slow = shortest(lambda: plain(block, theirs))
result(slow / shortest(lambda: ima.decode(block, 0, 256, out, 0)))
"""


def _ratio(target: Unix) -> Row:
    block = bytes((0, 0, 40, 0)) + bytes(range(252))
    args = {"block": block, "steps": STEPS, "moves": INDEX_MOVES}
    return RATIO.on(target.name, cast(float, target.run(_RATIO, args=args)))
