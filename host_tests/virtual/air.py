"""The air between virtual radios: who hears whom, and when a packet gets across.

Bumble's LocalLink hands every packet over at once. Here a connection has connection events: at
each, a bounded number of packets crosses either way, some are lost and sent again, and when
nothing has crossed for the supervision timeout both ends lose the connection. All times come from
the event loop's clock, all chance from one seeded generator, so under a virtual clock a run
repeats exactly.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import random
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

from bumble import hci, ll
from bumble.link import LocalLink

if TYPE_CHECKING:
    from .controller import AirController, End

L2CAP_HEADER = 4
ATT_VALUE_HEADER = 3  # opcode, handle

Packet: TypeAlias = hci.HCI_AclDataPacket | ll.ControlPdu


@dataclasses.dataclass
class AirModel:
    """What the air does. May be changed while it is in use; `interval`, `payload` and
    `supervision_timeout` hold from the next connection on."""

    interval: float = 0.015  # s between connection events
    packets: int = 6  # each way in one connection event, shared by the connections of one radio
    payload: int = 251  # bytes of one packet with its L2CAP header; 27 before Bluetooth 4.2
    loss: float = 0.0  # share of packets that are lost and sent again
    latency: float = 0.0  # s from the antenna to the program, each way
    supervision_timeout: float = 2.0  # s
    rssi: int = -55  # dBm
    seed: int = 1

    def throughput(self, mtu: int = 247) -> float:
        """Bytes of characteristic values per second, one way, when each value fills the MTU."""
        fragments = math.ceil((mtu + L2CAP_HEADER) / self.payload)
        crossing = self.packets * (1 - self.loss) / self.interval
        return (mtu - ATT_VALUE_HEADER) * crossing / fragments


@dataclasses.dataclass
class Advertisement(ll.AdvInd):  # type: ignore[misc]
    """An advertising PDU with what the advertiser would answer to a scan request."""

    sender: AirController
    scan_response: bytes
    connectable: bool


class Air(LocalLink):  # type: ignore[misc]
    """The medium. Controllers join by `add_controller`."""

    def __init__(self, model: AirModel | None = None) -> None:
        super().__init__()
        self.model = model or AirModel()
        self.random = random.Random(self.model.seed)
        self.stations: list[AirController] = []  # in order of joining: a set has no order
        self.connections: list[AirConnection] = []
        self.on_connection: Callable[[AirConnection], None] = lambda _: None

    def add_controller(self, controller: AirController) -> None:
        self.stations.append(controller)

    def remove_controller(self, controller: AirController) -> None:
        """Take a controller away at once, as when its power fails."""
        controller.silence()
        self.stations.remove(controller)

    def random_address(self, kind: int = 0xC0) -> hci.Address:
        """Any random address: static (0xC0), resolvable (0x40) or non-resolvable (0x00)."""
        value = bytearray(self.random.randbytes(6))
        value[5] = value[5] & 0x3F | kind  # little-endian: the type is in the last byte
        return hci.Address(bytes(value), hci.Address.RANDOM_DEVICE_ADDRESS)

    def reachable(self, one: AirController, other: AirController) -> bool:
        return one.in_range and other.in_range

    def busy(self, connection: AirConnection) -> int:
        """How many connections with something to send share a radio with this one, itself
        included: a radio does one thing at a time."""
        return sum(
            bool(other.central.queue or other.peripheral.queue)
            for other in self.connections
            if set(other.controllers) & set(connection.controllers)
        )

    def set_range(self, controller: AirController, in_range: bool) -> None:
        controller.in_range = in_range
        for connection in list(self.connections):
            if controller in connection.controllers:
                connection.range_changed()

    def send_advertising_pdu(
        self, sender_controller: AirController, packet: ll.AdvertisingPdu
    ) -> None:
        for station in list(self.stations):
            if (
                station is not sender_controller
                and self.reachable(station, sender_controller)
                and self.random.random() >= self.model.loss
            ):
                station.on_ll_advertising_pdu(packet)

    def connect(self, central: AirController, advertisement: Advertisement) -> None:
        """A central answered an advertisement: both ends have a connection from now on."""
        connection = AirConnection(self, central, advertisement)
        self.connections.append(connection)
        self.on_connection(connection)


class AirConnection:
    """One connection: two queues of packets, emptied at connection events."""

    def __init__(self, air: Air, central: AirController, advertisement: Advertisement) -> None:
        model = air.model
        self.air = air
        self.interval = central.interval or model.interval
        self.payload = model.payload
        self.supervision_timeout = model.supervision_timeout
        self._packets_left: int | None = None  # until a sudden loss of the connection
        self.gone = False  # one end's radio has stopped for good
        self.closed = False
        self._loop = asyncio.get_running_loop()
        self._anchor = self._loop.time()  # the events are at anchor + n * interval, n >= 1
        self._events = 0  # n of the last one that took place
        self._event_timer: asyncio.TimerHandle | None = None
        self._loss_timer: asyncio.TimerHandle | None = None
        self.central: End = central.open_central_end(self, advertisement.advertiser_address)
        self.peripheral: End = advertisement.sender.open_peripheral_end(
            self, advertisement.advertiser_address, self.central.self_address
        )

    @property
    def reachable(self) -> bool:
        return not self.gone and self.air.reachable(*self.controllers)

    @property
    def controllers(self) -> tuple[AirController, AirController]:
        return self.central.controller, self.peripheral.controller

    def peer(self, end: End) -> End:
        return self.peripheral if end is self.central else self.central

    def wake(self) -> None:
        """There is something to send: take part in the next connection event."""
        if self._event_timer is None and not self.closed:
            self._schedule()

    def set_interval(self, interval: float) -> None:
        self._anchor = self._loop.time()
        self._events = 0
        self.interval = interval

    def range_changed(self) -> None:
        if self.closed:
            return
        if self.reachable:
            if self._loss_timer is not None:
                self._loss_timer.cancel()
                self._loss_timer = None
        elif self._loss_timer is None:
            self._loss_timer = self._loop.call_later(
                self.supervision_timeout, self.lose, hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR
            )

    def lose(self, reason: int) -> None:
        """Both ends lose the connection now; what was under way is gone."""
        if not self.closed:
            self.close()
            for end in (self.central, self.peripheral):
                end.lost(reason)

    def drop(self, after: int = 0) -> None:
        """Lose the connection when `after` more packets have crossed, either way together, and
        have been acted upon: at the event after them."""
        if after > 0:
            self._packets_left = after
        else:
            self.lose(hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)

    def close(self) -> None:
        """No more events. The ends have been told, or are being told."""
        self.closed = True
        if self in self.air.connections:
            self.air.connections.remove(self)
        for timer in (self._event_timer, self._loss_timer):
            if timer is not None:
                timer.cancel()

    def _schedule(self) -> None:
        elapsed = (self._loop.time() - self._anchor) / self.interval
        self._events = max(self._events + 1, math.ceil(elapsed - 1e-6))
        self._event_timer = self._loop.call_at(
            self._anchor + self._events * self.interval, self._event
        )

    def _event(self) -> None:
        self._event_timer = None
        if self._packets_left == 0:
            self.drop()
        elif self.reachable:
            packets = max(1, self.air.model.packets // max(1, self.air.busy(self)))
            for end in (self.central, self.peripheral):
                self._send(end, packets)
        if not self.closed and (
            self.central.queue or self.peripheral.queue or self._packets_left == 0
        ):
            self._schedule()

    def _send(self, end: End, packets: int) -> None:
        if self.closed:
            return
        peer = self.peer(end)
        model, chance = self.air.model, self.air.random
        crossed: deque[Packet] = deque()
        for _ in range(packets):
            if not end.queue or not peer.can_receive(len(crossed)) or self._packets_left == 0:
                break
            if model.loss and chance.random() < model.loss:
                continue  # the next packet of this event is the same one again
            crossed.append(end.queue.popleft())
            if self._packets_left is not None:
                self._packets_left -= 1
        if crossed:
            end.sent(crossed)
            if model.latency:
                # One callback for all: timers that are due together have no order.
                self._loop.call_later(model.latency, peer.receive, crossed)
            else:
                peer.receive(crossed)
