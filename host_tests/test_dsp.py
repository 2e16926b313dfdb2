"""Capture, volume and tones, against what they should be in exact or floating arithmetic."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tests.targets import Target

RATE = 16000
HOSTILE = (-(2**40), -(2**31), -(2**30), -1, 2**29, 2**30, 2**31 - 1, 2**31, 2**32, 2**40)

Array = npt.NDArray[Any]

CAPTURE = """
    from hushbear.dsp import Capture
    capture = Capture(gain)
    n = len(slots) // 4
    out = bytearray(2 * n)
    at = 0
    while at < n:  # in pieces, as they come
        piece = min(n - at, 250)
        capture.process(memoryview(slots)[4 * at :], piece, out, at)
        at += piece
    result(out)
"""


def capture(target: Target, slots: Array, gain: float) -> Array:
    out = target.run(CAPTURE, args={"slots": slots.astype("<i4").tobytes(), "gain": gain})
    assert isinstance(out, bytes)
    return np.frombuffer(out, dtype=np.int16).astype(float)


def soft_limit(x: Array) -> Array:
    """Linear to half of full scale, then a parabola that is level at 1.5 times full scale."""
    excess = np.clip(np.abs(x) - 16384, 0, 32768)
    return np.where(excess > 0, np.sign(x) * (16384 + excess - excess**2 / 65536), x)


def high_pass(x: Array) -> Array:
    """First order, 20 Hz; begins with its first sample for the offset."""
    y, dc = np.empty(len(x)), x[0]
    for i, sample in enumerate(x):
        y[i] = sample - dc
        dc += y[i] / 128
    return y


def mic(x: Array, offset: float = 0.0) -> Array:
    """Return slots as a microphone fills them: 24 bits on top, of a full scale of 1."""
    return np.round(np.clip(x + offset, -1, 1 - 2**-23) * 2**23).astype(np.int64) << 8


def test_capture_is_a_high_pass_with_gain_and_a_soft_limit(target: Target) -> None:
    rng = np.random.default_rng(5)
    t = np.arange(RATE // 2) / RATE
    voice = 0.05 * np.sin(2 * np.pi * 220 * t) * (1 + np.sin(2 * np.pi * 3 * t))
    for gain, level in ((1, 1), (16, 1), (0.5, 10), (60, 0.1), (12, 0.9), (4, 9)):
        slots = mic(level * voice + 1e-4 * rng.standard_normal(len(t)), 0.01)
        expected = soft_limit(high_pass(slots / 65536) * gain)
        got = capture(target, slots, gain)
        # Half a step of the output, and of the 20 bits that are kept
        assert np.abs(got - expected).max() < 1 + 2 * gain / 16


def test_capture_leaves_neither_offset_nor_a_limit_cycle(target: Target) -> None:
    for offset in (-0.9, -0.01, 3e-6, 0.02, 0.5):
        slots = mic(np.zeros(RATE // 2), offset)
        slots[:200] = mic(np.zeros(200), offset + 0.05)  # a click at the beginning
        assert not capture(target, slots, 16)[RATE // 4 :].any()
    rng = np.random.default_rng(6)
    noise = mic(1e-4 * rng.standard_normal(RATE), 0.03)
    assert abs(capture(target, noise, 8)[RATE // 4 :].mean()) < 0.5


def test_capture_never_wraps_and_keeps_order(target: Target) -> None:
    """The steps are one sample long, so the high pass cannot hide a mistake of the limiter."""
    source = """
        import struct
        from hushbear.dsp import Capture
        out = bytearray(4)
        seen = []
        for gain in (1, 7, 64):
            capture = Capture(gain)
            row = []
            level = -2**31
            while level < 2**31:  # no range(): 2**31 is no machine word
                capture.reset()
                capture.process(bytes(4) + struct.pack("<i", level), 2, out)
                value = out[2] | out[3] << 8
                row.append((value ^ 0x8000) - 0x8000)
                level += 2**31 // 300
            seen.append(row)
        result(seen)
    """
    levels = np.arange(-(2**31), 2**31, 2**31 // 300)
    rows = target.run(source)
    assert isinstance(rows, list)
    for gain, row in zip((1, 7, 64), rows, strict=True):
        assert row == sorted(row)
        assert np.abs(row - soft_limit(levels / 65536 * gain)).max() < 2 + gain / 16
    assert (min(rows[2]), max(rows[2])) == (-32768, 32767)
    full = mic(np.sign(np.sin(np.arange(4000) / 40)))
    out = capture(target, full, 64)
    assert (np.sign(out[130:]) == np.sign(full[130:])).mean() > 0.98


def test_each_recording_begins_without_a_step(target: Target) -> None:
    source = """
        import struct
        from hushbear.dsp import Capture
        capture = Capture(16)
        out = bytearray(20)
        for offset in (2**29, -2**30, 12345):
            capture.reset()
            capture.process(struct.pack("<i", offset) * 10, 10, out)
            assert out == bytes(20)
        result("done")
    """
    assert target.run(source) == "done"


def test_volume(target: Target) -> None:
    source = """
        from hushbear.dsp import scale
        n = len(samples) // 2
        out = []
        for volume in (0, 1, 100, 16384, 23170, 32767, 32768):
            copy = bytearray(samples)
            scale(copy, 3, n - 5, volume)
            out.append(bytes(copy))
        result(out)
    """
    rng = np.random.default_rng(7)
    x = np.concatenate([rng.integers(-32768, 32768, 997), [-32768, 32767, 0]]).astype(np.int64)
    x[3:8] = -32768, 32767, -1, 0, 1
    out = target.run(source, args={"samples": x.astype("<i2").tobytes()})
    assert isinstance(out, list)
    for volume, scaled in zip((0, 1, 100, 16384, 23170, 32767, 32768), out, strict=True):
        expected = x.copy()
        expected[3:-2] = np.floor(x[3:-2] * volume / 32768 + 0.5)
        assert (np.frombuffer(scaled, dtype=np.int16) == expected).all()


TONE = """
    from hushbear.dsp import tone
    out = bytearray(2 * sum(piece[0] for piece in pieces))
    at = 0
    for n, start, end in pieces:
        phase = tone(out, at, n, phase, step, start, end)
        at += n
    result((out, phase))
"""


def tones(
    target: Target, pieces: list[tuple[int, int, int]], step: int, phase: int = 0
) -> tuple[Array, int]:
    args = {"pieces": pieces, "step": step, "phase": phase}
    source = TONE.replace("result((out,", "result((bytes(out),")
    result = target.run(source, args=args)
    assert isinstance(result, tuple)
    return np.frombuffer(result[0], dtype=np.int16).astype(float), result[1]


def test_a_tone_is_a_sine(target: Target) -> None:
    for hertz, amplitude in ((440, 32768), (1000, 16384), (97, 30000), (7999, 20000)):
        step = hertz * 65536 // RATE
        got, phase = tones(target, [(3000, amplitude, amplitude)], step, 60000)
        sine = amplitude * np.sin(2 * np.pi * (60000 + step * np.arange(3000)) / 65536)
        assert np.abs(got - sine).max() < 3 + amplitude * 1.7e-4  # -75 dB
        assert phase == (60000 + 3000 * step) % 65536


def test_a_beep_does_not_click(target: Target) -> None:
    beep, _ = tones(target, [(160, 0, 20000), (800, 20000, 20000), (160, 20000, 0)], 4096)
    envelope = np.concatenate([
        np.linspace(0, 20000, 160, endpoint=False), np.full(800, 20000),
        np.linspace(20000, 0, 160, endpoint=False),
    ])  # fmt: skip
    sine = envelope * np.sin(2 * np.pi * 4096 * np.arange(1120) / 65536)
    assert np.abs(beep - sine).max() < 10
    steady = np.abs(np.diff(beep[160:960])).max()
    assert np.abs(np.diff(np.concatenate([[0], beep, [0]]))).max() <= steady + 2


def test_any_tone_stays_in_range(target: Target) -> None:
    cases: list[tuple[int, int, int, int, int]] = []
    number = st.integers(-(2**33), 2**33)
    q15 = st.one_of(st.sampled_from([0, 1, 32767, 32768]), st.integers(0, 32768))

    @settings(max_examples=120, deadline=None, database=None, derandomize=True)
    @given(st.tuples(number, number, q15, q15, st.integers(0, 90)))
    def collect(case: tuple[int, int, int, int, int]) -> None:
        cases.append(case)

    collect()  # one call to the target for all of them
    source = """
        from hushbear.dsp import tone
        out = bytearray(180)
        worst = 0
        for phase, step, start, end, n in cases:
            assert 0 <= tone(out, 0, n, phase, step, start, end) < 65536
            for i in range(n):
                value = ((out[2 * i] | out[2 * i + 1] << 8) ^ 0x8000) - 0x8000
                worst = max(worst, abs(value) - max(start, end))
        result(worst)
    """
    worst = target.run(source, args={"cases": cases})
    assert isinstance(worst, int) and worst <= 1


def test_a_span_outside_a_buffer_is_refused(target: Target) -> None:
    source = """
        from hushbear.dsp import Capture, scale, tone
        wide = memoryview(bytearray(b"u" * 64))
        out = memoryview(bytearray(b"u" * 64))
        capture = Capture(1)
        def refused(call, *args):
            try:
                call(*args)
            except ValueError:
                return
            raise AssertionError(args)
        for off in hostile:
            refused(capture.process, wide, off, out)
            refused(capture.process, wide, 1, out, off)
            refused(capture.process, wide, off, out, off)
            refused(scale, out, off, 1, 100)
            refused(scale, out, 0, off, 100)
            refused(scale, out, 0, 1, off if off < 0 or off > 32768 else -1)
            refused(tone, out, off, 1, 0, 1000, 100)
            refused(tone, out, 0, off, 0, 1000, 100)
            refused(tone, out, 0, 1, 0, 1000, off)
            refused(tone, out, 0, 1, 0, 1000, 0, off)
        refused(capture.process, wide, 17, out)
        refused(capture.process, wide, 16, out, 17)
        refused(capture.process, wide[1:], 4, out)
        refused(capture.process, wide, 4, out[1:])
        refused(scale, out, 30, 3, 100)
        refused(scale, out[1:], 0, 3, 100)
        refused(tone, out, 30, 3, 0, 1000, 100)
        refused(tone, out[1:], 0, 3, 0, 1000, 100)
        for gain in (0, -1, 0.01, 65, 2**40):
            refused(Capture, gain)
        capture.process(wide, 0, out, 32)
        scale(out, 32, 0, 0)
        assert tone(out, 32, 0, 7, 1000, 100) == 7
        result(bytes(out) == bytes(wide) == b"u" * 64)
    """
    assert target.run(source, args={"hostile": HOSTILE}) is True


def test_samples_are_treated_without_allocating(target: Target) -> None:
    source = """
        import micropython
        from hushbear.dsp import Capture, scale, tone
        capture = Capture(64)
        slots = bytearray(b"\\x12\\x34\\x56\\x78\\x9a" * 80)
        out = bytearray(200)
        phase = 0
        def steady():
            capture.reset()
            capture.process(slots, 100, out)
            capture.process(slots, 50, out, 50)
            scale(out, 0, 100, 20000)
            phase = tone(out, 0, 50, 40000, 3000, 0, 32768)
            return tone(out, 50, 50, phase, 3000, 30000)
        micropython.heap_lock()
        phase = steady()
        micropython.heap_unlock()
        result(phase)
    """
    assert target.run(source) == (40000 + 100 * 3000) % 65536
