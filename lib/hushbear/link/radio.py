"""The toy as a Bluetooth LE peripheral: advertising, connections, and a byte stream on each.

One service, two characteristics: the phone writes to one, the toy notifies on the other. Nothing
can be read, and the advertisement holds flags and the service UUID only. What the bytes mean is
the business of the session above.

The address is a random one that changes at every start and every ten minutes, also while phones
are connected. The stack's own resolvable addresses would not do: a stranger who asks for
Bluetooth's pairing is told the address behind them (Core 5.4, vol. 3, part H, 3.6.5), which is the
chip's for good. Behind a random one there is none.

The interrupt handler copies what was written into the connection's ring and sets a flag. An
exception in it would disable it for good on the ESP32, so it lets none out: run() raises it.
"""

import asyncio
import bluetooth
import time

from hushbear import wire
from hushbear.link.errors import SessionOver
from hushbear.ring import Ring

_IRQ_CENTRAL_CONNECT = const(1)
_IRQ_CENTRAL_DISCONNECT = const(2)
_IRQ_GATTS_WRITE = const(3)
_IRQ_MTU_EXCHANGED = const(21)

_CONNECTIONS = const(3)
_ADVERTISE_US = const(200_000)
_ATT_HEAD = const(3)  # bytes of the MTU that a notification's own header takes
_MTU_DEFAULT = const(23)
_MTU = const(247)  # a value of 244 bytes and its heads are one link-layer packet
_ADDRESS_RANDOM = const(1)  # a new one each time that it is set
_ADDRESS_MS = const(600_000)
_ENOMEM = const(12)
_RETRY_MS = const(4)
_RETRY_MS_MAX = const(64)
_STALLED_MS = const(6000)  # no notification accepted for so long: the peer is gone

# A request, and the GRANTs of a download that the toy has not come to read yet.
_RX_SIZE = const(160)
# In an upload, beside wire.WINDOW: the heads of its records, and a request behind them.
_RX_HEADS = const(256)

_IDLE_MS = const(3000)

_FLAG_WRITE_NO_RESPONSE = const(0x0004)
_FLAG_WRITE = const(0x0008)
_FLAG_NOTIFY = const(0x0010)

# Flags (general discoverable, no BR/EDR), then the head of the complete list of 128-bit UUIDs.
_ADVERTISEMENT = const(b"\x02\x01\x06\x11\x07")


class Peer:
    """One connection slot: the stream from the phone in `rx`, the stream to it by `send`."""

    def __init__(self, radio):
        self._radio = radio
        self._rx_small = Ring(bytearray(_RX_SIZE))
        self.arrived = asyncio.ThreadSafeFlag()  # set whenever rx has grown or the link has ended
        self.task = None
        self.connection = 0  # counts them: what is left of one must not be sent in the next
        self._begin(None)

    def _begin(self, conn):
        if self._radio.upload_owner is self:
            self._radio.upload_owner = None
            self._radio.rx_upload.clear()
        self.rx = self._rx_small
        self.rx.clear()
        self.value_size = _MTU_DEFAULT - _ATT_HEAD
        self.overrun = False  # the phone sent more than it was allowed to
        self.connection += 1
        self.conn = conn

    def widen(self):
        """Receive into the radio's one large ring, for an upload. Returns whether it could be had:
        not while another peer has bytes in it, or this one has some in the small ring.
        """
        radio = self._radio
        owner = radio.upload_owner
        if owner is self:
            return True
        if self.rx.used() or owner and owner.rx.used():
            return False
        if owner:
            owner.rx = owner._rx_small
        self.rx = radio.rx_upload
        radio.upload_owner = self
        return True

    @property
    def connected(self):
        return self.conn is not None

    async def send(self, data, connection):
        """Send `data`, a memoryview, in notifications as large as the MTU allows.

        Raises SessionOver, also where the stack takes nothing for 6 s.
        """
        at = 0
        pause = _RETRY_MS
        stalled = 0
        while at < len(data):
            piece = data[at : at + self.value_size]
            if not self.connected or self.connection != connection:
                raise SessionOver("the phone left")
            try:
                self._radio.notify(self.conn, piece)
            except OSError as error:
                if error.errno != _ENOMEM or stalled >= _STALLED_MS:
                    raise SessionOver("the phone takes nothing")
                await asyncio.sleep_ms(pause)
                stalled += pause
                pause = min(2 * pause, _RETRY_MS_MAX)
            else:
                at += len(piece)
                pause = _RETRY_MS
                stalled = 0

    def close(self):
        """Disconnect, if that has not happened yet."""
        if self.connected:
            self._radio.disconnect(self.conn)


class Radio:
    """The peripheral: calls `serve(peer)` in a task of its own for each connection."""

    def __init__(self, service=wire.SERVICE_UUID):
        self._service = bluetooth.UUID(service)
        self.rx_upload = Ring(bytearray(wire.WINDOW + _RX_HEADS))
        self.upload_owner = None  # the peer that receives into it
        self._peers = [Peer(self) for _ in range(_CONNECTIONS)]
        self._changed = asyncio.ThreadSafeFlag()
        self._ble = bluetooth.BLE()

    def _start(self):
        self._failure = None  # of the handler
        ble = self._ble
        ble.irq(self._irq)
        ble.active(True)
        ble.config(mtu=_MTU, gap_name="")
        self._change_address()
        to_toy = (bluetooth.UUID(wire.TO_TOY_UUID), _FLAG_WRITE | _FLAG_WRITE_NO_RESPONSE)
        to_phone = (bluetooth.UUID(wire.TO_PHONE_UUID), _FLAG_NOTIFY)
        service = (self._service, (to_toy, to_phone))
        ((self._to_toy, self._to_phone),) = ble.gatts_register_services((service,))
        # In append mode a read takes what has been written, whole, and empties the buffer.
        ble.gatts_set_buffer(self._to_toy, _MTU, True)

    def _irq(self, event, data):
        try:
            if event == _IRQ_GATTS_WRITE:
                self._written(data[0], data[1])
            elif event == _IRQ_CENTRAL_CONNECT:
                self._connected(data[0])
            elif event == _IRQ_CENTRAL_DISCONNECT:
                peer = self._peer(data[0])
                if peer:
                    peer.conn = None
                    peer.arrived.set()
                self._changed.set()
            elif event == _IRQ_MTU_EXCHANGED:
                peer = self._peer(data[0])
                if peer:
                    peer.value_size = max(_MTU_DEFAULT, min(data[1], _MTU)) - _ATT_HEAD
        except Exception as error:
            self._failure = error
            self._changed.set()

    def _peer(self, conn):
        for peer in self._peers:
            if peer.conn == conn:
                return peer
        return None

    def _connected(self, conn):
        for peer in self._peers:
            if peer.conn is None and peer.task is None:
                peer._begin(conn)
                break
        else:
            self._ble.gap_disconnect(conn)
        self._changed.set()

    def _written(self, conn, handle):
        value = self._ble.gatts_read(handle)
        peer = self._peer(conn)
        if peer:
            if peer.rx.put(value, 0, len(value)) != len(value):
                peer.overrun = True
            peer.arrived.set()

    def notify(self, conn, data):
        self._ble.gatts_notify(conn, self._to_phone, data)

    def disconnect(self, conn):
        try:
            self._ble.gap_disconnect(conn)
        except OSError:
            pass  # It has gone by itself.

    async def run(self, serve, check_in):
        """Advertise while a slot is free, and serve each connection, until cancelled.

        Calls `check_in()` every few seconds, after the stack has answered a question.
        """
        self._start()
        try:
            while True:
                if self._failure:
                    raise self._failure
                self._ble.config("mtu")
                check_in()
                for peer in self._peers:
                    if peer.connected and peer.task is None:
                        peer.task = asyncio.create_task(self._serve(peer, serve))
                if time.ticks_diff(time.ticks_ms(), self._addressed) >= _ADDRESS_MS:
                    self._change_address()
                if any(peer.task is None for peer in self._peers):
                    self._advertise()
                try:
                    await asyncio.wait_for_ms(self._changed.wait(), _IDLE_MS)
                except asyncio.TimeoutError:
                    pass
        finally:
            for peer in self._peers:
                if peer.task:
                    peer.task.cancel()
            self._ble.active(False)
            for peer in self._peers:
                peer.conn = None  # The stack says nothing of those that end with it.
                peer.arrived.set()

    def _change_address(self):
        self._ble.gap_advertise(None)  # else the stack cannot, and its assertion resets the chip
        self._ble.config(addr_mode=_ADDRESS_RANDOM)
        self._addressed = time.ticks_ms()

    def _advertise(self):
        # The stack stops by itself at each connection.
        try:
            self._ble.gap_advertise(_ADVERTISE_US, adv_data=_ADVERTISEMENT + bytes(self._service))
        except OSError:
            if not all(peer.connected for peer in self._peers):  # the last slot taken just now
                raise

    async def _serve(self, peer, serve):
        try:
            await serve(peer)
        finally:
            peer.close()
            while peer.connected:  # The slot is free only when the stack has said so.
                await peer.arrived.wait()
            peer._begin(None)  # what nobody read is not left in the ring that all share
            peer.task = None
            self._changed.set()
