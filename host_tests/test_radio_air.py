"""The virtual air: how fast, how far, and what is lost. A bumble peripheral stands for the toy."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from bleak import BleakClient, BleakScanner
from bleak.backends.device import BLEDevice
from bleak.exc import BleakDeviceNotFoundError, BleakError, BleakGATTProtocolError
from bumble import att, gatt
from bumble.core import AdvertisingData
from bumble.device import Connection, Device
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.host import Host

from host_tests.virtual.controller import AirController
from host_tests.virtual.radio import AirModel, Phone, VirtualRadio

SERVICE = "5c1f0001-b5a3-f393-e0a9-e50e24dcca9e"
INPUT = "5c1f0002-b5a3-f393-e0a9-e50e24dcca9e"
OUTPUT = "5c1f0003-b5a3-f393-e0a9-e50e24dcca9e"
MESSAGE = random.Random(1).randbytes(324_000)  # as much as 40 s of speech

pytestmark = pytest.mark.virtual_time


def now() -> float:
    return asyncio.get_running_loop().time()


class Peripheral:
    """Gathers what is written, notifies what it is told to, lets anybody connect again."""

    def __init__(self, radio: VirtualRadio) -> None:
        self.controller = AirController("peripheral", radio.air)
        self.device = Device(
            name="peripheral",
            address=radio.air.random_address(),
            host=Host(self.controller, self.controller),
        )
        self.received = bytearray()
        self.connections: list[Connection] = []
        self.disconnected_at: list[float] = []
        self.device.on("connection", self._on_connection)
        self.input = Characteristic(
            INPUT,
            Characteristic.Properties.WRITE | Characteristic.Properties.WRITE_WITHOUT_RESPONSE,
            Characteristic.WRITEABLE,
            CharacteristicValue(read=self._refuse, write=self._on_write),
        )
        self.output = Characteristic(
            OUTPUT, Characteristic.Properties.NOTIFY, Characteristic.READABLE, b""
        )
        self.device.add_service(Service(SERVICE, [self.input, self.output]))

    async def start(self) -> None:
        if not self.device.powered_on:
            await self.device.power_on()
        uuid = gatt.UUID(SERVICE).to_pdu_bytes()
        kind = AdvertisingData.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS
        await self.device.start_advertising(
            advertising_data=bytes(AdvertisingData([(kind, uuid)])),
            advertising_interval_min=100,
            advertising_interval_max=100,
        )

    async def notify(self, data: bytes) -> None:
        connection = self.connections[-1]
        size = connection.att_mtu - 3
        for at in range(0, len(data), size):
            piece = data[at : at + size]
            await self.device.notify_subscriber(connection, self.output, piece, force=True)

    def _refuse(self, _connection: Connection) -> bytes:
        raise att.ATT_Error(error_code=att.ATT_READ_NOT_PERMITTED_ERROR)

    def _on_write(self, _connection: Connection, value: bytes) -> None:
        self.received += value

    def _on_connection(self, connection: Connection) -> None:
        self.connections.append(connection)
        connection.on("disconnection", lambda _: self.disconnected_at.append(now()))


@asynccontextmanager
async def on_air(model: AirModel | None = None) -> AsyncIterator[tuple[VirtualRadio, Peripheral]]:
    async with VirtualRadio(model) as radio:
        peripheral = Peripheral(radio)
        await peripheral.start()
        yield radio, peripheral


async def find(phone: Phone) -> BLEDevice:
    device = await BleakScanner.find_device_by_filter(
        lambda _device, data: SERVICE in data.service_uuids, timeout=5, backend=phone.scanner
    )
    assert device is not None
    return device


async def write_all(client: BleakClient, data: bytes) -> None:
    characteristic = client.services.get_characteristic(INPUT)
    assert characteristic is not None
    size = characteristic.max_write_without_response_size
    for at in range(0, len(data), size):
        await client.write_gatt_char(characteristic, data[at : at + size], response=False)
    # Writes with response come after those without, so the answer to one says that all are there.
    await client.write_gatt_char(characteristic, b"", response=True)


async def test_a_phone_scans_connects_writes_and_is_notified() -> None:
    async with on_air() as (radio, peripheral):
        phone = radio.phone()
        notified: list[bytes] = []
        async with BleakClient(await find(phone), backend=phone.client) as client:
            await client.start_notify(OUTPUT, lambda _, data: notified.append(bytes(data)))
            await client.write_gatt_char(INPUT, b"with response", response=True)
            await client.write_gatt_char(INPUT, b", and without", response=False)
            await peripheral.notify(b"hello")
            await asyncio.sleep(0.1)
            await client.stop_notify(OUTPUT)
            await peripheral.notify(b"nobody listens any more")
            await asyncio.sleep(0.1)
        assert peripheral.received == b"with response, and without"
        assert notified == [b"hello"]
        assert not client.is_connected


async def test_the_scanner_sees_only_the_service_it_asks_for() -> None:
    async with on_air() as (radio, _):
        phone = radio.phone()
        seen = await BleakScanner.discover(
            2, return_adv=True, service_uuids=[SERVICE], backend=phone.scanner
        )
        ((_, data),) = seen.values()
        assert data.service_uuids == [SERVICE]
        assert data.local_name is None
        assert abs(data.rssi - radio.model.rssi) <= 3
        other = await BleakScanner.discover(
            2, service_uuids=["0000feed-0000-1000-8000-00805f9b34fb"], backend=phone.scanner
        )
        assert other == []


@pytest.mark.parametrize("data", ["03ffff", "0209ff", "0aff", "02ff01", "0416120203", "00000000"])
async def test_a_malformed_advertisement_does_not_stop_a_scan(data: str) -> None:
    async with on_air() as (radio, _):
        stranger, phone = AirController("stranger", radio.air), radio.phone()
        stranger.random_address = radio.air.random_address()
        stranger.le_legacy_advertiser.advertising_data = bytes.fromhex(data)
        stranger.le_legacy_advertiser.own_address_type = 1
        stranger.le_legacy_advertiser.advertising_interval_min = 32
        stranger.le_legacy_advertiser.start()
        seen = await BleakScanner.discover(2, return_adv=True, backend=phone.scanner)
        assert [SERVICE] in [data.service_uuids for _, data in seen.values()]


@pytest.mark.parametrize(
    ("interval", "mtu"), [(0.015, 247), (0.015, 185), (0.03, 247), (0.0075, 512), (0.015, 23)]
)
async def test_throughput_is_that_of_the_connection_events(interval: float, mtu: int) -> None:
    async with on_air(AirModel(interval=interval)) as (radio, peripheral):
        phone = radio.phone(mtu=mtu)
        received = bytearray()
        async with BleakClient(await find(phone), backend=phone.client) as client:
            assert client.mtu_size == mtu
            await client.start_notify(OUTPUT, lambda _, data: received.extend(data))
            message = MESSAGE[:50_000]
            began = now()
            await write_all(client, message)
            assert len(message) / (now() - began) == pytest.approx(
                radio.model.throughput(mtu), rel=0.06
            )
            began = now()
            await peripheral.notify(message)
            while len(received) < len(message):
                await asyncio.sleep(0.001)
            assert len(message) / (now() - began) == pytest.approx(
                radio.model.throughput(mtu), rel=0.06
            )
        assert peripheral.received == message
        assert received == message


async def test_a_long_message_takes_what_it_takes_on_a_good_phone() -> None:
    # 94 KB/s was measured at 15 ms and 6 packets of 244 bytes.
    async with on_air() as (radio, peripheral):
        phone = radio.phone(mtu=247)
        async with BleakClient(await find(phone), backend=phone.client) as client:
            began = now()
            await write_all(client, MESSAGE)
            assert len(MESSAGE) / (now() - began) == pytest.approx(96_000, rel=0.03)
        assert peripheral.received == MESSAGE


async def test_two_phones_share_the_time_of_one_radio() -> None:
    async with on_air() as (radio, peripheral):
        phones = [radio.phone(mtu=247) for _ in range(2)]
        clients = []
        for phone in phones:
            clients.append(BleakClient(await find(phone), backend=phone.client))
            await clients[-1].connect()
            await peripheral.start()
        began = now()
        await asyncio.gather(*(write_all(client, MESSAGE[:50_000]) for client in clients))
        assert len(peripheral.received) == 100_000
        assert 100_000 / (now() - began) == pytest.approx(radio.model.throughput(247), rel=0.05)
        for client in clients:
            await client.disconnect()


async def test_loss_slows_but_never_corrupts() -> None:
    async with on_air(AirModel(loss=0.3)) as (radio, peripheral):
        phone = radio.phone(mtu=247)
        received = bytearray()
        async with BleakClient(await find(phone), backend=phone.client) as client:
            await client.start_notify(OUTPUT, lambda _, data: received.extend(data))
            message = MESSAGE[:150_000]
            began = now()
            await asyncio.gather(write_all(client, message), peripheral.notify(message))
            while len(received) < len(message):
                await asyncio.sleep(0.001)
            assert len(message) / (now() - began) == pytest.approx(
                radio.model.throughput(247), rel=0.1
            )
        assert peripheral.received == message
        assert received == message


async def test_latency_delays_and_keeps_the_order() -> None:
    async with on_air(AirModel(latency=0.1)) as (radio, peripheral):
        phone = radio.phone(mtu=247)
        async with BleakClient(await find(phone), backend=phone.client) as client:
            began = now()
            await client.write_gatt_char(INPUT, b"", response=True)
            assert 0.2 <= now() - began <= 0.25
            await write_all(client, MESSAGE[:50_000])
        assert peripheral.received == MESSAGE[:50_000]


async def test_out_of_range_ends_by_the_supervision_timeout() -> None:
    async with on_air(AirModel(supervision_timeout=3)) as (radio, peripheral):
        phone = radio.phone()
        gone: list[float] = []
        client = BleakClient(await find(phone), lambda _: gone.append(now()), backend=phone.client)
        await client.connect()
        left = now()
        radio.out_of_range(phone)
        with pytest.raises(BleakError):
            await client.write_gatt_char(INPUT, b"lost", response=True)
        assert gone == peripheral.disconnected_at == [pytest.approx(left + 3)]
        assert not client.is_connected
        with pytest.raises(BleakError):
            await client.write_gatt_char(INPUT, b"lost", response=False)
        assert peripheral.received == b""


async def test_out_of_range_for_a_moment_loses_nothing() -> None:
    async with on_air(AirModel(supervision_timeout=3)) as (radio, peripheral):
        phone = radio.phone()
        async with BleakClient(await find(phone), backend=phone.client) as client:
            writing = asyncio.create_task(write_all(client, MESSAGE[:100_000]))
            for _ in range(3):
                await asyncio.sleep(0.2)
                radio.out_of_range(phone)
                await asyncio.sleep(2.5)
                radio.in_range(phone)
            await writing
            assert client.is_connected
        assert peripheral.received == MESSAGE[:100_000]


async def test_nobody_is_found_out_of_range() -> None:
    async with on_air() as (radio, _):
        phone = radio.phone()
        device = await find(phone)
        radio.out_of_range(phone)
        assert await BleakScanner.discover(3, backend=phone.scanner) == []
        with pytest.raises(TimeoutError):
            await BleakClient(device, timeout=3, backend=phone.client).connect()
        radio.in_range(phone)
        async with BleakClient(device, timeout=3, backend=phone.client) as client:
            assert client.is_connected


@pytest.mark.parametrize("after", [0, 1, 7, 50])
async def test_a_sudden_drop_ends_it_at_that_packet(after: int) -> None:
    async with on_air() as (radio, peripheral):
        phone = radio.phone(mtu=247)
        gone: list[float] = []
        client = BleakClient(await find(phone), lambda _: gone.append(now()), backend=phone.client)
        await client.connect()
        radio.drop(phone, after=after)
        with pytest.raises(BleakError):
            await write_all(client, MESSAGE)
        await asyncio.sleep(0.1)
        assert len(gone) == 1
        assert peripheral.disconnected_at == gone
        assert peripheral.received == MESSAGE[: 244 * after]


async def test_it_connects_by_address_alone() -> None:
    async with on_air() as (radio, _):
        phone = radio.phone()
        address = (await find(phone)).address
        async with BleakClient(address, backend=phone.client) as client:
            assert client.is_connected
        with pytest.raises(BleakDeviceNotFoundError):
            await BleakClient("C0:FF:EE:C0:FF:EE", timeout=2, backend=phone.client).connect()


async def test_a_refused_read_is_a_protocol_error() -> None:
    async with on_air() as (radio, _):
        phone = radio.phone()
        async with BleakClient(await find(phone), backend=phone.client) as client:
            with pytest.raises(BleakGATTProtocolError) as error:
                await client.read_gatt_char(INPUT)
            assert error.value.code == 0x02


async def test_a_write_that_does_not_fit_is_an_error() -> None:
    async with on_air() as (radio, _):
        phone = radio.phone(mtu=185)
        async with BleakClient(await find(phone), backend=phone.client) as client:
            characteristic = client.services.get_characteristic(INPUT)
            assert characteristic is not None
            assert characteristic.max_write_without_response_size == 182
            with pytest.raises(BleakError, match="do not fit"):
                await client.write_gatt_char(INPUT, bytes(183), response=False)


async def test_a_cancelled_connect_leaves_the_radio_free() -> None:
    async with on_air() as (radio, _):
        phone = radio.phone()
        device = await find(phone)
        radio.out_of_range(phone)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await BleakClient(device, backend=phone.client).connect()
        radio.in_range(phone)
        async with BleakClient(device, timeout=3, backend=phone.client) as client:
            assert client.is_connected


async def test_the_same_seed_is_the_same_run() -> None:
    async def run() -> list[tuple[float, int]]:
        course: list[tuple[float, int]] = []
        async with on_air(AirModel(loss=0.2, seed=7)) as (radio, peripheral):
            phone = radio.phone()
            device = await find(phone)
            began = now()
            async with BleakClient(device, backend=phone.client) as client:
                for size in itertools.chain(range(1, 200, 20)):
                    await client.write_gatt_char(INPUT, bytes(size), response=True)
                    course.append((round(now() - began, 9), len(peripheral.received)))
        return course

    assert await run() == await run()
