"""What was done to the toy of 2017, tried on this one by a phone that holds no key.

Each attempt gets a connection of its own, does its worst, and reports what came of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Protocol

from bleak import BleakClient, BleakScanner
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.exc import BleakError, BleakGATTProtocolError

from hushbear import upkeep_wire, wire
from hushbear_companion.framing import frame
from hushbear_companion.noise import Initiator

PATIENCE = 8.0  # s: longer than the toy gives anybody to finish a handshake


@dataclass
class Outcome:
    """What an attempt got: bytes from the toy, and whether the toy ended the connection."""

    attempt: str
    learned: bytes
    closed: bool

    @property
    def refused(self) -> bool:
        return self.closed and not self.learned


class Device(Protocol):
    """Backend classes for bleak; None: the system's Bluetooth."""

    @property
    def scanner(self) -> Any: ...

    @property
    def client(self) -> Any: ...


class Stranger:
    """Somebody in the next room, with a phone and no key.

    For so many seconds at most they wait for what the toy does, which advertises `service`.
    """

    def __init__(
        self, phone: Device, patience: float = PATIENCE, service: str = wire.SERVICE_UUID
    ) -> None:
        self._phone = phone
        self._patience = patience
        self._service = service
        self._heard = bytearray()

    async def attempts(self) -> AsyncIterator[Outcome]:
        """Make each attempt in turn."""
        yield await self._attempt("connect, read everything, and listen", self._read_all)
        yield await self._attempt("upload a recording", self._upload)
        yield await self._attempt("play it", self._play)
        yield await self._attempt("switch the microphone on", self._switch_on)
        yield await self._attempt("fetch a recording", self._fetch)
        yield await self._attempt("set the light and the volume", self._set)
        yield await self._attempt("replace the firmware", self._replace)
        yield await self._attempt("shake hands with the keys everybody tries", self._guess)

    async def _attempt(self, name: str, act: Callable[[BleakClient], Awaitable[None]]) -> Outcome:
        self._heard.clear()
        device = await BleakScanner.find_device_by_filter(
            lambda _, seen: self._service in seen.service_uuids, backend=self._phone.scanner
        )
        if device is None:
            raise RuntimeError("the stranger sees no toy")
        ended = asyncio.Event()
        async with BleakClient(
            device, disconnected_callback=lambda _: ended.set(), backend=self._phone.client
        ) as client:
            with contextlib.suppress(BleakError):  # the toy may hang up at any moment
                await client.start_notify(wire.TO_PHONE_UUID, self._on_notification)
                await act(client)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._patience):
                    await ended.wait()
            return Outcome(name, bytes(self._heard), ended.is_set())

    def _on_notification(self, _: BleakGATTCharacteristic, data: bytearray) -> None:
        self._heard += data

    async def _read_all(self, client: BleakClient) -> None:
        for service in client.services:
            for characteristic in service.characteristics:
                with contextlib.suppress(BleakGATTProtocolError):
                    value = await client.read_gatt_char(characteristic)
                    self._heard += value.strip(b"\0")  # "no name", "no appearance"

    async def _upload(self, client: BleakClient) -> None:
        await self._write(client, bytes([0, 1, *range(16)]))
        for _ in range(20):
            await self._write(client, bytes(20))

    async def _play(self, client: BleakClient) -> None:
        await self._write(client, bytes([1, 1]))

    async def _switch_on(self, client: BleakClient) -> None:
        for command in (b"\x02", b"\x01\x00\x02", struct.pack("<HBB", 2, 0x02, 0)):
            await self._write(client, command)

    async def _fetch(self, client: BleakClient) -> None:
        request = struct.pack(wire.FETCH_REQUEST, bytes(16), 0, 1 << 20)
        await self._write(client, frame(bytes([upkeep_wire.LIST, 1, wire.OUTBOX, 0, 0, 0, 0])))
        await self._write(client, frame(bytes([wire.FETCH, 2]) + request))

    async def _set(self, client: BleakClient) -> None:
        for value in (b"\xff\xff\xff", b"\x64"):
            await self._write(client, value)

    async def _replace(self, client: BleakClient) -> None:
        """An image in pieces, to whatever there is that can be written."""
        for service in client.services:
            for characteristic in service.characteristics:
                if {"write", "write-without-response"} & set(characteristic.properties):
                    for at in range(0, 400, 20):
                        piece = struct.pack("<I", at) + b"\xe9" * 16
                        await client.write_gatt_char(characteristic, piece, response=False)

    async def _guess(self, client: BleakClient) -> None:
        for key in (bytes(32), bytes(range(32)), b"\xff" * 32):
            await self._write(client, frame(Initiator(key, wire.PROLOGUE).write_1()))

    async def _write(self, client: BleakClient, data: bytes) -> None:
        await client.write_gatt_char(wire.TO_TOY_UUID, data, response=False)
