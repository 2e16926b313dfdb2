"""A MicroPython image for an ESP32, as the download page has them: is it for this board, and how
does it lay out the flash?

Such a file is what goes into the flash from the bootloader's address on: the bootloader, the
partition table at 0x8000, the application. Between the two lies NVS, filled with 0xff.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

TABLE = 0x8000  # address of the partition table
TABLE_SIZE = 0xC00
SECTOR = 0x1000
APP, DATA = 0, 1  # types of partition
NVS = (DATA, 2)  # type and subtype

# Chip id in the header of an image, by esptool's name for the chip
CHIP_IDS = {"esp32": 0, "esp32s2": 2, "esp32c3": 5, "esp32s3": 9, "esp32c6": 13}


class BadImage(Exception):
    """Why it is not to be written, as the end of a sentence."""


@dataclass(frozen=True)
class Partition:
    kind: int
    subkind: int
    offset: int
    size: int
    label: str


@dataclass(frozen=True)
class Image:
    data: bytes
    start: int  # its address in the flash
    table: tuple[Partition, ...]

    @property
    def end(self) -> int:
        """The flash that its partitions need, in bytes."""
        return max(partition.offset + partition.size for partition in self.table)

    def pieces(self) -> list[tuple[int, bytes]]:
        """Return (address, bytes) of what there is besides NVS: bootloader and table, the app."""
        app = min(partition.offset for partition in self.table if partition.kind == APP)
        front = TABLE + SECTOR - self.start
        return [(self.start, self.data[:front]), (app, self.data[app - self.start :])]


def read_image(data: bytes, chip: str, start: int) -> Image:
    """Check an image that belongs at address `start` of a `chip`; raise BadImage."""
    if len(data) < TABLE + TABLE_SIZE - start:
        raise BadImage("is too short to be a MicroPython image")
    if data[0] != 0xE9:
        raise BadImage("is no image of an ESP32 that begins with its bootloader")
    (chip_id,) = struct.unpack_from("<H", data, 12)
    if chip_id != CHIP_IDS[chip]:
        names = {number: name for name, number in CHIP_IDS.items()}
        raise BadImage(f"is for {names.get(chip_id, f'chip {chip_id}')}, not {chip}")
    table = read_table(data[TABLE - start : TABLE - start + TABLE_SIZE])
    apps = [partition for partition in table if partition.kind == APP]
    if not apps or not any(partition.label == "vfs" for partition in table):
        raise BadImage("has no partitions of MicroPython")
    app = min(apps, key=lambda partition: partition.offset)
    if len(data) <= app.offset - start or data[app.offset - start] != 0xE9:
        raise BadImage("is cut short: the application is not in it")
    if len(data) + start > app.offset + app.size:
        raise BadImage("is longer than the partition of its application")
    return Image(data, start, table)


def read_table(data: bytes) -> tuple[Partition, ...]:
    """Return the partitions of a table as it is in the flash; raise BadImage if it is none."""
    partitions = []
    for offset in range(0, len(data) - 31, 32):
        entry = data[offset : offset + 32]
        if entry[:2] == b"\xeb\xeb":
            if entry[16:] != hashlib.md5(data[:offset]).digest():
                raise BadImage("has a damaged partition table")
            break
        if entry[:2] != b"\xaa\x50":
            break
        kind, subkind, start, size, label = struct.unpack_from("<xxBBII16s", entry)
        name = label.rstrip(b"\0").decode(errors="replace")
        partitions.append(Partition(kind, subkind, start, size, name))
    if not partitions:
        raise BadImage("has no partition table")
    return tuple(partitions)
