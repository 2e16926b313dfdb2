"""Sealed messages on the phone: what is genuine opens, and of what is not nothing is heard."""

from __future__ import annotations

import contextlib
import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from host_tests import sealed_vectors
from hushbear import container
from hushbear_companion import sealing
from hushbear_companion.errors import BadMessage, BrokenMessage, CutShort, UnknownEpoch
from hushbear_companion.message import Header, blocks_in

VECTORS: dict[str, Any] = json.loads(sealed_vectors.PATH.read_text())
FAMILY = {int(epoch): bytes.fromhex(key) for epoch, key in VECTORS["family"].items()}
MESSAGES: dict[str, dict[str, Any]] = {m["name"]: m for m in VECTORS["messages"]}
FILES = {name: bytes.fromhex(message["file"]) for name, message in MESSAGES.items()}
PLAIN = {name: bytes.fromhex(message["plaintext"]) for name, message in MESSAGES.items()}
LONGEST = "two chunks and a block"


def forged(forgery: dict[str, Any]) -> bytes:
    return b"".join(
        bytes.fromhex(piece) if isinstance(piece, str) else FILES[piece[0]][slice(*piece[1:])]
        for piece in forgery["pieces"]
    )


def heard(content: bytes) -> bytes:
    """Return all blocks that come out before the opening fails or ends."""
    out = b""
    with contextlib.suppress(BadMessage):
        for blocks in sealing.unseal_stream(io.BytesIO(content), FAMILY):
            out += blocks
    return out


def header_of(message: dict[str, Any]) -> Header:
    message_id, sender = bytes.fromhex(message["id"]), bytes.fromhex(message["sender"])
    return Header(message_id, sender, message["time"], message["epoch"])


def test_the_vectors_are_what_their_source_makes() -> None:
    assert sealed_vectors.PATH.read_text() == sealed_vectors.text(), (
        "run .venv/bin/python -m host_tests.sealed_vectors"
    )


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_is_sealed_as_in_the_vectors_and_opens(name: str) -> None:
    header = header_of(MESSAGES[name])
    assert sealing.seal(header, PLAIN[name], FAMILY[header.epoch]) == FILES[name]
    assert sealing.unseal(FILES[name], FAMILY) == (header, PLAIN[name])


@pytest.mark.parametrize("forgery", VECTORS["forgeries"], ids=lambda f: f["what"])
def test_a_forgery_is_found_where_it_begins(forgery: dict[str, Any]) -> None:
    content, fails = forged(forgery), forgery["fails"]
    if fails == "size":
        with pytest.raises(BadMessage):
            blocks_in(len(content))
    else:
        blocks_in(len(content))
    with pytest.raises(BadMessage) as caught:
        sealing.unseal(content, FAMILY)
    error = caught.value
    if fails == "epoch":
        assert isinstance(error, UnknownEpoch)
    elif fails == "header":
        assert type(error) is BadMessage
    elif isinstance(fails, int):
        assert isinstance(error, BrokenMessage | CutShort)
        assert heard(content) == PLAIN[forgery["of"]][: fails * sealing.CHUNK_BODY]
        assert error.chunk == fails + isinstance(error, CutShort)


def test_no_bit_of_a_header_can_be_changed() -> None:
    for bit in range(8 * container.HEADER_SIZE):
        content = bytearray(FILES[LONGEST])
        content[bit // 8] ^= 1 << bit % 8
        assert heard(bytes(content)) == b""


@given(st.data())
def test_whatever_is_done_to_a_message_only_what_was_said_is_heard(data: st.DataObject) -> None:
    content = bytearray(FILES[LONGEST])
    at = data.draw(st.integers(0, len(content) - 1))
    match data.draw(st.sampled_from(("flip", "cut", "insert", "replace"))):
        case "flip":
            content[at] ^= 1 << data.draw(st.integers(0, 7))
        case "cut":
            del content[at:]
        case "insert":
            content[at:at] = data.draw(st.binary(min_size=1, max_size=1200))
        case "replace":
            end = data.draw(st.integers(at, len(content)))
            content[at:end] = data.draw(st.binary(max_size=1200))
    if content == FILES[LONGEST]:
        return
    with pytest.raises(BadMessage):
        sealing.unseal(bytes(content), FAMILY)
    out = heard(bytes(content))
    assert PLAIN[LONGEST].startswith(out) and len(out) < len(PLAIN[LONGEST])


def test_a_message_whose_end_is_missing_is_told_from_one_that_was_altered() -> None:
    content = FILES[LONGEST]
    for size in range(container.HEADER_SIZE, len(content)):
        rest = (size - container.HEADER_SIZE) % sealing.CHUNK_SIZE
        if rest and (rest - container.TAG_SIZE) % container.BLOCK_ALIGN == 0:
            continue  # it might as well be a shorter one that was altered
        with pytest.raises(CutShort):
            sealing.unseal(content[:size], FAMILY)
    content = content[:-1] + bytes([content[-1] ^ 1])
    with pytest.raises(BrokenMessage):
        sealing.unseal(content, FAMILY)


def test_it_is_opened_as_it_comes() -> None:
    source = io.BytesIO(FILES[LONGEST])
    blocks = sealing.unseal_stream(source, FAMILY)
    assert source.tell() == 0
    for chunk in range(3):
        assert next(blocks) == PLAIN[LONGEST][chunk * 1024 : (chunk + 1) * 1024]
        assert source.tell() <= container.HEADER_SIZE + (chunk + 2) * sealing.CHUNK_SIZE


def test_a_stream_that_does_not_end_is_given_up() -> None:
    header = Header(bytes(16), bytes(8), 0, 1)
    blocks = bytes(256 * container.BLOCKS_MAX)
    content = sealing.seal(header, blocks, FAMILY[1])
    assert len(content) == container.sealed_size(container.BLOCKS_MAX)
    assert sealing.unseal(content, FAMILY) == (header, blocks)
    for more in (b"x", bytes(sealing.CHUNK_SIZE), bytes(1 << 20)):
        with pytest.raises(BadMessage):
            sealing.unseal(content + more, FAMILY)


@pytest.mark.parametrize("size", [0, 255, 257, 256 * container.BLOCKS_MAX + 256])
def test_what_is_not_whole_blocks_or_too_many_is_not_sealed(size: int) -> None:
    with pytest.raises(BadMessage):
        sealing.seal(Header(bytes(16), bytes(8), 0, 1), bytes(size), FAMILY[1])


def test_every_size_is_of_one_number_of_blocks_or_impossible() -> None:
    sizes = {container.sealed_size(n): n for n in range(1, container.BLOCKS_MAX + 1)}
    assert len(sizes) == container.BLOCKS_MAX
    for size in (
        *range(container.HEADER_SIZE + 5000),
        *range(max(sizes) - 2000, max(sizes) + 2000),
    ):
        if size in sizes:
            assert blocks_in(size) == sizes[size]
        else:
            with pytest.raises(BadMessage):
                blocks_in(size)
    for n, size in ((n, size) for size, n in sizes.items()):
        assert blocks_in(size) == n


@given(st.binary(max_size=400))
def test_bytes_that_are_no_message_are_refused(content: bytes) -> None:
    for head in (b"", container.pack_header(bytes(16), bytes(8), 0, 1)):
        with pytest.raises(BadMessage):
            sealing.unseal(head + content, FAMILY)


def test_the_same_sound_sealed_twice_is_not_the_same() -> None:
    headers = [Header(bytes(15) + bytes([n]), bytes(8), 0, 1) for n in range(2)]
    one, other = (sealing.seal(header, PLAIN[LONGEST], FAMILY[1]) for header in headers)
    assert one[48:304] != other[48:304]
