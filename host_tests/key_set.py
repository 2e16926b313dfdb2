"""The toy's keys as they lie in NVS (hushbear.keys says how), written and read from outside."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import NamedTuple

LAYOUT = "<I" + 8 * "32s8sI" + 8 * "I32s"
SENDER = b"a phone\0"


class KeySet(NamedTuple):
    generation: int
    psks: dict[int, bytes]  # by slot
    epochs: dict[int, bytes]  # family keys


def pack(generation: int, psks: Mapping[int, bytes], epochs: Mapping[int, bytes]) -> bytes:
    phones = [x for slot in range(8) for x in (psks.get(slot, bytes(32)), SENDER, 0)]
    keys = [x for each in epochs.items() for x in each]
    keys += [0, bytes(32)] * (8 - len(epochs))
    blob = struct.pack(LAYOUT, generation, *phones, *keys)
    return blob + struct.pack("<I", zlib.crc32(blob))


def unpack(blob: bytes) -> KeySet:
    assert len(blob) == 648
    assert zlib.crc32(blob[:-4]) == struct.unpack("<I", blob[-4:])[0]
    generation, *rest = struct.unpack(LAYOUT, blob[:-4])
    phones, keys = rest[:24], rest[24:]
    return KeySet(
        generation,
        {slot: psk for slot, psk in enumerate(phones[::3]) if any(psk)},
        {epoch: key for epoch, key in zip(keys[::2], keys[1::2], strict=True) if epoch},
    )


def newest(blobs: Mapping[str, bytes]) -> KeySet:
    """Return the set that counts of what NVS has by name ("set0", "set1")."""
    sets = [unpack(blobs[name]) for name in ("set0", "set1") if name in blobs]
    return max(sets, default=KeySet(0, {}, {}))
