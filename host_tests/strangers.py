"""A stranger's radio near a toy: connections that write what they like."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from bleak import BleakClient, BleakScanner
from bleak.exc import BleakError

from host_tests.virtual.radio import Phone
from hushbear import wire


@contextlib.asynccontextmanager
async def connection(phone: Phone, heard: bytearray) -> AsyncIterator[BleakClient]:
    """A stranger's connection, whose notifications gather in `heard`."""
    device = await BleakScanner.find_device_by_filter(
        lambda _, seen: wire.SERVICE_UUID in seen.service_uuids, backend=phone.scanner
    )
    assert device, "no toy advertises"
    async with BleakClient(device, backend=phone.client) as bleak:
        await bleak.start_notify(wire.TO_PHONE_UUID, lambda _, data: heard.extend(data))
        yield bleak


async def hung_up(bleak: BleakClient, within: float) -> bool:
    """Wait for the toy to end the connection; return whether it did in time."""
    for _ in range(round(within * 100)):
        if not bleak.is_connected:
            return True
        await asyncio.sleep(0.01)
    return False


async def send(bleak: BleakClient, data: bytes) -> None:
    with contextlib.suppress(BleakError):  # the toy may have hung up
        await bleak.write_gatt_char(wire.TO_TOY_UUID, data, response=False)
