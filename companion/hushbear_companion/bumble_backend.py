"""A bleak backend on bumble: Bluetooth without the operating system's stack.

    async with open_radio("tcp-client:127.0.0.1:9000") as radio:
        device = await BleakScanner.find_device_by_filter(wanted, backend=radio.scanner)
        async with BleakClient(device, backend=radio.client) as client:
            ...

The spec is a bumble transport: `usb:0` drives a dongle, `tcp-client:HOST:PORT` joins the virtual
radio of the tests. Everything else is plain bleak, with bleak's exceptions: `BleakError` when the
connection is gone, `BleakGATTProtocolError` when the peer refuses.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
import uuid
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Literal, TypeVar

from bleak.args import SizedBuffer
from bleak.assigned_numbers import gatt_char_props_to_strs
from bleak.backends.characteristic import BleakGATTCharacteristic
from bleak.backends.client import BaseBleakClient, NotifyCallback
from bleak.backends.descriptor import BleakGATTDescriptor
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import (
    AdvertisementData,
    AdvertisementDataCallback,
    BaseBleakScanner,
)
from bleak.backends.service import BleakGATTService, BleakGATTServiceCollection
from bleak.exc import BleakDeviceNotFoundError, BleakError, BleakGATTProtocolError
from bumble import att, core, hci
from bumble.device import Advertisement, Connection, Device, Peer
from bumble.host import Host
from bumble.transport import open_transport

DEFAULT_MTU = 517  # what computers ask for; the peer grants what it likes
VALUE_MAX = 512  # bytes of a characteristic value, by the standard
ATT_HEADER = 3
IN_FLIGHT = 16  # packets on their way before a write without response waits
CONNECT_TIMEOUT = 30.0  # s
POWER_ON_TIMEOUT = 10.0  # s

_T = TypeVar("_T")


@asynccontextmanager
async def open_radio(spec: str, *, mtu: int = DEFAULT_MTU) -> AsyncIterator[BumbleRadio]:
    """Open the controller at a bumble transport `spec` and hand out its bleak backends.

    Raises ValueError for a spec that bumble does not know, OSError when it cannot be opened.
    """
    try:
        transport = await open_transport(spec)
    except (AssertionError, ValueError) as error:
        raise ValueError(f"unknown radio {spec!r}: {error}") from error
    except core.BaseBumbleError as error:
        raise OSError(f"the radio at {spec} cannot be opened: {error}") from error
    async with AsyncExitStack() as stack:
        stack.push_async_callback(transport.close)
        # A new address each time, as a phone's: nobody can follow it around.
        address = bytearray(secrets.token_bytes(6))
        address[5] &= 0x3F  # non-resolvable private
        radio = BumbleRadio(
            Device(
                name="hushbear",
                address=hci.Address(bytes(address), hci.Address.RANDOM_DEVICE_ADDRESS),
                host=Host(transport.source, transport.sink),
            ),
            mtu=mtu,
        )
        try:
            async with asyncio.timeout(POWER_ON_TIMEOUT):
                await radio.power_on()
        except TimeoutError as error:
            raise OSError(f"the radio at {spec} does not answer") from error
        stack.push_async_callback(radio.close)
        yield radio


class BumbleRadio:
    """One controller. `client` and `scanner` are the backends for BleakClient and BleakScanner."""

    client: type[BaseBleakClient]
    scanner: type[BaseBleakScanner]

    def __init__(self, device: Device, *, mtu: int = DEFAULT_MTU) -> None:
        """`mtu` is what its clients ask for; with 23 they do not ask."""
        self.device = device
        self.mtu = mtu
        self.clients: set[BumbleClient] = set()  # connected
        self.scanners: set[BumbleScanner] = set()  # running: they share the one scan there is
        self.connecting = asyncio.Lock()  # a controller makes one connection at a time
        self._powering = asyncio.Lock()
        self._powered = False
        self.client = type("BumbleClient", (BumbleClient,), {"radio": self})
        self.scanner = type("BumbleScanner", (BumbleScanner,), {"radio": self})

    async def power_on(self) -> None:
        """Reset the controller and get ready, if that is not done yet."""
        async with self._powering:
            if not self._powered:
                await self.device.power_on()
                self._powered = True

    async def close(self) -> None:
        """End what connections there are."""
        for client in list(self.clients):
            await client.disconnect()


class BumbleClient(BaseBleakClient):
    """A GATT client on a bumble device. `BumbleRadio.client` is this class, bound to a radio."""

    radio: BumbleRadio

    def __init__(
        self,
        address_or_ble_device: BLEDevice | str,
        *,
        disconnected_callback: Callable[[], None] | None = None,
        timeout: float = CONNECT_TIMEOUT,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            address_or_ble_device,
            disconnected_callback=disconnected_callback,
            timeout=timeout,
            **kwargs,
        )
        self._name = ""
        self._target: hci.Address | None = None
        if isinstance(address_or_ble_device, BLEDevice):
            self._name = address_or_ble_device.name or ""
            self._target = address_or_ble_device.details
        self._connection: Connection | None = None
        self._peer: Peer | None = None
        self._flow = asyncio.Event()

    @property
    def name(self) -> str:
        return self._name or self.address.replace(":", "-")

    @property
    def mtu_size(self) -> int:
        return int(self._connection.att_mtu if self._connection else att.ATT_DEFAULT_MTU)

    @property
    def is_connected(self) -> bool:
        return self._connection is not None

    async def connect(self, pair: bool, **kwargs: Any) -> None:
        if self.is_connected:
            raise BleakError("already connected")
        await self.radio.power_on()
        try:
            async with asyncio.timeout(self._timeout):
                await self._connect()
                await self._discover()
                if pair:
                    await self.pair()
        except BaseException as error:
            await self._abandon()
            if isinstance(error, TimeoutError):
                raise TimeoutError(f"no connection to {self.address}") from error
            raise

    async def _connect(self) -> None:
        device = self.radio.device
        target = self._target or await self._find()
        async with self.radio.connecting:
            try:
                # The timeout round all this comes first; bumble cancels at its own alone.
                connection = await device.connect(target, timeout=self._timeout * 0.95)
            except core.TimeoutError as error:
                raise TimeoutError from error
            except asyncio.CancelledError:
                await device.send_sync_command(hci.HCI_LE_Create_Connection_Cancel_Command())
                raise
            except (core.ConnectionError, hci.HCI_Error) as error:
                raise BleakError(f"connecting to {self.address} failed: {error}") from error
        self._connection = connection
        self._flow.clear()
        self.radio.clients.add(self)
        connection.on(Connection.EVENT_DISCONNECTION, self._on_disconnection)
        device.host.le_acl_packet_queue.on("flow", self._flow.set)

    async def _find(self) -> hci.Address:
        """Whether an address is public or random is known from the advertisement alone."""
        found: asyncio.Future[hci.Address] = asyncio.get_running_loop().create_future()

        def on_detection(device: BLEDevice, _data: AdvertisementData) -> None:
            if device.address == self.address.upper() and not found.done():
                found.set_result(device.details)

        scanner = self.radio.scanner(on_detection, None)
        await scanner.start()
        try:
            return await found
        except asyncio.CancelledError as error:
            text = f"device with address {self.address} was not found"
            raise BleakDeviceNotFoundError(self.address, text) from error
        finally:
            await scanner.stop()

    async def _discover(self) -> None:
        assert self._connection is not None
        self._peer = peer = Peer(self._connection)
        if self.radio.mtu > att.ATT_DEFAULT_MTU:
            await self._request(peer.request_mtu(self.radio.mtu))
        await self._request(peer.discover_services())
        services = BleakGATTServiceCollection()
        for service in peer.services:
            await self._request(service.discover_characteristics())
            added = BleakGATTService(service, service.handle, _uuid(service.uuid))
            services.add_service(added)
            for characteristic in service.characteristics:
                await self._request(characteristic.discover_descriptors())
                item = BleakGATTCharacteristic(
                    characteristic,
                    characteristic.handle,
                    _uuid(characteristic.uuid),
                    list(gatt_char_props_to_strs(characteristic.properties)),
                    lambda: min(self.mtu_size - ATT_HEADER, VALUE_MAX),
                    added,
                )
                services.add_characteristic(item)
                for descriptor in characteristic.descriptors:
                    services.add_descriptor(
                        BleakGATTDescriptor(
                            descriptor, descriptor.handle, _uuid(descriptor.type), item
                        )
                    )
        self.services = services

    async def disconnect(self) -> None:
        connection = self._connection
        if connection is None:
            return
        try:
            await connection.disconnect()
        except (hci.HCI_Error, core.BaseBumbleError):
            pass  # it went by itself at the same moment
        self._gone(call_back=True)

    async def _abandon(self) -> None:
        """Give up half way: no callback, as nobody has been told of a connection."""
        if (connection := self._connection) is not None:
            self._gone(call_back=False)
            try:
                await asyncio.shield(connection.disconnect())
            except (hci.HCI_Error, core.BaseBumbleError):
                pass

    def _on_disconnection(self, _reason: int) -> None:
        self._gone(call_back=True)

    def _gone(self, *, call_back: bool) -> None:
        if (connection := self._connection) is None:
            return
        connection.remove_listener(Connection.EVENT_DISCONNECTION, self._on_disconnection)
        self.radio.device.host.le_acl_packet_queue.remove_listener("flow", self._flow.set)
        self.radio.clients.discard(self)
        self._connection = None
        self._peer = None
        told = self.services is not None
        self.services = None
        self._flow.set()
        if call_back and told and self._disconnected_callback is not None:
            self._disconnected_callback()

    async def pair(self, *args: Any, **kwargs: Any) -> None:
        connection = self._require()
        try:
            await self._request(connection.pair())
        except core.ProtocolError as error:
            raise BleakError(f"pairing failed: {error}") from error

    async def unpair(self) -> None:
        raise NotImplementedError("bonds are not kept, so there is nothing to remove")

    async def read_gatt_char(
        self, characteristic: BleakGATTCharacteristic, *, use_cached: bool = False, **kwargs: Any
    ) -> bytearray:
        self._require()
        return bytearray(await self._request(characteristic.obj.read_value()))

    async def read_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, *, use_cached: bool = False, **kwargs: Any
    ) -> bytearray:
        self._require()
        return bytearray(await self._request(descriptor.obj.read_value()))

    async def write_gatt_char(
        self, characteristic: BleakGATTCharacteristic, data: SizedBuffer, response: bool
    ) -> None:
        self._require()
        value = bytes(data)
        if response:
            await self._request(characteristic.obj.write_value(value, with_response=True))
            return
        limit = characteristic.max_write_without_response_size
        if len(value) > limit:
            raise BleakError(f"{len(value)} bytes do not fit a write of at most {limit}")
        # Bumble would take any number at once, and the caller could never tell how fast it goes.
        queue = self.radio.device.host.le_acl_packet_queue
        while queue.pending >= IN_FLIGHT:
            self._flow.clear()
            await self._flow.wait()
            self._require()
        await characteristic.obj.write_value(value, with_response=False)

    async def write_gatt_descriptor(
        self, descriptor: BleakGATTDescriptor, data: SizedBuffer
    ) -> None:
        self._require()
        await self._request(descriptor.obj.write_value(bytes(data), with_response=True))

    async def start_notify(
        self, characteristic: BleakGATTCharacteristic, callback: NotifyCallback, **kwargs: Any
    ) -> None:
        self._require()

        def on_value(value: bytes) -> None:
            callback(bytearray(value))

        await self._request(characteristic.obj.subscribe(on_value))

    async def stop_notify(self, characteristic: BleakGATTCharacteristic) -> None:
        self._require()
        await self._request(characteristic.obj.unsubscribe())

    def _require(self) -> Connection:
        if self._connection is None:
            raise BleakError("not connected")
        return self._connection

    async def _request(self, request: Coroutine[Any, Any, _T]) -> _T:
        """Do one exchange with the peer; raise what bleak raises."""
        if self._connection is None:
            request.close()
            raise BleakError("not connected")
        task = asyncio.ensure_future(request)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()  # the caller gave up
            raise
        if task.cancelled():  # what bumble does to a request when the connection goes
            raise BleakError("disconnected")
        try:
            return task.result()
        except att.ATT_Error as error:
            raise BleakGATTProtocolError(int(error.error_code)) from error
        except core.TimeoutError as error:
            raise TimeoutError("the peer does not answer") from error


class BumbleScanner(BaseBleakScanner):
    """A scanner on a bumble device. `BumbleRadio.scanner` is this class, bound to a radio."""

    radio: BumbleRadio

    def __init__(
        self,
        detection_callback: AdvertisementDataCallback | None = None,
        service_uuids: list[str] | None = None,
        scanning_mode: Literal["active", "passive"] = "active",
        **kwargs: Any,
    ) -> None:
        super().__init__(detection_callback, service_uuids)
        self._active = scanning_mode == "active"

    async def start(self) -> None:
        self.seen_devices = {}
        await self.radio.power_on()
        device = self.radio.device
        device.on(Device.EVENT_ADVERTISEMENT, self._on_advertisement)
        self.radio.scanners.add(self)
        if len(self.radio.scanners) == 1:
            await device.start_scanning(active=self._active)

    async def stop(self) -> None:
        if self not in self.radio.scanners:
            return
        self.radio.scanners.remove(self)
        device = self.radio.device
        device.remove_listener(Device.EVENT_ADVERTISEMENT, self._on_advertisement)
        if not self.radio.scanners:
            await device.stop_scanning()

    def _on_advertisement(self, advertisement: Advertisement) -> None:
        try:
            found = _parse(advertisement)
        except (ValueError, struct.error):
            return  # anybody can send anything
        if not self.is_allowed_uuid(found.service_uuids):
            return
        address = advertisement.address.to_string(False)
        device = self.create_or_update_device(
            address, address, found.local_name, advertisement.address, found
        )
        self.call_detection_callbacks(device, found)


def _parse(advertisement: Advertisement) -> AdvertisementData:
    data, kind = advertisement.data, core.AdvertisingData.Type
    uuid_lists = (
        kind.COMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
        kind.INCOMPLETE_LIST_OF_128_BIT_SERVICE_CLASS_UUIDS,
        kind.COMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS,
        kind.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS,
    )
    service_data = (kind.SERVICE_DATA_16_BIT_UUID, kind.SERVICE_DATA_128_BIT_UUID)
    return AdvertisementData(
        local_name=data.get(kind.COMPLETE_LOCAL_NAME) or data.get(kind.SHORTENED_LOCAL_NAME),
        manufacturer_data=dict(data.get_all(kind.MANUFACTURER_SPECIFIC_DATA)),
        service_data={_uuid(u): value for each in service_data for u, value in data.get_all(each)},
        service_uuids=[_uuid(u) for each in uuid_lists for g in data.get_all(each) for u in g],
        tx_power=data.get(kind.TX_POWER_LEVEL),
        rssi=advertisement.rssi,
        platform_data=(advertisement,),
    )


def _uuid(value: core.UUID) -> str:
    return str(uuid.UUID(bytes=bytes(reversed(value.uuid_128_bytes))))
