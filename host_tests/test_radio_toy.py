"""The stand-in `bluetooth` behaves as MicroPython's on the ESP32 was measured to."""

from __future__ import annotations

import ast
import asyncio
import hashlib
import random
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice
from bleak.exc import BleakError, BleakGATTProtocolError
from bumble import att

from host_tests.virtual.radio import AirModel, Phone, VirtualRadio
from host_tests.virtual.toy import VirtualToy

SERVICE = "00001234-0000-1000-8000-00805f9b34fb"
INPUT = "00002345-0000-1000-8000-00805f9b34fb"
OUTPUT = "00003456-0000-1000-8000-00805f9b34fb"
CONNECT, DISCONNECT, WRITE, MTU = 1, 2, 3, 21

# What the scripts share: a service with a way in and a way out, and the events as they came.
PRELUDE = """
import asyncio, bluetooth, time
from bluetooth import FLAG_NOTIFY, FLAG_READ, FLAG_WRITE, FLAG_WRITE_NO_RESPONSE, UUID

SERVICE, INPUT, OUTPUT = UUID(0x1234), UUID(0x2345), UUID(0x3456)
ADVERTISEMENT = b"\\x02\\x01\\x06\\x03\\x03\\x34\\x12"
ble = bluetooth.BLE()
events = []

def irq(event, data):
    events.append((event,) + tuple(bytes(x) if isinstance(x, memoryview) else x for x in data))

def advertise():
    ble.gap_advertise(100_000, ADVERTISEMENT)

def serve(irq=irq, mtu=247, input=FLAG_WRITE | FLAG_WRITE_NO_RESPONSE):
    global rx, tx
    ble.irq(irq)
    ble.active(True)
    ble.config(mtu=mtu)
    ((rx, tx),) = ble.gatts_register_services(
        ((SERVICE, ((INPUT, input), (OUTPUT, FLAG_NOTIFY))),)
    )
    advertise()

def raises(function, *args, **kwargs):
    try:
        function(*args, **kwargs)
    except Exception as e:
        return type(e).__name__, e.args[0] if isinstance(e, OSError) else None

async def until(condition):
    while not condition():
        await asyncio.sleep_ms(1)

def result(value):
    print("result:", repr(value))
"""

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]
MakeToy = Callable[..., VirtualToy]


@asynccontextmanager
async def scripted(
    virtual_toy: MakeToy, script: str, model: AirModel | None = None
) -> AsyncIterator[tuple[VirtualRadio, VirtualToy]]:
    async with (
        VirtualRadio(model) as radio,
        virtual_toy(air=radio, main=PRELUDE + script) as toy,
    ):
        yield radio, toy


async def find(phone: Phone) -> BLEDevice:
    device = await BleakScanner.find_device_by_filter(
        lambda _device, data: SERVICE in data.service_uuids, timeout=5, backend=phone.scanner
    )
    assert device is not None
    return device


async def result(toy: VirtualToy, timeout: float = 30) -> Any:
    """What the script passed to its result()."""
    return ast.literal_eval((await toy.wait_console(r"^result: (.*)", timeout)).group(1))


async def test_events_are_those_of_the_binding(virtual_toy: MakeToy) -> None:
    script = """
    serve()
    async def main():
        await until(lambda: events and events[-1][0] == 2)
        result((events, rx))
    asyncio.run(main())
    """
    async with scripted(virtual_toy, dedented(script)) as (radio, toy):
        phone = radio.phone()
        async with BleakClient(await find(phone), backend=phone.client) as client:
            assert client.mtu_size == 247
            await client.write_gatt_char(INPUT, b"hello", response=True)
        events, handle = await result(toy)
        address = bytes(phone.device.random_address)[::-1]
        assert events == [
            (CONNECT, 0, 1, address),
            (MTU, 0, 247),
            (WRITE, 0, handle),
            (DISCONNECT, 0, 1, address),
        ]


async def test_what_the_handler_is_given_is_gone_afterwards(virtual_toy: MakeToy) -> None:
    script = """
    kept = []
    def irq(event, data):
        kept.append(data)
        kept.append(data[2] if event == 1 else None)
    serve(irq)
    async def main():
        await until(lambda: kept)
        result((kept[0], bytes(kept[1])))
    asyncio.run(main())
    """
    async with scripted(virtual_toy, dedented(script)) as (radio, toy):
        phone = radio.phone()
        async with BleakClient(await find(phone), backend=phone.client):
            assert await result(toy) == ((-1, -1, -1), b"\xff" * 6)


async def test_writes_are_cut_to_the_buffer_without_a_word(virtual_toy: MakeToy) -> None:
    script = """
    values = []
    def irq(event, data):
        if event == 3:
            values.append(ble.gatts_read(data[1]))
    serve(irq)
    async def main():
        await until(lambda: len(values) == 1)
        ble.gatts_set_buffer(rx, 100)
        print("bigger")
        await until(lambda: len(values) == 2)
        result(values)
    asyncio.run(main())
    """
    async with scripted(virtual_toy, dedented(script)) as (radio, toy):
        phone = radio.phone()
        async with BleakClient(await find(phone), backend=phone.client) as client:
            await client.write_gatt_char(INPUT, bytes(range(150)), response=True)
            await toy.wait_console("bigger")
            await client.write_gatt_char(INPUT, bytes(range(150)), response=False)
            assert await result(toy) == [bytes(range(20)), bytes(range(100))]


async def test_append_gathers_until_it_is_read(virtual_toy: MakeToy) -> None:
    script = """
    serve()
    ble.gatts_set_buffer(rx, 10, True)
    async def main():
        await until(lambda: sum(event[0] == 3 for event in events) == 4)
        result((ble.gatts_read(rx), ble.gatts_read(rx)))
    asyncio.run(main())
    """
    async with scripted(virtual_toy, dedented(script)) as (radio, toy):
        phone = radio.phone()
        async with BleakClient(await find(phone), backend=phone.client) as client:
            for part in (b"abc", b"def", b"ghi", b"jkl"):
                await client.write_gatt_char(INPUT, part, response=False)
            assert await result(toy) == (b"abcdefghij", b"")


async def test_a_stream_of_notifications_arrives_whole_through_enomem(
    virtual_toy: MakeToy,
) -> None:
    script = """
    serve()
    async def main():
        await until(lambda: events and events[-1][0] == 3)
        refused = sent = 0
        while sent < 500:
            try:
                ble.gatts_notify(0, tx, bytes((sent & 255,)) * 244)
                sent += 1
            except OSError as e:
                assert e.args[0] == 12
                refused += 1
                await asyncio.sleep_ms(5)
        result(refused)
        await asyncio.sleep(60)
    asyncio.run(main())
    """
    async with scripted(virtual_toy, dedented(script), AirModel(loss=0.1)) as (radio, toy):
        phone = radio.phone()
        received = bytearray()
        async with BleakClient(await find(phone), backend=phone.client) as client:
            await client.start_notify(OUTPUT, lambda _, data: received.extend(data))
            await client.write_gatt_char(INPUT, b"go", response=True)
            assert await result(toy) > 50
            await asyncio.sleep(1)
        assert received == b"".join(bytes((n & 255,)) * 244 for n in range(500))


async def test_few_notifications_fit_and_nothing_of_the_refused_is_sent(
    virtual_toy: MakeToy,
) -> None:
    script = """
    serve()
    async def main():
        await until(lambda: events and events[-1][0] == 3)
        refused = [raises(ble.gatts_notify, 0, tx, bytes((n,))) for n in range(30)]
        result(refused)
        await asyncio.sleep(60)
    asyncio.run(main())
    """
    async with scripted(virtual_toy, dedented(script)) as (radio, toy):
        radio.ble(toy).notify_buffers = 9
        phone = radio.phone()
        received = bytearray()
        async with BleakClient(await find(phone), backend=phone.client) as client:
            await client.start_notify(OUTPUT, lambda _, data: received.extend(data))
            await client.write_gatt_char(INPUT, b"go", response=True)
            assert await result(toy) == [None] * 9 + [("OSError", 12)] * 21
            await asyncio.sleep(1)
        assert received == bytes(range(9))


async def test_a_notification_is_cut_to_the_mtu_and_needs_no_subscription(
    virtual_toy: MakeToy,
) -> None:
    script = """
    serve()
    async def main():
        await until(lambda: events and events[-1][0] == 3)
        ble.gatts_notify(0, tx, bytes(100))
        print("unsubscribed")
        await until(lambda: sum(event[0] == 3 for event in events) == 2)
        ble.gatts_notify(0, tx, bytes(100))
        await asyncio.sleep(60)
    asyncio.run(main())
    """
    async with scripted(virtual_toy, dedented(script)) as (radio, toy):
        phone = radio.phone(mtu=50)
        received: list[int] = []
        async with BleakClient(await find(phone), backend=phone.client) as client:
            await client.write_gatt_char(INPUT, b"", response=True)
            await toy.wait_console("unsubscribed")
            await client.start_notify(OUTPUT, lambda _, data: received.append(len(data)))
            await client.write_gatt_char(INPUT, b"", response=True)
            await asyncio.sleep(1)
        assert received == [47]


async def test_errors_are_those_of_the_binding(virtual_toy: MakeToy) -> None:
    script = """
    service = ((SERVICE, ((INPUT, FLAG_WRITE),)),)
    inactive = [
        raises(ble.gap_advertise, 100_000),
        raises(ble.gatts_register_services, service),
        raises(ble.gatts_notify, 0, 1, b""),
        raises(ble.gatts_write, 1, b""),
        raises(ble.gatts_set_buffer, 1, 10),
        raises(ble.gap_disconnect, 0),
        raises(ble.config, mtu=100),
        raises(ble.config, addr_mode=1),
        raises(ble.config, "mac"),
    ]
    serve()
    async def main():
        idle = [
            raises(ble.config, rxbuf=500),
            raises(ble.config, mtu=5),
            raises(ble.gap_advertise, 100_000, bytes(32)),
            raises(ble.gatts_notify, 0, tx, b""),
            raises(ble.gatts_indicate, 0, tx, b""),
            ble.gap_disconnect(0),
            ble.active(),
            ble.config("mtu"),
            ble.config("gap_name"),
            ble.config("mac")[0],
            bluetooth.BLE() is ble,
        ]
        advertise()
        await until(lambda: events)
        connected = [raises(ble.gatts_register_services, service)]
        result((inactive, idle, connected))
        await asyncio.sleep(60)
    asyncio.run(main())
    """
    async with scripted(virtual_toy, dedented(script)) as (radio, toy):
        phone = radio.phone()
        async with BleakClient(await find(phone), backend=phone.client):
            inactive, idle, connected = await result(toy)
        assert inactive == [("OSError", 19)] * 9
        assert idle == [
            ("ValueError", None),
            ("OSError", 22),
            ("OSError", -18),
            ("OSError", 107),
            ("OSError", 107),
            False,
            True,
            247,
            b"MPY ESP32",
            0,
            True,
        ]
        assert connected == [("OSError", 16)]


async def test_an_exception_in_the_handler_disables_it_for_good(virtual_toy: MakeToy) -> None:
    script = """
    seen = []
    def irq(event, data):
        seen.append(event)
        if event == 3:
            raise ValueError("no")
    serve(irq)
    async def main():
        await until(lambda: 3 in seen)
        await asyncio.sleep(1)
        result((seen, ble.gatts_read(rx)))
    asyncio.run(main())
    """
    async with scripted(virtual_toy, dedented(script)) as (radio, toy):
        phone = radio.phone()
        async with BleakClient(await find(phone), backend=phone.client) as client:
            await client.write_gatt_char(INPUT, b"first", response=True)
            await client.write_gatt_char(INPUT, b"second", response=True)
        assert await result(toy) == ([CONNECT, MTU, WRITE], b"second")
        assert "Unhandled exception in IRQ callback handler" in toy.console
        assert any("ValueError: no" in line for line in toy.console)


async def test_the_handler_has_a_heap_lock_of_its_own(virtual_toy: MakeToy) -> None:
    script = """
    import micropython
    made = []
    def irq(event, data):
        if event == 3:
            made.append((micropython.heap_locked(), bytes(100) + ble.gatts_read(data[1])))
    serve(irq)
    def sleep_locked():
        micropython.heap_lock()
        micropython.heap_lock()
        time.sleep_ms(1000)
        depth = micropython.heap_locked()
        micropython.heap_unlock()
        micropython.heap_unlock()
        return depth
    async def main():
        await until(lambda: made)
        made.clear()
        result((sleep_locked(), made))
    asyncio.run(main())
    """
    async with scripted(virtual_toy, dedented(script)) as (radio, toy):
        phone = radio.phone()
        async with BleakClient(await find(phone), backend=phone.client) as client:
            await client.write_gatt_char(INPUT, b"x", response=True)
            await asyncio.sleep(0.5)
            await client.write_gatt_char(INPUT, b"y", response=True)
            assert await result(toy) == (2, [(0, bytes(100) + b"y")])


async def test_advertising_stops_on_connect_and_does_not_resume(virtual_toy: MakeToy) -> None:
    script = """
    serve()
    async def main():
        await until(lambda: events and events[-1][0] == 2)
        await asyncio.sleep(3)
        advertise()
        await asyncio.sleep(60)
    asyncio.run(main())
    """
    async with scripted(virtual_toy, dedented(script)) as (radio, _):
        phone, other = radio.phone(), radio.phone()
        async with BleakClient(await find(phone), backend=phone.client):
            assert await BleakScanner.discover(2, backend=other.scanner) == []
        assert await BleakScanner.discover(2, backend=other.scanner) == []
        await find(other)


async def test_three_phones_at_once_and_a_fourth_cannot_connect(virtual_toy: MakeToy) -> None:
    script = """
    def irq(event, data):
        events.append((event, data[0]))
        if event in (1, 2):
            refused = raises(advertise)
            if refused:
                events.append(refused)
    serve(irq)
    async def main():
        await until(lambda: sum(event[0] == 3 for event in events) == 3)
        result([event for event in events if event[0] != 21])
        await asyncio.sleep(60)
    asyncio.run(main())
    """
    async with scripted(virtual_toy, dedented(script)) as (radio, toy):
        phones = [radio.phone() for _ in range(4)]
        device = await find(phones[3])
        clients = []
        for phone in phones[:3]:
            client = BleakClient(await find(phone), backend=phone.client)
            await client.connect()
            clients.append(client)
        with pytest.raises(TimeoutError):
            await BleakClient(device, timeout=3, backend=phones[3].client).connect()
        for client in clients:
            await client.write_gatt_char(INPUT, b"here", response=True)
        assert await result(toy) == [
            (CONNECT, 0),
            (CONNECT, 1),
            (CONNECT, 2),
            ("OSError", 12),
            (WRITE, 0),
            (WRITE, 1),
            (WRITE, 2),
        ]
        await clients[1].disconnect()
        await asyncio.sleep(1)
        async with BleakClient(
            await find(phones[3]), timeout=3, backend=phones[3].client
        ) as client:
            assert client.is_connected
        for client in clients:
            await client.disconnect()


@pytest.mark.parametrize("how", ["drop", "out of range"])
async def test_a_lost_link_in_mid_stream_is_a_disconnect_on_both_sides(
    virtual_toy: MakeToy, how: str
) -> None:
    script = """
    serve()
    async def main():
        await until(lambda: events and events[-1][0] == 3)
        n = 0
        while not any(event[0] == 2 for event in events):
            try:
                ble.gatts_notify(0, tx, bytes(244))
                n += 1
            except OSError as e:
                assert e.args[0] == 12
                await asyncio.sleep_ms(10)
        print("disconnected", time.ticks_ms())
        result((n, raises(ble.gatts_notify, 0, tx, b"")))
        await asyncio.sleep(60)
    asyncio.run(main())
    """
    async with scripted(virtual_toy, dedented(script)) as (radio, toy):
        phone = radio.phone()
        gone: list[float] = []
        loop = asyncio.get_running_loop()
        client = BleakClient(
            await find(phone), lambda _: gone.append(loop.time()), backend=phone.client
        )
        await client.connect()
        received = bytearray()
        await client.start_notify(OUTPUT, lambda _, data: received.extend(data))
        await client.write_gatt_char(INPUT, b"go", response=True)
        await asyncio.sleep(1)
        left = loop.time()
        if how == "drop":
            radio.drop(toy)
        else:
            radio.out_of_range(toy)
        sent, error = await result(toy)
        assert error == ("OSError", 107)
        assert 0 <= sent - len(received) // 244 <= 13
        expected = 0 if how == "drop" else radio.model.supervision_timeout
        assert gone == [pytest.approx(left + expected, abs=0.001)]
        assert not client.is_connected


async def test_pairing_encrypts_and_says_so(virtual_toy: MakeToy) -> None:
    script = """
    serve()
    async def main():
        await until(lambda: events and events[-1][0] == 28)
        result(events[-1])
    asyncio.run(main())
    """
    async with scripted(virtual_toy, dedented(script)) as (radio, toy):
        phone = radio.phone()
        async with BleakClient(await find(phone), backend=phone.client) as client:
            await client.pair()
            event, conn, encrypted, _authenticated, bonded, key_size = await result(toy)
            assert (event, conn, encrypted, bonded, key_size) == (28, 0, 1, 0, 16)


async def test_a_new_connection_interval_is_an_event_and_holds(virtual_toy: MakeToy) -> None:
    script = """
    serve()
    async def main():
        await until(lambda: events and events[-1][0] == 27)
        result(events[-1])
        await asyncio.sleep(60)
    asyncio.run(main())
    """
    loop = asyncio.get_running_loop()
    async with scripted(virtual_toy, dedented(script)) as (radio, toy):
        phone = radio.phone()
        async with BleakClient(await find(phone), backend=phone.client) as client:
            (connection,) = phone.device.connections.values()
            await connection.update_parameters(100, 100, 0, 2000)
            assert await result(toy) == (27, 0, 80, 0, 200, 0)
            began = loop.time()
            for _ in range(10):
                await client.write_gatt_char(INPUT, b"", response=True)
            assert 1.9 <= loop.time() - began <= 2.2


async def test_the_toy_hangs_up(virtual_toy: MakeToy) -> None:
    script = """
    serve()
    async def main():
        await until(lambda: events)
        await asyncio.sleep_ms(1500)
        result((ble.gap_disconnect(0), ble.gap_disconnect(2)))
        await asyncio.sleep(60)
    asyncio.run(main())
    """
    async with scripted(virtual_toy, dedented(script)) as (radio, toy):
        phone = radio.phone()
        gone = asyncio.Event()
        client = BleakClient(await find(phone), lambda _: gone.set(), backend=phone.client)
        await client.connect()
        async with asyncio.timeout(2):
            await gone.wait()
        assert await result(toy) == (True, False)
        with pytest.raises(BleakError):
            await client.write_gatt_char(INPUT, b"", response=False)


async def test_a_power_cut_is_noticed_by_the_supervision_timeout(virtual_toy: MakeToy) -> None:
    script = """
    serve()
    asyncio.run(asyncio.sleep(60))
    """
    async with scripted(virtual_toy, dedented(script)) as (radio, toy):
        phone = radio.phone()
        gone = asyncio.Event()
        loop = asyncio.get_running_loop()
        client = BleakClient(await find(phone), lambda _: gone.set(), backend=phone.client)
        await client.connect()
        began = loop.time()
        toy.power_cut()
        await gone.wait()
        assert loop.time() - began == pytest.approx(radio.model.supervision_timeout)
        await toy.restart()
        async with BleakClient(await find(phone), backend=phone.client) as client:
            assert client.is_connected


async def test_what_may_not_be_read_or_written_is_refused(virtual_toy: MakeToy) -> None:
    script = """
    ble.irq(lambda event, data: 0x80 if event == 4 and data[1] == secret else 0)
    ble.active(True)
    ((rx, tx, secret),) = ble.gatts_register_services((
        (SERVICE, ((INPUT, FLAG_WRITE), (OUTPUT, FLAG_READ), (UUID(0x4567), FLAG_READ))),
    ))
    ble.gatts_write(tx, bytes(range(100)))
    advertise()
    asyncio.run(asyncio.sleep(60))
    """
    async with scripted(virtual_toy, dedented(script)) as (radio, _):
        phone = radio.phone(mtu=50)
        async with BleakClient(await find(phone), backend=phone.client) as client:
            assert await client.read_gatt_char(OUTPUT) == bytes(range(100))
            assert await client.read_gatt_char("2a00") == b"MPY ESP32"
            for call, code in (
                (client.read_gatt_char(INPUT), 0x02),
                (client.write_gatt_char(OUTPUT, b"x", response=True), 0x03),
                (client.read_gatt_char("4567"), 0x80),
                (client.write_gatt_char("2a00", b"mine", response=True), 0x03),
            ):
                with pytest.raises(BleakGATTProtocolError) as error:
                    await call
                assert error.value.code == code


async def test_declarations_cannot_be_written(virtual_toy: MakeToy) -> None:
    async with scripted(virtual_toy, "serve()\nasyncio.run(asyncio.sleep(60))\n") as (radio, _):
        phone = radio.phone()
        async with BleakClient(await find(phone), backend=phone.client) as client:
            (connection,) = phone.device.connections.values()
            handles = [service.handle for service in client.services]
            handles += [value.handle - 1 for value in client.services.characteristics.values()]
            for handle in handles:
                with pytest.raises(att.ATT_Error) as error:
                    await connection.gatt_client.write_value(handle, b"mine", True)
                assert error.value.error_code == att.ATT_WRITE_NOT_PERMITTED_ERROR


@pytest.mark.parametrize("mode", [0, 1, 2, 3])
async def test_every_kind_of_address_can_be_connected_to(virtual_toy: MakeToy, mode: int) -> None:
    script = f"""
    serve()
    ble.gap_advertise(None)
    ble.config(addr_mode={mode})
    advertise()
    result(raises(ble.config, "mac") or ble.config("mac")[0])
    asyncio.run(asyncio.sleep(60))
    """
    async with scripted(virtual_toy, dedented(script)) as (radio, toy):
        assert await result(toy) == [0, 1, ("OSError", 22), 1][mode]
        phone = radio.phone()
        device = await find(phone)
        if mode:
            assert int(device.address[:2], 16) >> 6 == [None, 3, 1, 0][mode]
        async with BleakClient(device, backend=phone.client) as client:
            await client.write_gatt_char(INPUT, b"hello", response=True)


async def test_a_long_message_crosses_at_the_speed_of_the_air(virtual_toy: MakeToy) -> None:
    script = """
    import hashlib
    size = 324_000
    digest, count = hashlib.sha256(), 0
    def irq(event, data):
        global count
        if event == 3:
            value = ble.gatts_read(rx)
            digest.update(value)
            count += len(value)
    serve(irq)
    ble.gatts_set_buffer(rx, 512)
    async def main():
        await until(lambda: count == size)
        result(digest.digest())
        sent = 0
        piece = bytes(range(244))
        while sent < size:
            try:
                ble.gatts_notify(0, tx, piece[: size - sent])
                sent += len(piece)
            except OSError:
                await asyncio.sleep_ms(10)
        await asyncio.sleep(60)
    asyncio.run(main())
    """
    size = 324_000
    data = random.Random(3).randbytes(size)
    loop = asyncio.get_running_loop()
    async with scripted(virtual_toy, dedented(script)) as (radio, toy):
        phone = radio.phone(mtu=247)
        received = bytearray()
        async with BleakClient(await find(phone), backend=phone.client) as client:
            await client.start_notify(OUTPUT, lambda _, data: received.extend(data))
            began = loop.time()
            for at in range(0, size, 244):
                await client.write_gatt_char(INPUT, data[at : at + 244], response=False)
            assert await result(toy) == hashlib.sha256(data).digest()
            written = loop.time()
            while len(received) < size:
                await asyncio.sleep(0.005)
            notified = loop.time()
        rate = radio.model.throughput(247)
        assert size / (written - began) == pytest.approx(rate, rel=0.05)
        assert size / (notified - written) == pytest.approx(rate, rel=0.05)
        assert received == (bytes(range(244)) * 1328)[:size]


async def test_a_slow_toy_makes_the_phone_wait_and_loses_nothing(virtual_toy: MakeToy) -> None:
    script = """
    import hashlib
    digest, count = hashlib.sha256(), 0
    def irq(event, data):
        global count
        if event == 3:
            value = ble.gatts_read(rx)
            digest.update(value)
            count += len(value)
    serve(irq)
    ble.gatts_set_buffer(rx, 512)
    async def main():
        import bus
        while count < 40_000:
            await asyncio.sleep_ms(50)
            bus.stall(200_000)  # as when it erases a flash block
        result(digest.digest())
    asyncio.run(main())
    """
    data = random.Random(2).randbytes(40_000)
    async with scripted(virtual_toy, dedented(script)) as (radio, toy):
        phone = radio.phone(mtu=247)
        async with BleakClient(await find(phone), backend=phone.client) as client:
            for at in range(0, len(data), 244):
                await client.write_gatt_char(INPUT, data[at : at + 244], response=False)
            assert await result(toy) == hashlib.sha256(data).digest()


def dedented(script: str) -> str:
    return re.sub(r"(?m)^    ", "", script)
