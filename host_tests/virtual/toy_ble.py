"""The toy's Bluetooth stack: what the ESP32 has below MicroPython's `bluetooth`, as bumble.

The stand-in `bluetooth` module calls in over the bus and gets events back. It keeps the
characteristics' buffers; here are the connections, and the limits that the NimBLE host sets: how
many connections, how many notifications may wait for the air (after which `gatts_notify` raises
ENOMEM), what may be done when.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Awaitable, Callable
from typing import ClassVar

from bumble import att, hci, ll
from bumble.device import AdvertisingType, Connection, Device, LegacyAdvertiser
from bumble.host import Host

from .air import ATT_VALUE_HEADER, L2CAP_HEADER, Air
from .bus import Bus, Channel
from .controller import ADVERTISING_UNIT, AirController
from .device import ble_ops as op
from .toy_gatt import Table

ENOENT, E2BIG, ENOMEM, EBUSY, ENODEV, EINVAL, ENOTCONN = 2, 7, 12, 16, 19, 22, 107
# "Invalid HCI command parameters" as the binding passes it on, of the data and of the interval
INVALID_DATA = -0x12
INVALID_INTERVAL = -0x212

ADVERTISEMENT_MAX = 31
INTERVAL_MIN = 0.020  # s between advertisements
MTU_RANGE = range(23, 528)
SERVICES_MAX = 8
USER_TERMINATED = hci.HCI_ErrorCode.REMOTE_USER_TERMINATED_CONNECTION_ERROR
RANDOM, PUBLIC = hci.OwnAddressType.RANDOM, hci.OwnAddressType.PUBLIC


class ToyBle:
    """One toy's stack and radio. `start()`, then `attach(bus)` at each boot."""

    def __init__(
        self,
        air: Air,
        *,
        address: str | None = None,
        connections: int = 3,
        notify_buffers: int = 12,
        event_buffers: int = 12,
    ) -> None:
        """`notify_buffers` is how many notifications may wait for the air, over all
        connections; `event_buffers` how many events may wait for the toy's Python before the
        radio stops acknowledging."""
        self.air = air
        self.controller = AirController("toy", air)
        self.controller.capacity = connections
        self.controller.can_receive = self._can_receive
        self.controller.on_pdu_sent = self._on_pdu_sent
        if address is not None:
            self.controller.public_address = hci.Address(
                address, hci.Address.PUBLIC_DEVICE_ADDRESS
            )
        self.notify_buffers = notify_buffers
        self.event_buffers = event_buffers
        self.value_bytes = 0  # of characteristic values so far, written and notified
        self.device = Device(
            name="MPY ESP32",
            address=air.random_address(),
            host=Host(self.controller, self.controller),
        )
        self.device.on("connection", self._on_connection)
        self._table = Table(self.device.gatt_server, self._read, self._write)
        self._bus: Bus | None = None
        self._starting = asyncio.Lock()
        self._started = False
        self._active = False
        self._connections: dict[int, Connection] = {}  # by MicroPython's conn handle
        self._waiting: dict[int, int] = {}  # notifications not on the air yet, by conn
        self._indications: set[asyncio.Task[None]] = set()
        self._pending: deque[asyncio.Future[tuple[int, bytes]]] = deque()
        self._reset()

    async def start(self) -> None:
        """Get the stack ready; the toy's first `active(True)` does it otherwise."""
        async with self._starting:
            if not self._started:
                await self.device.power_on()
                self._started = True

    def attach(self, bus: Bus) -> None:
        """Serve the device at the other end of `bus`, now and after each of its resets."""
        self._bus = bus
        bus.on(Channel.BLE, self.on_frame)

    def power_off(self) -> None:
        """The toy was reset or lost its power: nothing more is heard of it."""
        self._active = False
        self.controller.silence()
        self._forget()

    @property
    def connections(self) -> int:
        return len(self._connections)

    @property
    def advertising(self) -> bool:
        return bool(self.controller.le_legacy_advertiser.enabled)

    # Calls from the device

    def on_frame(self, code: int, payload: bytes) -> bytes | Awaitable[bytes] | None:
        if code == op.DONE:
            self._on_done(payload)
            return None
        if code == op.ACTIVE and not self._started:
            return self._start_first(payload)
        return self._answer(code, payload)

    async def _start_first(self, payload: bytes) -> bytes:
        await self.start()
        return self._answer(op.ACTIVE, payload)

    def _answer(self, code: int, payload: bytes) -> bytes:
        answer = self._CALLS[code](self, payload)
        return struct.pack("<h", answer) if isinstance(answer, int) else answer

    def _call_active(self, payload: bytes) -> int:
        # Switching on what is on starts anew, as the binding does.
        self._active = False
        self.controller.leave()
        self._forget()
        self._active = bool(payload[0])
        self._reset()
        return 0

    def _call_set(self, payload: bytes) -> int:
        what, value = payload[0], payload[1:]
        if what == op.GAP_NAME:
            self._table.name = value
            return 0
        if not self._active:
            return ENODEV
        if what == op.MTU:
            (mtu,) = struct.unpack("<H", value)
            if mtu not in MTU_RANGE:
                return EINVAL
            self.device.gatt_server.max_mtu = mtu
            return 0
        if value[0] and self.controller.le_legacy_advertiser.enabled:
            raise RuntimeError("an address set while advertising: on a chip an assertion fails")
        self._addr_mode = value[0]
        self._own_address = PUBLIC if value[0] == 0 else RANDOM
        kind = {1: 0xC0, 2: 0x40, 3: 0x00}.get(value[0])
        if kind is not None:
            self.controller.random_address = self.air.random_address(kind)
            self.device.random_address = self.controller.random_address
        return 0

    def _call_address(self, _payload: bytes) -> int | bytes:
        if not self._active:
            return ENODEV
        if self._addr_mode == 2:
            return EINVAL  # the binding cannot tell which one is in use
        address = self._address()
        return struct.pack("<hB6s", 0, address.address_type & 1, bytes(address)[::-1])

    def _call_advertise(self, payload: bytes) -> int:
        if not self._active:
            return ENODEV
        interval_us, connectable, size, response_size = struct.unpack_from("<iBbb", payload)
        rest = payload[7:]
        advertiser = self.controller.le_legacy_advertiser
        advertiser.stop()
        if interval_us < 0:
            return 0
        data, response = rest[: max(size, 0)], rest[max(size, 0) :]
        if size > ADVERTISEMENT_MAX or response_size > ADVERTISEMENT_MAX:
            return INVALID_DATA
        if size >= 0:
            advertiser.advertising_data = data
        if response_size >= 0:
            advertiser.scan_response_data = response
        if interval_us / 1e6 < INTERVAL_MIN:
            return INVALID_INTERVAL
        if connectable and len(self._connections) >= self.controller.capacity:
            return ENOMEM
        kind = (
            AdvertisingType.UNDIRECTED_CONNECTABLE_SCANNABLE
            if connectable
            else AdvertisingType.UNDIRECTED
        )
        advertiser.advertising_type = kind
        advertiser.own_address_type = self._own_address
        advertiser.advertising_interval_min = int(interval_us / 1e6 / ADVERTISING_UNIT)
        # What the host would keep of it, had it sent the commands.
        self.device.legacy_advertiser = LegacyAdvertiser(
            self.device, kind, self._own_address, hci.Address.ANY, auto_restart=False
        )
        advertiser.start()
        return 0

    def _call_disconnect(self, payload: bytes) -> int:
        if not self._active:
            return ENODEV
        (conn,) = struct.unpack("<H", payload)
        if conn not in self._connections:
            return ENOTCONN
        end = self.controller.find_le_connection_by_handle(conn + 1)
        end.send_ll_control_pdu(ll.TerminateInd(USER_TERMINATED))
        return 0

    def _call_register(self, payload: bytes) -> int | bytes:
        if not self._active:
            return ENODEV
        if self._connections or self.advertising:
            return EBUSY
        services, attributes = self._table.parse(payload)
        if len(services) > SERVICES_MAX:
            return E2BIG
        self._table.publish(services)
        return struct.pack(f"<h{len(attributes)}H", 0, *(a.handle for a in attributes))

    def _call_notify(self, payload: bytes) -> int:
        conn, handle = struct.unpack_from("<HH", payload)
        if not self._active:
            return ENODEV
        if (connection := self._connections.get(conn)) is None:
            return ENOTCONN
        if sum(self._waiting.values()) >= self.notify_buffers:
            return ENOMEM
        self._waiting[conn] += 1
        value = payload[4:][: connection.att_mtu - 3]
        pdu = att.ATT_Handle_Value_Notification(attribute_handle=handle, attribute_value=value)
        self.device.gatt_server.send_gatt_pdu(connection, bytes(pdu))
        return 0

    def _call_indicate(self, payload: bytes) -> int:
        conn, handle = struct.unpack_from("<HH", payload)
        if not self._active:
            return ENODEV
        if (connection := self._connections.get(conn)) is None:
            return ENOTCONN
        if (attribute := self.device.gatt_server.get_attribute(handle)) is None:
            return ENOENT
        indication = self._indicate(conn, connection, attribute, payload[4:])
        task = asyncio.get_running_loop().create_task(indication)
        self._indications.add(task)
        task.add_done_callback(self._indications.discard)
        return 0

    async def _indicate(
        self, conn: int, connection: Connection, attribute: att.Attribute, value: bytes
    ) -> None:
        try:
            await connection.cancel_on_disconnection(
                self.device.gatt_server.indicate_subscriber(connection, attribute, value, True)
            )
            status = 0
        except (TimeoutError, asyncio.CancelledError):
            status = 13  # BLE_HS_ETIMEOUT
        self._event(op.INDICATED, struct.pack("<HHB", conn, attribute.handle, status))

    def _call_updated(self, payload: bytes) -> int:
        if not self._active:
            return ENODEV
        (handle,) = struct.unpack_from("<H", payload)
        for conn, connection in self._connections.items():
            cccd = self.device.gatt_server.subscribers.get(connection, {}).get(handle, b"\0\0")
            if cccd[0] & 1:
                self._call_notify(struct.pack("<HH", conn, handle) + payload[2:])
            elif cccd[0] & 2:
                self._call_indicate(struct.pack("<HH", conn, handle) + payload[2:])
        return 0

    _CALLS: ClassVar[dict[int, Callable[[ToyBle, bytes], int | bytes]]] = {
        op.ACTIVE: _call_active,
        op.SET: _call_set,
        op.ADVERTISE: _call_advertise,
        op.DISCONNECT: _call_disconnect,
        op.REGISTER: _call_register,
        op.NOTIFY: _call_notify,
        op.INDICATE: _call_indicate,
        op.UPDATED: _call_updated,
        op.ADDRESS: _call_address,
    }

    async def _read(self, connection: Connection, handle: int) -> bytes:
        head = struct.pack("<HH", connection.handle - 1, handle)
        status, value = await self._event(op.READ, head)
        if status:
            raise att.ATT_Error(error_code=status)
        return value

    def _write(self, connection: Connection, handle: int, value: bytes) -> Awaitable[object]:
        self.value_bytes += len(value)
        head = struct.pack("<HH", connection.handle - 1, handle)
        return self._event(op.WRITTEN, head + value)

    # Events to the device

    def _event(self, code: int, payload: bytes) -> asyncio.Future[tuple[int, bytes]]:
        done = asyncio.get_running_loop().create_future()
        if self._bus is not None and self._active:
            self._pending.append(done)
            self._bus.send(Channel.BLE, code, payload)
        return done

    def _on_done(self, payload: bytes) -> None:
        if self._pending:  # empty when the stack was restarted in between
            done = self._pending.popleft()
            if not done.done():
                done.set_result((payload[0], bytes(payload[1:])))

    def _can_receive(self, waiting: int) -> bool:
        return len(self._pending) + waiting < self.event_buffers

    def _on_pdu_sent(self, handle: int, pdu: bytes) -> None:
        if pdu[2:5] != b"\x04\x00\x1b":  # the ATT channel, the opcode of a notification
            return
        self.value_bytes += len(pdu) - L2CAP_HEADER - ATT_VALUE_HEADER
        if self._waiting.get(handle - 1):
            self._waiting[handle - 1] -= 1

    def _on_connection(self, connection: Connection) -> None:
        conn = connection.handle - 1  # bumble counts from 1, the ESP32 from 0
        if not self._active:
            return
        peer = connection.peer_address
        who = struct.pack("<HB6s", conn, peer.address_type & 1, bytes(peer)[::-1])
        self._connections[conn] = connection
        self._waiting[conn] = 0

        def on_disconnection(_reason: int) -> None:
            if self._connections.get(conn) is connection:  # not of an earlier life
                del self._connections[conn], self._waiting[conn]
                self._event(op.DISCONNECTED, who)

        def on_mtu() -> None:
            self._event(op.MTU_EXCHANGED, struct.pack("<HH", conn, connection.att_mtu))

        def on_parameters() -> None:
            new = connection.parameters
            values = round(new.connection_interval / 1.25), new.peripheral_latency
            timeout = round(new.supervision_timeout / 10)
            self._event(op.UPDATE, struct.pack("<HHHHH", conn, *values, timeout, 0))

        def on_encryption() -> None:
            state = bool(connection.encryption), connection.authenticated, False, 16
            self._event(op.ENCRYPTED, struct.pack("<HBBBB", conn, *state))

        connection.on(Connection.EVENT_DISCONNECTION, on_disconnection)
        connection.on(Connection.EVENT_CONNECTION_ATT_MTU_UPDATE, on_mtu)
        connection.on(Connection.EVENT_CONNECTION_PARAMETERS_UPDATE, on_parameters)
        connection.on(Connection.EVENT_CONNECTION_ENCRYPTION_CHANGE, on_encryption)
        self._event(op.CONNECTED, who)

    def _address(self) -> hci.Address:
        public = self._own_address == PUBLIC
        return self.controller.public_address if public else self.controller.random_address

    def _forget(self) -> None:
        self._connections.clear()
        self._waiting.clear()
        for done in self._pending:
            done.cancel()
        self._pending.clear()

    def _reset(self) -> None:
        self._table.name = b"MPY ESP32"
        self._addr_mode = 0
        self._own_address = PUBLIC
        self.device.gatt_server.max_mtu = 256
        self.controller.le_legacy_advertiser.advertising_data = b""
        self.controller.le_legacy_advertiser.scan_response_data = b""
        self._table.publish([])
