"""What goes through bleak: bytes in pieces that the link can carry, bounded on the way in."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from bleak.exc import BleakError

from hushbear import wire
from hushbear_companion.errors import LinkLost
from hushbear_companion.transport import BleakStream


class Peer:
    """Stands in for a connected BleakClient; `size` is what a write may hold."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.writes: list[bytes] = []
        self.error: Exception | None = None
        self.connected = True
        peer = self

        class Characteristic:
            @property
            def max_write_without_response_size(self) -> int:
                return peer.size

        found = {wire.TO_TOY_UUID: Characteristic(), wire.TO_PHONE_UUID: Characteristic()}
        self.services = SimpleNamespace(get_characteristic=found.get)

    async def start_notify(self, _: object, callback: Any) -> None:
        self.notify = callback

    async def write_gatt_char(self, _: object, data: bytes, response: bool) -> None:
        assert not response
        if self.error:
            raise self.error
        self.writes.append(data)

    async def disconnect(self) -> None:
        self.connected = False


async def connected(size: int) -> tuple[BleakStream, Peer]:
    stream, peer = BleakStream(), Peer(size)
    await stream.start(peer)  # type: ignore[arg-type]
    return stream, peer


@pytest.mark.parametrize(
    ("size", "used"),
    [(20, 20), (182, 182), (243, 243), (244, 244), (300, 244), (494, 244), (495, 495), (600, 495)],
)
async def test_writes_are_as_long_as_the_link_allows_in_whole_packets(
    size: int, used: int
) -> None:
    stream, peer = await connected(size)
    data = bytes(range(256)) * 8
    await stream.write(data)
    assert b"".join(peer.writes) == data
    assert {len(piece) for piece in peer.writes[:-1]} == {used}


async def test_a_size_that_becomes_known_later_is_used() -> None:
    peer = Peer(20)
    stream = BleakStream()
    asyncio.get_running_loop().call_later(0.05, setattr, peer, "size", 244)
    await stream.start(peer)  # type: ignore[arg-type]
    assert stream.write_size() == 244


async def test_what_the_toy_says_is_read_in_order_until_the_link_ends() -> None:
    stream, peer = await connected(244)
    reading = asyncio.create_task(stream.read())
    await asyncio.sleep(0)
    peer.notify(None, bytearray(b"ab"))
    peer.notify(None, bytearray(b"c"))
    assert await reading == b"abc"
    assert stream.read_nowait() == b""
    peer.notify(None, bytearray(b"d"))
    stream.ended()
    peer.notify(None, bytearray(b"e"))
    assert [await stream.read(), await stream.read()] == [b"d", b""]


async def test_a_flood_that_nobody_asked_for_ends_the_link() -> None:
    stream, peer = await connected(244)
    for _ in range(1000):
        peer.notify(None, bytearray(500))
    assert await stream.read() == b""
    with pytest.raises(LinkLost):
        await stream.write(b"x")


@pytest.mark.parametrize("error", [BleakError("gone"), OSError(5, "gone"), EOFError()])
async def test_whatever_bleak_raises_is_a_lost_link(error: Exception) -> None:
    stream, peer = await connected(244)
    peer.error = error
    with pytest.raises(LinkLost):
        await stream.write(b"x")


async def test_close_disconnects_even_when_that_fails() -> None:
    stream, peer = await connected(244)
    await stream.close()
    assert not peer.connected

    async def fail() -> None:
        raise BleakError("busy")

    peer.disconnect = fail  # type: ignore[method-assign]
    await stream.close()


async def test_a_device_without_the_characteristics_is_no_toy() -> None:
    peer = Peer(244)
    peer.services = SimpleNamespace(get_characteristic=lambda _: None)
    with pytest.raises(BleakError):
        await BleakStream().start(peer)  # type: ignore[arg-type]


def test_a_computer_without_bluetooth_gets_one_line() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hushbear_companion", "scan", "--seconds", "1"],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin", "DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/nowhere"},
    )
    assert done.returncode in (3, 12) and len(done.stderr.splitlines()) == 1
