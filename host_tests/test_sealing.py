"""Messages sealed and opened on the toy: the vectors on every target, and every forgery."""

from __future__ import annotations

import json
from typing import Any

import pytest

from host_tests import sealed_vectors
from host_tests.targets import Target
from host_tests.test_companion_sealing import FAMILY, FILES, MESSAGES, PLAIN, forged

FORGERIES: list[dict[str, Any]] = json.loads(sealed_vectors.PATH.read_text())["forgeries"]

SOURCE = """
import micropython
from hushbear import container
from hushbear.ring import Ring
from hushbear.sealing import Broken, Opener, Sealer


class Flash:
    # A recording's file, and a reader's.
    def __init__(self, content=b"", limit=container.SIZE_MAX):
        self.content = content
        self.size = len(content)
        self.limit = limit
        self.at = container.HEADER_SIZE
        self.written = bytearray(4096)
        self.used = 0

    def write(self, buf, n):
        for i in range(n):
            self.written[self.used + i] = buf[i]
        self.used += n

    def readinto(self, buf):
        n = min(len(buf), self.size - self.at)
        for i in range(n):
            buf[i] = self.content[self.at + i]
        self.at += n
        return n


chunk = bytearray(container.CHUNK_SIZE)


def opened(content, key):
    # Return (blocks that come out, whether the message turned out to be broken).
    opener = Opener(Flash(content), content[: container.HEADER_SIZE], key, chunk)
    out = bytearray(len(content))
    at = 0
    broken = False
    micropython.heap_lock()
    try:
        while True:
            n = opener.fill()
            if not n:
                break
            for i in range(n):
                out[at + i] = chunk[i]
            at += n
    except Broken:
        broken = True
    finally:
        micropython.heap_unlock()
    return bytes(out[:at]), broken
"""


@pytest.mark.parametrize("name", MESSAGES)
def test_the_toy_seals_and_opens_as_in_the_vectors(target: Target, name: str) -> None:
    """Also that neither allocates, and that blocks may come in any portions."""
    message = MESSAGES[name]
    given = {"content": FILES[name], "plain": PLAIN[name], "key": FAMILY[message["epoch"]]}
    source = """
        header = content[: container.HEADER_SIZE]
        flash = Flash(limit=len(content))
        sealer = Sealer(flash, header, key, chunk)
        room = sealer.room
        ring = Ring(bytearray(3 * 256))
        assert sealer.empty()
        micropython.heap_lock()
        try:
            at = 0
            while at < len(plain) or ring.used():
                at += ring.put(plain, at, min(256 + at % 512, len(plain) - at))
                while ring.used() >= 256:
                    sealer.take(ring)
            sealer.finish()
        finally:
            micropython.heap_unlock()
        result((bytes(flash.written[:flash.used]), room, sealer.room, opened(content, key)))
    """
    sealed, room, left, heard = run(target, source, given)
    assert sealed == FILES[name][48:]
    assert (room, left) == (len(PLAIN[name]) // 256, 0)
    assert heard == (PLAIN[name], False)


@pytest.mark.parametrize("forgery", FORGERIES, ids=lambda f: f["what"])
def test_a_forgery_is_found_before_its_chunk_is_heard(
    target: Target, forgery: dict[str, Any]
) -> None:
    content = forged(forgery)
    of = MESSAGES[forgery["of"]]
    source = """
        try:
            container.check_size(len(content))
            epoch = container.parse_header(content)[3]
            key = family.get(epoch)
            result("epoch" if key is None else opened(content, key))
        except container.ContainerError:
            result("not a message")
    """
    outcome = run(target, source, {"content": content, "family": FAMILY})
    fails = forgery["fails"]
    if fails in ("header", "epoch"):
        assert outcome == ("epoch" if fails == "epoch" else "not a message")
    elif fails == "size":
        assert outcome == "not a message" or outcome[1]
    else:
        assert outcome == (PLAIN[of["name"]][: 1024 * fails], True)


def test_a_recording_stops_where_its_room_ends(target: Target) -> None:
    """Whatever limit the flash sets, what fits into it is taken, sealed and within it."""
    source = """
        rooms = []
        for limit in (48, 319, 320, 575, 576, 1088, 1359, 1360, 2128, 3000):
            flash = Flash(limit=limit)
            sealer = Sealer(flash, bytes(header), bytes(32), chunk)
            ring = Ring(bytearray(4096))
            taken = sealer.room
            ring.put(bytes(4096), 0, 4096)
            while sealer.room:
                sealer.take(ring)
            if not sealer.empty():
                sealer.finish()
            rooms.append((taken, 48 + flash.used <= limit, 48 + flash.used))
        result(rooms)
    """
    rooms = run(target, source, {"header": FILES["one block"][:48]})
    assert [room for room, _, _ in rooms] == [0, 0, 1, 1, 2, 4, 4, 5, 8, 11]
    assert all(within for _, within, _ in rooms)


def run(target: Target, source: str, args: dict[str, Any]) -> Any:
    from host_tests.targets import dedent

    return target.run(SOURCE + dedent(source), args=args)
