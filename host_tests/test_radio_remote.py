"""A phone in another process joins the virtual air over TCP, in real time."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable

import pytest
from bleak import BleakClient, BleakScanner

from host_tests.targets import ROOT
from host_tests.test_radio_toy import INPUT, OUTPUT, PRELUDE, SERVICE, result
from host_tests.virtual.radio import VirtualRadio
from host_tests.virtual.toy import VirtualToy
from hushbear_companion.bumble_backend import open_radio

pytestmark = pytest.mark.targets("unix")

ECHO = """
queue = []
def irq(event, data):
    if event == 3:
        queue.append(ble.gatts_read(rx))
    elif event == 2:
        advertise()
serve(irq)
ble.gatts_set_buffer(rx, 512)
async def main():
    n = 0
    while True:
        await until(lambda: queue)
        n += 1
        print("received", n)
        while True:
            try:
                ble.gatts_notify(0, tx, queue[0])
                break
            except OSError as e:
                if e.args[0] != 12:
                    break
                await asyncio.sleep_ms(5)
        queue.pop(0)
asyncio.run(main())
"""

PHONE = """
import asyncio, sys
from bleak import BleakClient, BleakScanner
from hushbear_companion.bumble_backend import open_radio

async def main(spec, service, input, output, text):
    async with open_radio(spec) as radio:
        device = await BleakScanner.find_device_by_filter(
            lambda device, data: service in data.service_uuids, timeout=10, backend=radio.scanner
        )
        async with BleakClient(device, backend=radio.client) as client:
            echo = asyncio.Queue()
            await client.start_notify(output, lambda _, data: echo.put_nowait(bytes(data)))
            for _ in range(20):
                await client.write_gatt_char(input, text.encode(), response=False)
            async with asyncio.timeout(10):
                print(*[(await echo.get()).decode() for _ in range(20)])

asyncio.run(main(*sys.argv[1:]))
"""


async def phone_process(port: int, text: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PHONE, f"tcp-client:127.0.0.1:{port}"),
        *(SERVICE, INPUT, OUTPUT, text),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "companion")])},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


async def test_processes_join_by_tcp(virtual_toy: Callable[..., VirtualToy]) -> None:
    async with VirtualRadio() as radio, virtual_toy(air=radio, main=PRELUDE + ECHO):
        port = await radio.serve_hci()
        assert (await phone_process(port, "one")).split() == ["one"] * 20
        assert (await phone_process(port, "two")).split() == ["two"] * 20


async def test_a_process_that_ends_is_disconnected(
    virtual_toy: Callable[..., VirtualToy],
) -> None:
    script = """
serve()
async def main():
    await until(lambda: events and events[-1][0] == 2)
    result([event[0] for event in events])
asyncio.run(main())
"""
    async with VirtualRadio() as radio, virtual_toy(air=radio, main=PRELUDE + script) as toy:
        port = await radio.serve_hci()
        async with open_radio(f"tcp-client:127.0.0.1:{port}") as phone:
            device = await BleakScanner.find_device_by_filter(
                lambda _, data: SERVICE in data.service_uuids, timeout=5, backend=phone.scanner
            )
            assert device is not None
            await BleakClient(device, backend=phone.client).connect()
        assert await result(toy) == [1, 21, 2]


async def test_a_wrong_spec_is_an_error_that_says_so(unused_tcp_port: int) -> None:
    with pytest.raises(ValueError, match="unknown radio 'smoke:signals'"):
        async with open_radio("smoke:signals"):
            pass
    with pytest.raises(OSError, match="Connect call failed"):
        async with open_radio(f"tcp-client:127.0.0.1:{unused_tcp_port}"):
            pass


async def test_a_radio_that_goes_away_ends_the_connection(
    virtual_toy: Callable[..., VirtualToy],
) -> None:
    async with VirtualRadio() as radio, virtual_toy(air=radio, main=PRELUDE + ECHO):
        port = await radio.serve_hci()
        async with open_radio(f"tcp-client:127.0.0.1:{port}") as phone:
            device = await BleakScanner.find_device_by_filter(
                lambda _, data: SERVICE in data.service_uuids, timeout=5, backend=phone.scanner
            )
            assert device is not None
            gone = asyncio.Event()
            client = BleakClient(device, lambda _: gone.set(), backend=phone.client)
            await client.connect()
            await radio.close()
            async with asyncio.timeout(5):
                await gone.wait()
            assert not client.is_connected
