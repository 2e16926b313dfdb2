"""The virtual radio: toys and phones on one air.

    radio = VirtualRadio(AirModel(interval=0.015, packets=6, loss=0.01))
    phone = radio.phone()
    device = await BleakScanner.find_device_by_filter(wanted, backend=phone.scanner)
    async with BleakClient(device, backend=phone.client) as client:
        ...
        radio.out_of_range(phone)

A phone of another process joins over TCP: `port = await radio.serve_hci()`, then
`hushbear --radio tcp-client:127.0.0.1:PORT`.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Protocol, TypeAlias

from bumble.device import Device
from bumble.host import Host
from bumble.transport.common import StreamPacketSource

from hushbear_companion.bumble_backend import DEFAULT_MTU, BumbleRadio

from .air import Air, AirModel
from .bus import Bus
from .controller import AirController
from .toy_ble import ToyBle

__all__ = ["AirModel", "Phone", "ToyBle", "VirtualRadio"]


class Toy(Protocol):
    """What is needed of a virtual toy."""

    bus: Bus


class Phone(BumbleRadio):
    """A phone in this process: `client` and `scanner` are backends for unmodified bleak."""

    def __init__(self, air: Air, *, mtu: int, interval: float | None) -> None:
        self.controller = AirController("phone", air, interval=interval)
        device = Device(
            name="phone",
            address=air.random_address(0x00),
            host=Host(self.controller, self.controller),
        )
        super().__init__(device, mtu=mtu)


Who: TypeAlias = Phone | Toy | ToyBle


class VirtualRadio:
    """The air, whoever is on it, and what can happen to them. All of it is in the event loop
    that is running when it is made."""

    def __init__(self, model: AirModel | None = None) -> None:
        self.air = Air(model)
        self._toys: dict[Toy, ToyBle] = {}
        self._server: asyncio.Server | None = None
        self._remote: set[_RemotePhone] = set()

    @property
    def model(self) -> AirModel:
        return self.air.model

    async def __aenter__(self) -> VirtualRadio:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Silence everything and let nobody else join."""
        for controller in list(self.air.stations):
            self.air.remove_controller(controller)
        for phone in list(self._remote):
            phone.close()
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()

    def toy(self, **limits: Any) -> ToyBle:
        """A toy's Bluetooth; see ToyBle for `address` and the limits."""
        return ToyBle(self.air, **limits)

    def attach(self, toy: Toy) -> None:
        """A toy's process starts. The virtual toy calls this and `detached` by itself."""
        if toy not in self._toys:
            self._toys[toy] = self.toy()
            self._toys[toy].attach(toy.bus)

    def detached(self, toy: Toy) -> None:
        """A toy's process ended: reset, power cut or crash."""
        self._toys[toy].power_off()

    def ble(self, toy: Toy) -> ToyBle:
        """The Bluetooth of a virtual toy, also of one that was never on."""
        self.attach(toy)
        return self._toys[toy]

    def phone(self, *, mtu: int = DEFAULT_MTU, interval: float | None = None) -> Phone:
        """A phone that asks for this MTU (23: it does not ask; iOS: 185) and, if given, this
        connection interval."""
        return Phone(self.air, mtu=mtu, interval=interval)

    def out_of_range(self, who: Who) -> None:
        """Nobody hears it, it hears nobody; connections end by the supervision timeout."""
        self.air.set_range(self._controller(who), False)

    def in_range(self, who: Who) -> None:
        """It is back."""
        self.air.set_range(self._controller(who), True)

    def drop(self, who: Who | None = None, *, after: int = 0) -> None:
        """End the connections (of one participant) suddenly: now, or when `after` more packets
        have crossed, either way together. What was on its way is lost."""
        for connection in list(self.air.connections):
            if who is None or self._controller(who) in connection.controllers:
                connection.drop(after)

    def _controller(self, who: Who) -> AirController:
        return who.controller if isinstance(who, Phone | ToyBle) else self._toys[who].controller

    async def serve_hci(self, port: int = 0, host: str = "127.0.0.1") -> int:
        """Give each TCP client a controller of its own, spoken to in HCI; return the port."""
        self._server = await asyncio.get_running_loop().create_server(
            lambda: _RemotePhone(self), host, port
        )
        return int(self._server.sockets[0].getsockname()[1])


class _RemotePhone(StreamPacketSource):  # type: ignore[misc]
    """The HCI connection of one other process, and its controller."""

    def __init__(self, radio: VirtualRadio) -> None:
        super().__init__()
        self._radio = radio
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._radio._remote.add(self)
        self.controller = AirController(
            "remote phone", self._radio.air, host_source=self, host_sink=self
        )

    def on_packet(self, packet: bytes) -> None:
        """From the controller to its host."""
        if self._transport is not None:
            self._transport.write(packet)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._radio._remote.discard(self)
        self.controller.leave()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
