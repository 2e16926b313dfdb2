"""Sealed messages and forgeries of them, for tests of everything that opens one.

    .venv/bin/python -m host_tests.sealed_vectors    writes host_tests/vectors/sealed-message.json

Written down from docs/protocol.md with `cryptography` alone: it shares no code with the toy or the
companion. Everything in the file is hexadecimal; a message's body is made of its name, so that
the file is the same each time.

    messages    what each is made of, its key and nonce prefix, its plaintext and the whole file
    forgeries   of the message `of`, one thing changed: `pieces` joined are the forged file. A
                piece is [message, from, to], bytes of that message's file, or the bytes
                themselves. `fails` says where it is found: "size", before anything is read;
                "header"; "epoch", where the family key is unknown; or the number of the chunk
                that does not open, while all before it do.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from host_tests.targets import ROOT

PATH = ROOT / "host_tests/vectors/sealed-message.json"

_FAMILY = {epoch: hashlib.sha256(b"family key %d" % epoch).digest() for epoch in (1, 2, 7)}
_MESSAGES = (  # name, blocks, epoch, time, sender
    ("one block", 1, 1, 1_790_000_000, bytes(8)),
    ("one whole chunk", 4, 1, 0, b"grandma\0"),
    ("a chunk and a block", 5, 2, 1_790_000_001, bytes(8)),
    ("two whole chunks", 8, 7, 0xFFFFFFFF, b"\xff" * 8),
    ("two chunks and a block", 9, 7, 1_790_000_002, b"grandpa\0"),
)
_HEADER = 48
_CHUNK = 1024 + 16

Piece = str | list[str | int]


def _body(name: str, blocks: int) -> bytes:
    """Return blocks that a decoder takes: a first sample, a step index, a zero, codes."""
    body = bytearray(hashlib.shake_256(name.encode()).digest(256 * blocks))
    for at in range(0, len(body), 256):
        body[at + 2] %= 89
        body[at + 3] = 0
    return bytes(body)


def _message(name: str, blocks: int, epoch: int, time: int, sender: bytes) -> dict[str, Any]:
    message_id = hashlib.sha256(b"id of " + name.encode()).digest()[:16]
    header = b"HBMG" + bytes((1, 1, 1, 0)) + struct.pack("<II", epoch, time)
    header += message_id + sender + bytes(8)
    info = b"Hushbear message 1" + header
    derived = HKDF(SHA256(), 39, salt=message_id, info=info).derive(_FAMILY[epoch])
    key, prefix = derived[:32], derived[32:]
    plaintext = _body(name, blocks)
    file = header
    for at in range(0, len(plaintext), 1024):
        last = at + 1024 >= len(plaintext)
        nonce = prefix + (at // 1024).to_bytes(4, "big") + bytes([last])
        file += AESGCM(key).encrypt(nonce, plaintext[at : at + 1024], None)
    return {
        "name": name,
        "epoch": epoch,
        "time": time,
        "id": message_id.hex(),
        "sender": sender.hex(),
        "header": header.hex(),
        "key": key.hex(),
        "prefix": prefix.hex(),
        "plaintext": plaintext.hex(),
        "file": file.hex(),
    }


def _forgeries(files: dict[str, bytes]) -> list[dict[str, Any]]:
    of = "two chunks and a block"
    size = len(files[of])
    first, second = _HEADER + _CHUNK, _HEADER + 2 * _CHUNK
    found: list[dict[str, Any]] = []

    def forge(what: str, fails: int | str, *pieces: Piece, of: str = of) -> None:
        found.append({"what": what, "of": of, "fails": fails, "pieces": list(pieces)})

    def flip(what: str, at: int, mask: int, fails: int | str, of: str = of) -> None:
        altered = bytes([files[of][at] ^ mask]).hex()
        forge(what, fails, [of, 0, at], altered, [of, at + 1, len(files[of])], of=of)

    def header(what: str, at: int, value: bytes, fails: int | str) -> None:
        forge(what, fails, [of, 0, at], value.hex(), [of, at + len(value), size])

    header("no magic", 0, b"RIFF", "header")
    header("another version", 4, b"\x02", "header")
    header("another codec", 5, b"\x02", "header")
    header("said not to be sealed", 6, b"\0", "header")
    header("a flag", 7, b"\x01", "header")
    header("an epoch that nobody knows", 8, struct.pack("<I", 3), "epoch")
    header("no epoch", 8, bytes(4), "epoch")
    header("another epoch of the family", 8, struct.pack("<I", 2), 0)
    header("another time", 12, struct.pack("<I", 1_790_000_003), 0)
    flip("the id's first bit", 16, 0x01, 0)
    flip("the id's last bit", 31, 0x80, 0)
    header("another sender", 32, b"grandma\0", 0)
    header("said to be of the toy", 32, bytes(8), 0)
    flip("a reserved bit", 40, 0x01, "header")
    flip("the last reserved bit", 47, 0x80, "header")

    for chunk, begin, end in ((0, _HEADER, first), (1, first, second), (2, second, size)):
        flip(f"the first bit of chunk {chunk}", begin, 0x01, chunk)
        flip(f"the last bit of chunk {chunk}'s blocks", end - 17, 0x80, chunk)
        flip(f"the first bit of chunk {chunk}'s tag", end - 16, 0x01, chunk)
        flip(f"the last bit of chunk {chunk}'s tag", end - 1, 0x80, chunk)
    flip("a bit of the only chunk", 100, 0x10, 0, "one block")

    head: Piece = [of, 0, _HEADER]
    one: Piece = [of, _HEADER, first]
    two: Piece = [of, first, second]
    three: Piece = [of, second, size]
    forge("the first chunk dropped", 0, head, two, three)
    forge("a chunk dropped", 1, head, one, three)
    forge("the last chunk dropped", 1, head, one, two)
    forge("all but the first chunk dropped", 0, head, one)
    forge("a chunk doubled", 1, head, one, one, two, three)
    forge("the last whole chunk doubled", 2, head, one, two, two, three)
    forge("chunks swapped", 0, head, two, one, three)
    forge("the last chunk twice", "size", head, one, two, three, three)
    forge("cut after the header", "size", head)
    forge("cut in the header", "size", [of, 0, _HEADER - 1])
    forge("nothing left", "size", [of, 0, 0])
    forge("the last byte cut", "size", [of, 0, size - 1])
    forge("the last tag cut", "size", [of, 0, size - 16])
    forge("a byte added", "size", [of, 0, size], "00")
    forge("a block added", 2, [of, 0, size], bytes(256).hex())
    short, whole = "a chunk and a block", "two whole chunks"
    forge("a block cut", 0, [of, 0, first - 256], of=of)
    forge(
        "a whole chunk added", 1,
        [whole, 0, len(files[whole])], [whole, first, second], of=whole,
    )  # fmt: skip
    forge("the last block's chunk added", 1, [whole, 0, second], three, of=whole)
    forge("the last chunk dropped", 0, [whole, 0, first], of=whole)
    forge("a chunk of a message of the same epoch", 1, head, one, [whole, first, second], three)
    forge("the last chunk of a message of another epoch", 2,
          head, one, two, [short, first, len(files[short])])  # fmt: skip
    forge("the header of another message", 0, [whole, 0, _HEADER], [of, _HEADER, size])
    return found


def vectors() -> dict[str, Any]:
    """Return what the file holds."""
    messages = [_message(*fields) for fields in _MESSAGES]
    files = {message["name"]: bytes.fromhex(message["file"]) for message in messages}
    return {
        "source": "host_tests/sealed_vectors.py, from docs/protocol.md",
        "family": {str(epoch): key.hex() for epoch, key in _FAMILY.items()},
        "messages": messages,
        "forgeries": _forgeries(files),
    }


def text() -> str:
    """Return the file."""
    return json.dumps(vectors(), indent=1) + "\n"


if __name__ == "__main__":
    PATH.write_text(text())
