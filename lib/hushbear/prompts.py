"""The file of spoken prompts, one for each language: tools/voice makes it, the toy reads it.

Little-endian. Header, 12 bytes: magic "HBVC", version, number of prompts, language (two ASCII
letters), CRC-32 of the 8 bytes before it and of the index. Index, 20 bytes for each prompt: name
(ASCII, at least one zero behind it), its first block, how many it has, CRC-32 of these. Then the
blocks of all prompts, IMA ADPCM as in a message (hushbear.container).

    find(file, name) -> blocks    `file` then stands at the first of them; name is bytes. Raises
                                  ValueError where the index or the prompt is not what was made
"""

import struct
from binascii import crc32

from hushbear.container import BLOCK_ALIGN

HEADER = "<4sBB2sI"
ENTRY = "<12sHHI"
MAGIC = b"HBVC"
VERSION = 1


def find(file, name):
    head = file.read(struct.calcsize(HEADER))
    at = len(head)
    if at != struct.calcsize(HEADER):
        raise ValueError("cut short")
    count = head[5]
    found = None
    total = crc32(head[:8])
    for _ in range(count):
        entry = file.read(struct.calcsize(ENTRY))
        at += len(entry)
        total = crc32(entry, total)
        if entry.startswith(name + b"\0"):
            found = entry
    if head != struct.pack(HEADER, MAGIC, VERSION, count, head[6:8], total):
        raise ValueError("damaged, or made for another version")
    if found is None:
        raise ValueError("not in it")
    _, first, blocks, expected = struct.unpack(ENTRY, found)
    at += first * BLOCK_ALIGN
    file.seek(at)
    block = bytearray(BLOCK_ALIGN)
    total = 0
    for _ in range(blocks):
        if file.readinto(block) != BLOCK_ALIGN:
            raise ValueError("cut short")
        total = crc32(block, total)
    if total != expected:
        raise ValueError("damaged")
    file.seek(at)
    return blocks
