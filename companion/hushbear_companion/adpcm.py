"""IMA ADPCM in the 256-byte blocks that a message is made of, on the host.

Every block begins with a sample as it is and a step index of the encoder's choice, so blocks are
independent of each other. The encoder uses that: it works on all blocks of a message at once, one
numpy operation for each of the 504 steps, and in every block keeps the `beam` best ways so far
instead of only the best (the M-algorithm). The decoder is the shift-and-add reference to the bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from .message import BLOCK_ALIGN, BLOCK_SAMPLES

Samples = npt.NDArray[np.int16]
_Array = npt.NDArray[Any]

_STEPS = np.array(
    [
        7, 8, 9, 10, 11, 12, 13, 14, 16, 17, 19, 21, 23, 25, 28, 31, 34, 37, 41, 45, 50, 55, 60,
        66, 73, 80, 88, 97, 107, 118, 130, 143, 157, 173, 190, 209, 230, 253, 279, 307, 337, 371,
        408, 449, 494, 544, 598, 658, 724, 796, 876, 963, 1060, 1166, 1282, 1411, 1552, 1707,
        1878, 2066, 2272, 2499, 2749, 3024, 3327, 3660, 4026, 4428, 4871, 5358, 5894, 6484, 7132,
        7845, 8630, 9493, 10442, 11487, 12635, 13899, 15289, 16818, 18500, 20350, 22385, 24623,
        27086, 29794, 32767,
    ],
    dtype=np.int32,
)  # fmt: skip
_LAST = len(_STEPS) - 1
_CODES = np.arange(16)
_MOVE = np.array([-1, -1, -1, -1, 2, 4, 6, 8])


def _differences() -> npt.NDArray[np.int32]:
    """Return what code `c` adds at step index `i`, as [i * 16 + c]."""
    steps = _STEPS[:, None]
    sizes = steps >> 3
    for bit, shift in ((4, 0), (2, 1), (1, 2)):
        sizes = sizes + np.where(_CODES & bit, steps >> shift, 0)
    return np.where(_CODES & 8, -sizes, sizes).astype(np.int32).ravel()


_DIFFERENCE = _differences()
_NEXT = (
    np.clip(np.arange(_LAST + 1)[:, None] + _MOVE[_CODES & 7], 0, _LAST).astype(np.int32).ravel()
)

_DEAD = 1 << 41  # a cost above that of any block
_OPENING_STEPS = 6  # steps at each block's beginning that are searched with a wider beam
_OPENING_BEAM = 45  # every second step index


def encode(samples: Samples, beam: int = 16) -> bytes:
    """Return `samples` (int16, 16 kHz mono, at least one) as whole 256-byte blocks.

    The last block is filled up with the last sample. A wider `beam` (1 to 64) costs time in
    proportion and gains little: 1 is the greedy encoder with the best start for each block.
    """
    if samples.ndim != 1 or not len(samples):
        raise ValueError("samples must be one row, not empty")
    if not 1 <= beam <= 64:
        raise ValueError("beam must be 1 to 64")
    blocks = -(-len(samples) // BLOCK_SAMPLES)
    padded = np.pad(samples, (0, blocks * BLOCK_SAMPLES - len(samples)), mode="edge")
    rows = padded.reshape(blocks, BLOCK_SAMPLES)
    start, codes = _search(rows.astype(np.int32), beam)
    out = np.zeros((blocks, BLOCK_ALIGN), np.uint8)
    out[:, :2] = rows[:, :1].astype("<i2").view(np.uint8)
    out[:, 2] = start
    out[:, 4:] = codes[:, 0::2] | codes[:, 1::2] << 4  # low nibble first
    return out.tobytes()


def _search(rows: _Array, beam: int) -> tuple[_Array, _Array]:
    """Return (first step index of each block, codes of each block)."""
    blocks, length = rows.shape
    opening = np.arange(0, _LAST + 1, 2, dtype=np.int32)[:_OPENING_BEAM]
    index = np.tile(opening, (blocks, 1))
    value = np.repeat(rows[:, :1], len(opening), axis=1)
    cost = np.zeros(index.shape, np.int64)
    parents: list[_Array] = []
    chosen: list[_Array] = []
    for step in range(1, length):
        target = rows[:, step, None]
        away = target - value
        nearest = np.minimum((np.abs(away) << 2) // _STEPS[index], 7)
        sign = np.where(away < 0, 8, 0)
        # The nearest code and its neighbours: a worse one now may leave a better step for later.
        code = np.stack((nearest, np.minimum(nearest + 1, 7), np.maximum(nearest - 1, 0)), axis=2)
        code = (code | sign[:, :, None]).reshape(blocks, -1)
        entry = (index << 4).repeat(3, axis=1) | code
        reached = np.clip(value.repeat(3, axis=1) + _DIFFERENCE[entry], -32768, 32767)
        error = (target - reached).astype(np.int64)
        total = cost.repeat(3, axis=1) + error * error
        same = total.reshape(blocks, -1, 3)
        same[:, :, 1][nearest == 7] = _DEAD
        same[:, :, 2][nearest == 0] = _DEAD
        keep = beam if step > _OPENING_STEPS else max(beam, len(opening))
        best = np.argpartition(total, keep - 1, axis=1)[:, :keep]
        cost = np.take_along_axis(total, best, axis=1)
        value = np.take_along_axis(reached, best, axis=1)
        entry = np.take_along_axis(entry, best, axis=1)
        index = _NEXT[entry]
        parents.append((best // 3).astype(np.uint8))
        chosen.append((entry & 15).astype(np.uint8))
    codes = np.zeros((blocks, length - 1), np.uint8)
    at = np.argmin(cost, axis=1)[:, None]
    for step in range(length - 2, -1, -1):
        codes[:, step] = np.take_along_axis(chosen[step], at, axis=1)[:, 0]
        at = np.take_along_axis(parents[step], at, axis=1).astype(np.intp)
    return opening[at[:, 0]], codes


def decode(body: bytes) -> Samples:
    """Return the samples of whole blocks; ValueError where a step index is impossible."""
    if len(body) % BLOCK_ALIGN:
        raise ValueError("not whole blocks")
    blocks = np.frombuffer(body, np.uint8).reshape(-1, BLOCK_ALIGN)
    index = blocks[:, 2].astype(np.int32)
    if np.any(index > _LAST):
        raise ValueError("step index out of range")
    codes = np.empty((len(blocks), BLOCK_SAMPLES - 1), np.uint8)
    codes[:, 0::2] = blocks[:, 4:] & 15
    codes[:, 1::2] = blocks[:, 4:] >> 4
    out = np.empty((len(blocks), BLOCK_SAMPLES), np.int16)
    value = blocks[:, :2].copy().view("<i2")[:, 0].astype(np.int32)
    out[:, 0] = value
    for step in range(BLOCK_SAMPLES - 1):
        entry = index << 4 | codes[:, step]
        value = np.clip(value + _DIFFERENCE[entry], -32768, 32767)
        index = _NEXT[entry]
        out[:, step + 1] = value
    return out.ravel()
