"""The radio: find what advertises a toy's service, and carry bytes to it and from it, by bleak.

`Radio()` is the computer's own adapter; with the two classes of another bleak backend it is that
one. A toy advertises nothing but the service, so whose it is only the handshake can tell. While
its pairing window is open the service is another, with the same characteristics.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hushbear import wire

from .errors import LinkLost, NoBluetooth, UsageError
from .session import Stream

if TYPE_CHECKING:
    from bleak import BleakClient
    from bleak.backends.characteristic import BleakGATTCharacteristic
    from bleak.backends.device import BLEDevice
    from bleak.backends.scanner import AdvertisementData

_WRITE_MIN = 20  # every link carries this much
_WRITE_MAX = 512  # no attribute is longer
_PACKET = 251  # bytes of the longest link-layer packet
_HEADERS = 7  # of these, for L2CAP and ATT, in the first packet of a write
_WRITE_SETTLE = 0.5  # seconds for the system to learn the size that was agreed on
_PENDING_MAX = 64 * 1024  # bytes from the toy that wait to be read: above any limit we grant
_CLOSE = 5.0
_SIGHTINGS_MAX = 64


@dataclass(frozen=True)
class Sighting:
    """A toy that was heard: somebody's."""

    address: str
    rssi: int
    device: Any = field(repr=False, compare=False)
    service: str = wire.SERVICE_UUID


class Radio:
    """Bluetooth through bleak. `scanner` and `client` are backend classes; None: the system's."""

    def __init__(self, scanner: Any = None, client: Any = None) -> None:
        self._scanner = scanner
        self._client = client

    async def sightings(
        self, seconds: float, settle: float | None = None, service: str = wire.SERVICE_UUID
    ) -> list[Sighting]:
        """Return the toys in sight that advertise `service`, strongest first.

        Listens for `seconds`, or with `settle` until so long after the first toy was heard.
        """
        from bleak import BleakScanner

        seen: dict[str, Sighting] = {}
        first = asyncio.Event()

        def heard(device: BLEDevice, advertisement: AdvertisementData) -> None:
            services = [uuid.lower() for uuid in advertisement.service_uuids]
            if service in services and (device.address in seen or len(seen) < _SIGHTINGS_MAX):
                rssi = advertisement.rssi
                seen[device.address] = Sighting(device.address, rssi, device, service)
                first.set()

        with _bluetooth_errors():
            async with BleakScanner(heard, service_uuids=[service], backend=self._scanner):
                if settle is None:
                    await asyncio.sleep(seconds)
                else:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(seconds):
                            await first.wait()
                            await asyncio.sleep(settle)
        return sorted(seen.values(), key=lambda sighting: -sighting.rssi)

    async def open(self, sighting: Sighting, seconds: float) -> Stream:
        """Connect to a toy, or raise LinkLost."""
        from bleak import BleakClient
        from bleak.exc import BleakBluetoothNotAvailableError, BleakError

        stream = BleakStream()
        client = BleakClient(
            sighting.device,
            lambda _: stream.ended(),
            services=[sighting.service],
            timeout=seconds,
            backend=self._client,
        )
        try:
            async with asyncio.timeout(seconds):
                await client.connect()
                await stream.start(client)
        except BaseException as error:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_CLOSE):
                    await client.disconnect()
            if isinstance(error, BleakBluetoothNotAvailableError):
                raise NoBluetooth(f"Bluetooth cannot be used: {error.args[0]}.") from None
            if isinstance(error, BleakError | OSError | EOFError | TimeoutError):
                raise LinkLost("The toy is in sight, but connecting to it failed.") from error
            raise
        return stream


class BleakStream:
    """A connection as a stream of bytes. One reader at a time."""

    def __init__(self) -> None:
        self._pending = bytearray()
        self._ended = False
        self._arrived = asyncio.Event()
        self._client: BleakClient | None = None
        self._to_toy: BleakGATTCharacteristic | None = None

    async def start(self, client: BleakClient) -> None:
        """Subscribe to what the toy says; learn how much one write may hold."""
        from bleak.exc import BleakError

        to_toy = client.services.get_characteristic(wire.TO_TOY_UUID)
        to_phone = client.services.get_characteristic(wire.TO_PHONE_UUID)
        if to_toy is None or to_phone is None:
            raise BleakError("not a toy")
        self._client = client
        self._to_toy = to_toy
        await client.start_notify(to_phone, self._notified)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_WRITE_SETTLE):
                while self.write_size() == _WRITE_MIN:
                    await asyncio.sleep(_WRITE_SETTLE / 5)

    def write_size(self) -> int:
        """Return how many bytes to write at once now: what may be can grow while connected.

        What does not fill whole packets wastes air: 495 bytes take two, 512 take three.
        """
        assert self._to_toy is not None
        size = self._to_toy.max_write_without_response_size
        size = max(_WRITE_MIN, min(_WRITE_MAX, size))
        whole = (size + _HEADERS) // _PACKET * _PACKET - _HEADERS
        return whole if whole > 0 else size

    def ended(self) -> None:
        """The link is gone."""
        self._ended = True
        self._arrived.set()

    async def write(self, data: bytes) -> None:
        """Send all of `data`, in as many writes without response as it takes."""
        from bleak.exc import BleakError

        assert self._client is not None and self._to_toy is not None
        at = 0
        try:
            while at < len(data):
                if self._ended:
                    raise LinkLost("The link to the toy was lost.")
                piece = data[at : at + self.write_size()]
                await self._client.write_gatt_char(self._to_toy, piece, response=False)
                at += len(piece)
        except (BleakError, OSError, EOFError) as error:
            raise LinkLost("The link to the toy was lost.") from error

    async def read(self) -> bytes:
        """Return what has come, waiting for at least one byte; b"" once the link has ended."""
        while not self._pending and not self._ended:
            self._arrived.clear()
            await self._arrived.wait()
        return self.read_nowait()

    def read_nowait(self) -> bytes:
        """Return what has come, perhaps nothing."""
        data = bytes(self._pending)
        self._pending.clear()
        return data

    async def close(self) -> None:
        """Disconnect."""
        self.ended()
        if self._client is not None:
            with contextlib.suppress(Exception):
                async with asyncio.timeout(_CLOSE):
                    await self._client.disconnect()

    def _notified(self, _: BleakGATTCharacteristic, value: bytearray) -> None:
        if self._ended:
            return
        if len(self._pending) + len(value) > _PENDING_MAX:  # more than we ever granted
            self._pending.clear()
            self.ended()
            return
        self._pending += value
        self._arrived.set()


@contextlib.asynccontextmanager
async def open_radio(spec: str | None) -> AsyncIterator[Radio]:
    """Give the radio that `--radio` names: None is the system's own, else a bumble transport."""
    if spec is None:
        yield Radio()
        return
    try:
        from . import bumble_backend
    except ImportError:
        raise UsageError(
            "--radio needs the package `bumble`.", "Install it: `pip install hushbear[virtual]`."
        ) from None
    async with contextlib.AsyncExitStack() as stack:
        try:
            radio = await stack.enter_async_context(bumble_backend.open_radio(spec))
        except (OSError, ValueError, TimeoutError) as error:
            raise NoBluetooth(
                f"The radio {spec!r} cannot be opened: {error}.",
                "Check --radio; for example tcp-client:127.0.0.1:9000.",
            ) from None
        yield Radio(scanner=radio.scanner, client=radio.client)


@contextlib.contextmanager
def _bluetooth_errors() -> Any:
    from bleak.exc import BleakBluetoothNotAvailableError, BleakError

    try:
        yield
    except BleakBluetoothNotAvailableError as error:
        raise NoBluetooth(f"Bluetooth cannot be used: {error.args[0]}.") from None
    except OSError as error:  # Linux without D-Bus or BlueZ
        raise NoBluetooth(
            f"The system's Bluetooth service does not answer ({error.strerror or error})."
        ) from None
    except BleakError as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NoBluetooth(f"Bluetooth cannot be used: {reason}.") from None
