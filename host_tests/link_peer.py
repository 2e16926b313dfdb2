"""A phone whose every frame is written before the session begins, for tests of the toy's side.

The toy's one random scalar is made known, so an independent Noise implementation can foretell the
toy's handshake message, and `Phone` the keys. `SOURCE` runs the session on the device: the link's
own code and the store, over a peer that hands in `arrivals` one by one, whenever the toy waits.
"""

from __future__ import annotations

import struct
import warnings
from dataclasses import dataclass, field

from noise.connection import Keypair, NoiseConnection

from host_tests import ram_flash
from host_tests.targets import Target, dedent
from hushbear import wire
from hushbear_companion.framing import FrameReader, frame
from hushbear_companion.noise import Initiator

PSK = bytes(range(1, 33))
TOY_SCALAR = bytes(range(32, 64))

SOURCE = (
    ram_flash.SOURCE
    + """
import machine, sys
from hushbear import wire
from hushbear.clock import Clock
from hushbear.crashlog import CrashLog
from hushbear.crypto import noise
from hushbear.link import Frame, Gate, Session, SessionOver
from hushbear.link.requests import Requests
from hushbear.ring import Ring
from hushbear.services import Services
from hushbear.settings import Settings

noise.urandom = lambda n: toy_scalar


class Machine:  # not every target has a clock to set
    real = machine

    class RTC:
        def datetime(self, fields):
            pass

    def __getattr__(self, name):
        return getattr(Machine.real, name)


sys.modules["machine"] = Machine()


class Peer:
    def __init__(self, arrivals):
        self.arrivals = arrivals
        self.rx = Ring(bytearray(2200))
        self.arrived = self
        self.overrun = False
        self.connected = True
        self.value_size = 244
        self.connection = 1
        self.sent = []

    def widen(self):
        return True

    async def wait(self):
        for _ in range(20):  # what runs beside the session gets its turn
            await asyncio.sleep_ms(0)
        if self.arrivals:
            piece = self.arrivals.pop(0)
            if self.rx.put(piece, 0, len(piece)) != len(piece):
                self.overrun = True
        else:
            self.connected = False

    async def send(self, data, connection):
        self.sent.append(bytes(data))


def new_services():
    clock = Clock("/flash/clock")
    crashlog = CrashLog("/flash/crash", 4096, clock)
    store = Store("/flash/msg", 4, crashlog.write)
    store.boot()
    settings = Settings("/flash/settings", crashlog.write)
    return Services(None, store, settings, clock, crashlog, lambda: 3700)


def serve(services, arrivals, gate=None):
    # Return (what the toy sent, why the session ended).
    gc.collect()
    peer = Peer(list(arrivals))
    session = Session(peer, Frame())
    requests = Requests(services)
    keys = [(0, bytes(32)), (1, psk)]

    async def run():
        try:
            await session.run(lambda: keys, gate or Gate(), requests.handle)
        except SessionOver as over:
            return str(over)
        finally:
            requests.forget(session)

    return peer.sent, asyncio.run(run())
"""
)


@dataclass
class Phone:
    """The phone's frames of one session, in order, in `arrivals`; `read` opens the toy's."""

    psk: bytes = PSK
    arrivals: list[bytes] = field(default_factory=list)

    def __post_init__(self) -> None:
        initiator = Initiator(self.psk, wire.PROLOGUE)
        first = initiator.write_1()
        toy = NoiseConnection.from_name(b"Noise_NNpsk0_25519_AESGCM_SHA256")
        toy.set_as_responder()
        toy.set_psks(self.psk)
        toy.set_prologue(wire.PROLOGUE)
        toy.set_keypair_from_private_bytes(Keypair.EPHEMERAL, TOY_SCALAR)
        with warnings.catch_warnings(action="ignore"):  # a fixed ephemeral key is for tests
            toy.start_handshake()
        toy.read_message(first)
        self._second = bytes(toy.write_message())
        initiator.read_2(self._second)
        self._tx, self._rx = initiator.split()
        self.arrivals.append(frame(first))

    def record(self, kind: int, tag: int, body: bytes = b"") -> None:
        """Add a record to what the phone sends."""
        plain = struct.pack(wire.RECORD_HEAD, kind, tag) + body
        self.arrivals.append(frame(self._tx.seal(plain)))

    def read(self, sent: list[bytes]) -> list[tuple[int, int, bytes]]:
        """Return the toy's records as (kind, tag, body); the handshake is checked and left out."""
        frames = FrameReader()
        frames.feed(b"".join(sent))
        assert frames.next() == self._second
        records = []
        while (payload := frames.next()) is not None:
            plain = self._rx.open(payload)
            records.append((plain[0], plain[1], plain[2:]))
        return records


def run(target: Target, source: str, **args: object) -> object:
    """Run `source` behind SOURCE on the device."""
    return target.run(
        SOURCE + dedent(source), args={"psk": PSK, "toy_scalar": TOY_SCALAR, **args}, timeout=120
    )
