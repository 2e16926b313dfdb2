"""Messages sealed end to end: AES-256-GCM in chunks, after STREAM (Hoang, Reyhanitabar, Rogaway
and Vizár, 2015), under a key of each message's own.

A chunk opens only as it was sealed: in its place, in its message, under its header, and as the
last one only if it was. What comes out of here is genuine; what is not never comes out.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import BinaryIO

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hushbear import container

from . import message
from .errors import BadMessage, BrokenMessage, CutShort, UnknownEpoch
from .message import BLOCK_ALIGN, HEADER_SIZE, Header

FAMILY_KEY_SIZE = 32
CHUNK_BODY: int = container.CHUNK_BLOCKS * BLOCK_ALIGN  # bytes of a whole chunk's blocks
CHUNK_SIZE: int = container.CHUNK_SIZE
CHUNKS_MAX: int = -(-container.BLOCKS_MAX // container.CHUNK_BLOCKS)

_KEY_SIZE = 32
_PREFIX_SIZE = 7


class _Chunks:
    """The keys of one message, by its 48 header bytes."""

    def __init__(self, header: bytes, message_id: bytes, family_key: bytes) -> None:
        if len(family_key) != FAMILY_KEY_SIZE:
            raise ValueError("a family key has 32 bytes")
        info = container.INFO + header
        hkdf = HKDF(SHA256(), _KEY_SIZE + _PREFIX_SIZE, salt=message_id, info=info)
        derived = hkdf.derive(family_key)
        self._aead = AESGCM(derived[:_KEY_SIZE])
        self._prefix = derived[_KEY_SIZE:]

    def seal(self, number: int, last: bool, blocks: bytes) -> bytes:
        return self._aead.encrypt(self._nonce(number, last), blocks, None)

    def open(self, number: int, last: bool, chunk: bytes) -> bytes | None:
        try:
            return self._aead.decrypt(self._nonce(number, last), chunk, None)
        except InvalidTag:
            return None

    def _nonce(self, number: int, last: bool) -> bytes:
        return self._prefix + struct.pack(">IB", number, last)


def seal(header: Header, blocks: bytes, family_key: bytes) -> bytes:
    """Return the sealed message of 1 to 1920 whole blocks. `family_key` is that of the header's
    epoch; no two messages may have one id."""
    count, rest = divmod(len(blocks), BLOCK_ALIGN)
    if rest or not 1 <= count <= container.BLOCKS_MAX:
        raise BadMessage(f"No message has {len(blocks)} bytes of sound.")
    packed: bytes = container.pack_header(header.id, header.sender, header.time, header.epoch)
    chunks = _Chunks(packed, header.id, family_key)
    pieces = [blocks[at : at + CHUNK_BODY] for at in range(0, len(blocks), CHUNK_BODY)]
    last = len(pieces) - 1
    return packed + b"".join(chunks.seal(i, i == last, piece) for i, piece in enumerate(pieces))


def renewed(content: bytes, family_keys: Mapping[int, bytes]) -> bytes:
    """Return a message sealed with the newest key, under its id. Raises as unseal() does."""
    header, blocks = unseal(content, family_keys)
    newest = max(family_keys)
    return seal(replace(header, epoch=newest), blocks, family_keys[newest])


def unseal(content: bytes, family_keys: Mapping[int, bytes]) -> tuple[Header, bytes]:
    """Return (header, blocks) of a whole sealed message; `family_keys` are by epoch.

    Raises UnknownEpoch, BrokenMessage, CutShort, or BadMessage for what is no message at all.
    """
    header = message.parse_header(content)
    return header, b"".join(unseal_stream(io.BytesIO(content), family_keys))


def unseal_stream(source: BinaryIO, family_keys: Mapping[int, bytes]) -> Iterator[bytes]:
    """Yield the blocks of each chunk, 1024 bytes and at last 256 to 1024, once it is known to be
    genuine. Holds no more than two chunks. Raises as unseal() does."""
    packed = source.read(HEADER_SIZE)
    header = message.parse_header(packed)
    family_key = family_keys.get(header.epoch)
    if family_key is None:
        raise UnknownEpoch(header.epoch)
    chunks = _Chunks(packed, header.id, family_key)
    chunk = source.read(CHUNK_SIZE)
    for number in range(CHUNKS_MAX):
        following = source.read(CHUNK_SIZE)
        if not chunk or (not following and (len(chunk) - container.TAG_SIZE) % BLOCK_ALIGN):
            raise CutShort(number)
        blocks = chunks.open(number, not following, chunk)
        if blocks is None and not following and chunks.open(number, False, chunk) is not None:
            raise CutShort(number + 1)
        if not blocks:
            raise BrokenMessage(number)
        yield blocks
        if not following:
            return
        chunk = following
    raise BadMessage("That is longer than any message.")
