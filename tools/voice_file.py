"""Files of prompts, as hushbear.prompts lays them out: written and read on the host."""

from __future__ import annotations

import binascii
import io
import struct
from collections.abc import Mapping

from hushbear import prompts
from hushbear.container import BLOCK_ALIGN

PROMPT_BLOCKS_MAX = 192  # 6.06 s: whoever holds the toy wants to go on

_HEADER_SIZE = struct.calcsize(prompts.HEADER)
_ENTRY_SIZE = struct.calcsize(prompts.ENTRY)
_NAME_MAX = 11  # bytes, and a zero
_COUNT_MAX = 255
_BLOCKS_MAX = 0xFFFF


def pack(language: str, said: Mapping[str, bytes]) -> bytes:
    """Return the file of a language (two letters): the blocks of each prompt by its name.

    Raises ValueError for what the file cannot hold.
    """
    index = b""
    first = 0
    for name, blocks in said.items():
        count, rest = divmod(len(blocks), BLOCK_ALIGN)
        if rest or not 1 <= count <= PROMPT_BLOCKS_MAX or first + count > _BLOCKS_MAX:
            raise ValueError(f"{name}: {len(blocks)} bytes")
        if not 1 <= len(name.encode("ascii")) <= _NAME_MAX or "\0" in name:
            raise ValueError(f"no name: {name!r}")
        index += struct.pack(prompts.ENTRY, name.encode(), first, count, binascii.crc32(blocks))
        first += count
    if not 1 <= len(said) <= _COUNT_MAX or len(language.encode("ascii")) != 2:
        raise ValueError(f"{len(said)} prompts in {language!r}")
    fields = (prompts.MAGIC, prompts.VERSION, len(said), language.encode())
    start = struct.pack(prompts.HEADER, *fields, 0)[:-4]
    total = binascii.crc32(start + index)
    return struct.pack(prompts.HEADER, *fields, total) + index + b"".join(said.values())


def parse(content: bytes) -> tuple[str, dict[str, bytes]]:
    """Return (language, blocks of each prompt by name) of a whole file, or raise ValueError."""
    if len(content) < _HEADER_SIZE:
        raise ValueError("cut short")
    _, _, count, language, _ = struct.unpack_from(prompts.HEADER, content)
    said = {}
    end = 0
    for number in range(count):
        at = _HEADER_SIZE + number * _ENTRY_SIZE
        name = content[at : at + _ENTRY_SIZE].partition(b"\0")[0]
        file = io.BytesIO(content)
        size = prompts.find(file, name) * BLOCK_ALIGN
        said[name.decode("ascii")] = file.read(size)
        end = max(end, file.tell())
    if not said or end != len(content):
        raise ValueError("not as long as it says")
    return language.decode("ascii"), said
