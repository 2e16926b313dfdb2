"""IMA ADPCM: the decoder to the bit, the encoder to what it promises.

sox and ffmpeg, the programs, and a plain reference below say what a block means.
"""

from __future__ import annotations

import hashlib
import struct
import subprocess

import numpy as np
import numpy.typing as npt
import pytest

from host_tests.ffmpeg import FFMPEG
from host_tests.targets import Target

RATE = 16000
BLOCK_ALIGN = 256
BLOCK_SAMPLES = 505
BAND = bytes(range(8))  # stands on either side of an output, and has to stay

Pcm = npt.NDArray[np.int16]
Ints = npt.NDArray[np.int64]

# The reference, from the IMA's recommended practices: shift and add.
STEPS = (
    7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60, 66,
    73, 80, 88, 97, 107, 118, 130, 143, 157, 173, 190, 209, 230, 253, 279, 307, 337, 371, 408, 449,
    494, 544, 598, 658, 724, 796, 876, 963, 1060, 1166, 1282, 1411, 1552, 1707, 1878, 2066, 2272,
    2499, 2749, 3024, 3327, 3660, 4026, 4428, 4871, 5358, 5894, 6484, 7132, 7845, 8630, 9493,
    10442, 11487, 12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623, 27086, 29794, 32767,
)  # fmt: skip
INDEX_MOVES = (-1, -1, -1, -1, 2, 4, 6, 8)


def codes_of(block: bytes) -> list[int]:
    return [code for byte in block[4:] for code in (byte & 15, byte >> 4)]


def decode_states(block: bytes) -> list[tuple[int, int]]:
    """Return (sample, step index) after the header and after each code."""
    sample, index = struct.unpack("<hB", block[:3])
    states = [(sample, index)]
    for code in codes_of(block):
        step = STEPS[index]
        difference = step >> 3
        if code & 4:
            difference += step
        if code & 2:
            difference += step >> 1
        if code & 1:
            difference += step >> 2
        sample += -difference if code & 8 else difference
        sample = max(-32768, min(32767, sample))
        index = max(0, min(88, index + INDEX_MOVES[code & 7]))
        states.append((sample, index))
    return states


def decode(blocks: bytes) -> Pcm:
    split = (blocks[at : at + BLOCK_ALIGN] for at in range(0, len(blocks), BLOCK_ALIGN))
    samples = [sample for block in split for sample, _ in decode_states(block)]
    return np.array(samples, dtype=np.int16)


# The programs


def ima_wav(blocks: bytes) -> bytes:
    samples = len(blocks) // BLOCK_ALIGN * BLOCK_SAMPLES
    rate = RATE * BLOCK_ALIGN // BLOCK_SAMPLES
    fmt = struct.pack("<HHIIHHHH", 0x11, 1, RATE, rate, BLOCK_ALIGN, 4, 2, BLOCK_SAMPLES)
    chunks = b"".join(
        name + struct.pack("<I", len(body)) + body
        for name, body in (
            (b"fmt ", fmt),
            (b"fact", struct.pack("<I", samples)),
            (b"data", blocks),
        )
    )
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


RAW = {"sox": "-t raw -e signed -b 16 -r 16000 -c 1 -", "ffmpeg": "-f s16le -ar 16000 -ac 1 -i -"}
TO_RAW = {
    "sox": "sox -V0 -D -t wav - -t raw -e signed -b 16 -",
    "ffmpeg": f"{FFMPEG} -v quiet -f wav -i - -f s16le -",
}
TO_IMA = {
    "sox": f"sox -V0 -D {RAW['sox']} -t wav -e ima-adpcm -",
    "ffmpeg": f"{FFMPEG} -v quiet {RAW['ffmpeg']} -c:a adpcm_ima_wav -block_size 256 -f wav -",
}
PROGRAMS = sorted(TO_RAW)


def pipe(command: str, data: bytes) -> bytes:
    return subprocess.run(
        command.split(), input=data, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True
    ).stdout


def decode_by(program: str, blocks: bytes) -> bytes:
    return pipe(TO_RAW[program], ima_wav(blocks))


def encode_by(program: str, pcm: Pcm) -> bytes:
    wav = pipe(TO_IMA[program], pcm.tobytes())
    body = wav[wav.index(b"data") + 8 :]
    return body[: len(pcm) // BLOCK_SAMPLES * BLOCK_ALIGN]


def speak(voice: str, text: str) -> Pcm:
    """Return speech of whole blocks: what espeak-ng says, at 16 kHz, its peak at -3 dB."""
    said = pipe(f"espeak-ng -v {voice} --stdin --stdout", text.encode())
    raw = pipe(
        "sox -V0 -D -t wav --ignore-length - -t raw -e signed -b 16 -r 16000 - norm -3", said
    )
    pcm = np.frombuffer(raw, dtype=np.int16)
    return pcm[: len(pcm) // BLOCK_SAMPLES * BLOCK_SAMPLES]


def mixed_sounds(speech: Pcm) -> Pcm:
    """Return speech and what else a toy may hear: chimes, of square waves, bells, knocks, hiss."""
    rng = np.random.default_rng(1)
    n = np.arange(4800)
    fade = np.exp(-n / 1600)
    turns = [2 * np.pi * hertz / RATE * n for hertz in (523, 659, 784, 1047)]
    chimes = [0.5 * fade * np.sign(np.sin(turn)) for turn in turns]
    bells = [
        0.5
        * fade
        * sum(np.sin(partial * turn) / (k + 1) for k, partial in enumerate((1, 2.76, 5.4)))
        for turn in turns
    ]
    knocks = [0.7 * fade**8 * np.sin(turn) for turn in turns]
    hiss = [0.15 * fade * rng.standard_normal(len(n)) for _ in range(4)]
    sounds = np.concatenate([speech[16000:40000] / 32768, *chimes, *bells, *knocks, *hiss])
    sounds += 1e-4 * rng.standard_normal(len(sounds))
    pcm = (23000 * sounds.clip(-1, 1)).astype(np.int16)
    return pcm[: len(pcm) // BLOCK_SAMPLES * BLOCK_SAMPLES]


def snr(pcm: Pcm, decoded: Pcm) -> float:
    """Return the signal to noise ratio in dB."""
    error = pcm.astype(float) - decoded.astype(float)
    return float(10 * np.log10((pcm.astype(float) ** 2).sum() / (error**2).sum()))


@pytest.fixture(scope="module")
def speech() -> dict[str, Pcm]:
    return {
        "grandmother": speak(
            "en-gb+f4", "Hello my dear. Did you see the big red fire engine today?"
        ),
        "child": speak(
            "en-us+f2", "Yes! And it had a ladder, and a bell. When will you visit us?"
        ),
    }


@pytest.fixture(scope="module")
def random_blocks() -> bytes:
    """Blocks with a legal header and any codes; the first few have every step at every limit."""
    rng = np.random.default_rng(20)
    blocks = rng.integers(0, 256, (2400, BLOCK_ALIGN), dtype=np.uint8)
    blocks[:, 2] = rng.integers(0, 89, len(blocks))
    blocks[:, 3] = 0
    for number in range(3 * 89):
        sample, index = (-32768, 0, 32767)[number % 3], number // 3
        blocks[number, :4] = list(struct.pack("<hBB", sample, index, 0))
    return blocks.tobytes()


# Decoder

DECODE_ALL = """
    import hashlib
    from hushbear import ima
    pcm = bytearray(2 * 505)
    digests = bytearray(4 * (len(blocks) // 256))
    for i in range(len(blocks) // 256):
        assert ima.decode(blocks, 256 * i, 256, pcm, 0) == 505
        digests[4 * i : 4 * i + 4] = hashlib.sha256(pcm).digest()[:4]
    result(digests)
"""


def digests(pcm: bytes) -> bytes:
    """Return what DECODE_ALL does: the start of each block's SHA-256."""
    blocks = (pcm[at : at + 2 * BLOCK_SAMPLES] for at in range(0, len(pcm), 2 * BLOCK_SAMPLES))
    return b"".join(hashlib.sha256(block).digest()[:4] for block in blocks)


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_reference_is_what_the_programs_do(program: str, random_blocks: bytes) -> None:
    reference = decode(random_blocks)
    assert decode_by(program, random_blocks) == reference.tobytes()


@pytest.mark.parametrize("program", PROGRAMS)
def test_random_blocks_decode_as_by(target: Target, program: str, random_blocks: bytes) -> None:
    decoded = target.run(DECODE_ALL, args={"blocks": random_blocks})
    assert decoded == digests(decode_by(program, random_blocks))


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("encoder", PROGRAMS)
def test_speech_decodes_as_by(
    target: Target, program: str, encoder: str, speech: dict[str, Pcm]
) -> None:
    blocks = encode_by(encoder, np.concatenate(list(speech.values())))
    decoded = target.run(DECODE_ALL, args={"blocks": blocks})
    assert decoded == digests(decode_by(program, blocks))


def test_a_block_cut_short_decodes_to_its_beginning(target: Target, random_blocks: bytes) -> None:
    block = random_blocks[-BLOCK_ALIGN:]
    source = """
        from hushbear import ima
        for size in range(4, 257):
            n = 2 * size - 7
            out = bytearray(band + bytes(2 * n) + band)
            data = bytes(size % 5) + block[:size]
            assert ima.decode(data, size % 5, size, out, 4) == n
            assert out[:8] == band and out[-8:] == band
            assert out[8:-8] == whole[:2 * n], size
        result("done")
    """
    args = {"block": block, "whole": decode(block).tobytes(), "band": BAND}
    assert target.run(source, args=args) == "done"


def test_what_no_encoder_makes_decodes_to_nothing(target: Target) -> None:
    source = """
        from hushbear import ima
        out = bytearray(b"u" * 1200)
        block = bytearray(300)
        for index in range(89, 256):
            block[2] = index
            assert ima.decode(block, 0, 256, out, 0) == 0
        block[2] = 88
        for reserved in range(1, 256):
            block[3] = reserved
            assert ima.decode(block, 0, 256, out, 0) == 0
        block[3] = 0
        for size in (-2**40, -2**31, -256, -1, 0, 1, 2, 3, 257, 258, 512, 2**31 + 4, 2**32 + 4):
            assert ima.decode(block, 0, size, out, 0) == 0
        assert ima.decode(b"", 0, 0, out, 0) == 0
        result(bytes(out) == b"u" * 1200)
    """
    assert target.run(source) is True


@pytest.mark.parametrize("program", PROGRAMS)
def test_what_the_programs_make_of_hostile_headers(program: str, random_blocks: bytes) -> None:
    """The docstring of ima.py tells of this. The toy sides with the stricter."""
    good = random_blocks[-BLOCK_ALIGN:]
    for place, value in ((2, 89), (2, 255), (3, 1)):
        bad = bytearray(good)
        bad[place] = value
        decoded = decode_by(program, good + bytes(bad) + good)
        bad[place] = 0
        taken = decode(good + bytes(bad) + good).tobytes()
        refused = [taken[:1010], taken[:1010] + taken[2020:]]  # with and without what follows
        if program == "sox":
            assert decoded == taken
        elif place == 2:
            assert decoded in refused
        else:
            assert decoded == taken


HOSTILE = (-(2**40), -(2**31), -(2**30), -505, -1, 2**29, 2**30, 2**31 - 1, 2**31, 2**32, 2**40)


def test_decoding_stays_within_the_buffers(target: Target) -> None:
    source = """
        from hushbear import ima
        out = memoryview(bytearray(b"u" * 4096))
        block = bytes(300)
        def refused(src_off, dst, dst_off, size=256, src=block):
            try:
                ima.decode(src, src_off, size, dst, dst_off)
            except ValueError:
                return
            raise AssertionError((src_off, len(dst), dst_off, size))
        for off in hostile:
            refused(off, out, 0)
            refused(0, out, off)
            refused(off, out, off)
        refused(45, out, 0)
        refused(0, out[:1010], 1)
        refused(0, out[:1009], 0)
        refused(0, out[1:1101], 0)  # an odd address
        refused(0, out, 0, 4, b"")
        refused(0, out[:0], 0, 4)
        result(bytes(out) == b"u" * 4096)
    """
    assert target.run(source, args={"hostile": HOSTILE}) is True


# Encoder

ENCODE_ALL = """
    from hushbear.ima_encoder import Encoder
    encoder = Encoder(lookahead)
    blocks = bytearray(256 * (len(pcm) // 1010))
    for i in range(len(pcm) // 1010):
        assert encoder.encode(pcm, 505 * i, 505, blocks, 256 * i) == 256
    result(blocks)
"""


def encode(target: Target, pcm: Pcm, lookahead: int) -> bytes:
    blocks = target.run(ENCODE_ALL, args={"pcm": pcm.tobytes(), "lookahead": lookahead})
    assert isinstance(blocks, bytes)
    return blocks


def hard_signals() -> Pcm:
    """Return blocks that take the codec to its limits: noise, squares, silence, spikes, a sine."""
    rng = np.random.default_rng(3)
    n = np.arange(BLOCK_SAMPLES)
    return np.concatenate([
        np.array([32767, -32768])[n // 7 % 2],
        rng.integers(-32768, 32768, BLOCK_SAMPLES),
        np.zeros(BLOCK_SAMPLES),
        np.where(n % 50, 0, 32767),
        32767 * np.sin(n / 9),
        rng.integers(-4, 5, BLOCK_SAMPLES),
        np.array([-32768, 32767])[n % 2],
        np.where(n < 200, 32767 - n % 3, -32768 + n % 300),
    ]).astype(np.int16)  # fmt: skip


def squared_errors(values: Ints, indexes: Ints, targets: Ints) -> Ints:
    """Return, for each state and code, the least sum over targets[..., 0], targets[..., 1] …"""
    steps = np.array(STEPS)[indexes][..., None]
    codes = np.arange(16)
    move = (
        (steps >> 3) + steps * (codes >> 2 & 1) + (steps >> 1) * (codes >> 1 & 1)
        + (steps >> 2) * (codes & 1)
    )  # fmt: skip
    level = values[..., None] + np.where(codes & 8, -move, move)
    errors: Ints = np.minimum(np.abs(targets[..., :1] - level), 16384) ** 2
    if targets.shape[-1] > 1:
        after = np.clip(level, -32768, 32767)
        index = np.clip(indexes[..., None] + np.array(INDEX_MOVES)[codes & 7], 0, 88)
        rest = np.broadcast_to(targets[..., None, 1:], (*after.shape, targets.shape[-1] - 1))
        errors = errors + squared_errors(after, index, rest).min(axis=-1)
    return errors


@pytest.mark.parametrize("lookahead", [0, 1, 2])
def test_every_code_has_the_least_error_there_is(
    target: Target, lookahead: int, speech: dict[str, Pcm]
) -> None:
    """By trying all others from the decoder's state: so the encoder's idea of it is right, too."""
    pcm = np.concatenate([hard_signals(), speech["child"][10100 : 10100 + 4 * BLOCK_SAMPLES]])
    blocks = encode(target, pcm, lookahead)
    index = None
    for at in range(0, len(blocks), BLOCK_ALIGN):
        block = blocks[at : at + BLOCK_ALIGN]
        n = at // BLOCK_ALIGN * BLOCK_SAMPLES
        samples = pcm[n : n + BLOCK_SAMPLES].astype(np.int64)
        states = np.array(decode_states(block))
        assert states[0, 0] == samples[0]
        assert index in (None, states[0, 1]), "the step is carried from block to block"
        index = states[-1, 1]
        ahead = np.concatenate([samples[1:], np.repeat(samples[-1:], lookahead)])
        targets = np.lib.stride_tricks.sliding_window_view(ahead, lookahead + 1)
        errors = squared_errors(states[:-1, 0], states[:-1, 1], targets)
        chosen = np.take_along_axis(errors, np.array(codes_of(block))[:, None], axis=1)[:, 0]
        assert (chosen == errors.min(axis=1)).all()


@pytest.mark.parametrize("voice", ["grandmother", "child"])
def test_lookahead_buys_quality(target: Target, voice: str, speech: dict[str, Pcm]) -> None:
    pcm = speech[voice]
    own = {lookahead: encode(target, pcm, lookahead) for lookahead in (0, 1, 2, 3)}
    ratio = {lookahead: snr(pcm, decode(blocks)) for lookahead, blocks in own.items()}
    program = {name: snr(pcm, decode(encode_by(name, pcm))) for name in PROGRAMS}
    print(voice, ratio, program)
    assert ratio[0] > program["ffmpeg"] - 0.5
    assert ratio[1] > program["sox"] + 0.8
    assert ratio[1] > program["ffmpeg"] + 0.8
    assert ratio[2] > ratio[1] + 0.2
    assert ratio[3] > ratio[2]
    for name in PROGRAMS:  # and everybody hears the same
        assert decode_by(name, own[1]) == decode(own[1]).tobytes()


def test_lookahead_buys_more_where_sounds_begin_at_once(
    target: Target, speech: dict[str, Pcm]
) -> None:
    pcm = mixed_sounds(speech["child"])
    ratio = snr(pcm, decode(encode(target, pcm, 1)))
    sox = snr(pcm, decode(encode_by("sox", pcm)))
    print(ratio, sox)
    assert ratio > sox + 2


def test_a_short_block_repeats_its_last_sample(target: Target, speech: dict[str, Pcm]) -> None:
    source = """
        from hushbear.ima_encoder import Encoder
        for lookahead in (0, 1, 3):
            encoder = Encoder(lookahead)
            for n in range(1, 506):
                blocks = bytearray(band + bytes(512) + band)
                encoder.reset()
                assert encoder.encode(pcm, 7, n, blocks, 8) == 256
                assert blocks[264:] == bytes(256) + band and blocks[:8] == band
                full = bytearray(pcm[14 : 14 + 2 * n])
                full += bytes(full[-2:]) * (505 - n)
                encoder.reset()
                assert encoder.encode(full, 0, 505, blocks, 264) == 256
                assert blocks[8:264] == blocks[264:520], (lookahead, n)
                assert blocks[-8:] == band
        result("done")
    """
    pcm = speech["child"][8000 : 8000 + 512]
    assert target.run(source, args={"pcm": pcm.tobytes(), "band": BAND}, timeout=200) == "done"


def test_encoding_stays_within_the_buffers(target: Target) -> None:
    source = """
        from hushbear.ima_encoder import Encoder
        out = bytearray(b"u" * 512)
        pcm = memoryview(bytearray(1012))
        encoder = Encoder(lookahead)
        def refused(src, src_off, n, dst, dst_off):
            try:
                encoder.encode(src, src_off, n, dst, dst_off)
            except ValueError:
                return
            raise AssertionError((src_off, n, dst_off))
        for off in hostile:
            refused(pcm, off, 505, out, 0)
            refused(pcm, 0, 505, out, off)
            refused(pcm, 0, off, out, 0)
            refused(pcm, off, 0, out, 0)
        refused(pcm, 2, 505, out, 0)
        refused(pcm, 0, 506, out, 0)
        refused(pcm[:1009], 0, 505, out, 0)
        refused(pcm[1:1011], 0, 500, out, 0)  # an odd address
        refused(pcm, 0, 505, out, 257)
        refused(pcm, 0, 505, memoryview(out)[:255], 0)
        refused(b"", 0, 1, out, 0)
        assert encoder.encode(pcm, 0, 0, out, 0) == 0
        assert encoder.encode(b"", 0, 0, out, 0) == 0
        for wrong in (-1, 7, 2**32):
            try:
                Encoder(wrong)
            except ValueError:
                continue
            raise AssertionError(wrong)
        result(bytes(out) == b"u" * 512)
    """
    for lookahead in (0, 1):
        assert target.run(source, args={"hostile": HOSTILE, "lookahead": lookahead}) is True


def test_the_codec_allocates_nothing(target: Target, speech: dict[str, Pcm]) -> None:
    source = """
        import micropython
        from hushbear import ima
        from hushbear.ima_encoder import Encoder
        encoders = [Encoder(lookahead) for lookahead in range(7)]
        block = bytearray(256)
        out = bytearray(1010)
        n = 0
        def steady():
            n = 0
            for encoder in encoders:
                n += encoder.encode(pcm, 0, 505, block, 0)
                n += ima.decode(block, 0, 256, out, 0)
                n += encoder.encode(pcm, 505, 100, block, 0)
                encoder.reset()
                n += ima.decode(block, 0, 100, out, 0)
            block[2] = 89
            return n + ima.decode(block, 0, 256, out, 0)
        micropython.heap_lock()
        n = steady()
        micropython.heap_unlock()
        result(n)
    """
    pcm = speech["child"][9000:10010].tobytes()
    assert target.run(source, args={"pcm": pcm}) == 7 * (256 + 505 + 256 + 193)
