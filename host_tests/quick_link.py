"""The toy's whole link in one MicroPython process, so quick that it can be given 100,000 frames.

`SOURCE` runs on the target `unix`: the library's own Radio, Link, Requests, Store on a flash in
RAM, Settings, Clock, CrashLog and Keys. What stands in for hardware is `bluetooth` (a test writes
to the characteristic and hears the notifications) and `select`: when every task waits, the clock
goes on. The toy's one random scalar is fixed, so that one handshake, calculated here beforehand,
opens every session.
"""

from __future__ import annotations

import warnings

from noise.connection import Keypair, NoiseConnection

from host_tests import key_set, ram_flash
from host_tests.targets import Target, dedent
from hushbear import wire
from hushbear_companion.framing import frame

PSK = bytes(range(1, 33))
TOY_SCALAR = bytes(range(32, 64))
PHONE_SCALAR = bytes(range(64, 96))

STAND_INS = """
import machine, struct, sys, sigio


class Poll:
    # In order of registration, so that every run is the same.
    def __init__(self):
        self.streams = []

    def register(self, stream, events):
        self.streams.append((stream, events))

    def unregister(self, stream):
        self.streams = [each for each in self.streams if each[0] is not stream]

    def ipoll(self, timeout):
        ready = [(stream, each) for stream, events in self.streams
                 if (each := stream.ioctl(3, events))]
        if not ready and timeout:
            assert timeout > 0, "everybody waits for ever"
            sigio.clock(sigio.micros() + 1000 * timeout)
        return ready


class select:
    POLLIN, POLLOUT = 1, 4
    poll = Poll


sigio.clock(1)
sys.modules["select"] = select


class Ble:
    # What NimBLE's binding does with one write, notification or connection.
    def __init__(self):
        self.phones = {}  # by connection handle
        self.value = b""

    def irq(self, handler):
        self.handler = handler

    def active(self, on):
        pass

    def config(self, *name, **values):
        return 512

    def gatts_register_services(self, services):
        return ((1, 2),)

    def gatts_set_buffer(self, handle, size, append):
        pass

    def gap_advertise(self, interval, adv_data=None):
        pass

    def gatts_read(self, handle):
        value, self.value = self.value, b""
        return value

    def gatts_notify(self, conn, handle, data):
        phone = self.phones.get(conn)
        if phone is None:
            raise OSError(107)
        if self.full(phone):
            raise OSError(12)
        phone.hear(data)

    def full(self, phone):
        return phone.deaf

    def gap_disconnect(self, conn):
        if conn in self.phones:
            del self.phones[conn]
            self.handler(2, (conn, 0, b"phone!"))

    def connect(self, conn, phone):
        self.phones[conn] = phone
        self.handler(1, (conn, 0, b"phone!"))
        self.handler(21, (conn, phone.mtu))

    def write(self, conn, value):
        if conn in self.phones:
            self.value = value[:512]
            self.handler(3, (conn, 1))


ble = Ble()


class bluetooth:
    UUID = staticmethod(lambda text: text.encode())
    BLE = staticmethod(lambda: ble)


sys.modules["bluetooth"] = bluetooth
"""

SOURCE = (
    STAND_INS
    + ram_flash.SOURCE
    + """
from hushbear import family_wire, settings_wire, upkeep_wire, wire
from hushbear.clock import Clock
from hushbear.crashlog import CrashLog
from hushbear.crypto import noise, x25519
from hushbear.keys import Keys
from hushbear.link import Link
from hushbear.link.radio import Radio
from hushbear.services import Services
from hushbear.settings import Settings


class Nvs:
    def __init__(self):
        self.restore()

    def restore(self):  # as if by hand: the family pairs its phones anew
        self.blobs = {"set1": key_set}

    def get_blob(self, name, buf):
        if name not in self.blobs:
            raise OSError(-4354)
        blob = self.blobs[name]
        buf[: len(blob)] = blob
        return len(blob)

    def set_blob(self, name, blob):
        self.blobs[name] = bytes(blob)

    def erase_key(self, name):
        if self.blobs.pop(name, None) is None:
            raise OSError(-4354)

    def commit(self):
        pass


nvs = Nvs()


class Machine:  # not every target has a clock to set
    real = machine

    class RTC:
        def datetime(self, fields):
            pass

    def __getattr__(self, name):
        return getattr(Machine.real, name)


sys.modules["machine"] = Machine()


class X25519:
    # The same few points again and again: each is calculated once.
    KEY_SIZE, BASE = x25519.KEY_SIZE, x25519.BASE
    known = {}

    @classmethod
    def ladder(cls, scalar, point):
        if (scalar, point) not in cls.known:
            for result in x25519.ladder(scalar, point):
                yield None
            cls.known[scalar, point] = result
        yield cls.known[scalar, point]


noise.x25519 = X25519
noise.urandom = lambda n: toy_scalar


class Toy:
    # `wrong` gathers what never may be: lines of the crash log, exceptions in the handler or in
    # a task that nobody awaits.
    def __init__(self):
        self.wrong = []
        stray = lambda loop, context: self.noted(context["exception"])
        asyncio.get_event_loop().set_exception_handler(stray)
        self.services = services = new_services(self.noted)
        self.store = services.store
        self.radio = Radio()
        for name in ("_written", "_connected", "_peer"):
            setattr(self.radio, name, self.watched(getattr(self.radio, name)))
        self.link = Link(self.radio, services)

    def noted(self, what):
        if isinstance(what, BaseException):
            sys.print_exception(what)
        self.wrong.append(str(what))

    def watched(self, method):
        def call(*args):
            try:
                return method(*args)
            except Exception as error:  # the radio lets none out of its handler
                self.noted(error)
                raise
        return call

    def orderly(self):
        # Whether the message that is being received is some session's.
        receiver = self.store._receiver
        return self.link._requests._upload or receiver._committing or not receiver._active

    def idle(self):
        # Whether nothing is left of any session.
        peers, requests = self.radio._peers, self.link._requests
        return not (
            any(peer.conn is not None or peer.task for peer in peers)
            or requests.transferring
            or self.store._receiver._active
            or self.link._frame.lock.locked()
            or self.link._gate._lock.locked()
        )


def new_services(log):
    clock = Clock("/flash/clock")
    crashlog = CrashLog("/flash/crash", 4096, clock)
    write, crashlog.write = crashlog.write, lambda what: (log(what), write(what))
    store = Store("/flash/msg", reserve, crashlog.write)
    store.boot()
    settings = Settings("/flash/settings", crashlog.write)
    return Services(Keys(nvs), store, settings, clock, crashlog, lambda: 3700)


class Phone:
    # One with the key, at connection handle `conn`. What it hears is opened: (kind, tag, body).
    mtu, deaf = 247, False

    def __init__(self, conn):
        self.conn = conn
        self.buf = bytearray(1200)

    @property
    def connected(self):
        return ble.phones.get(self.conn) is self

    def connect(self):
        self.stream = b""
        self.greeted = False
        self.heard = []
        self.tx = noise.CipherState(to_toy)
        self.rx = noise.CipherState(to_phone)
        ble.connect(self.conn, self)

    def write(self, data):
        while data:
            ble.write(self.conn, data[:244])
            data = data[244:]

    def seal(self, plain):
        n = len(plain)
        self.buf[2 : 2 + n] = plain
        n = self.tx.seal(self.buf, 2, n)
        struct.pack_into("<H", self.buf, 0, n)
        return self.buf[: 2 + n]

    def say(self, kind, tag, body=b""):
        self.write(self.seal(struct.pack("<BB", kind, tag) + body))

    def hear(self, data):
        self.stream += data
        if not self.greeted:
            if len(self.stream) < len(welcome):
                return
            assert self.stream[: len(welcome)] == welcome, "not the toy's handshake"
            self.stream = self.stream[len(welcome) :]
            self.greeted = True
        while len(self.stream) >= 2:
            n = self.stream[0] | self.stream[1] << 8
            assert 18 <= n <= wire.RECORD_MAX + wire.TAG_SIZE, "no frame has this length"
            if len(self.stream) < 2 + n:
                return
            record = bytearray(self.stream[2 : 2 + n])
            self.stream = self.stream[2 + n :]
            n = self.rx.open(record, 0, n)
            assert n >= 2, "the toy's record does not open"
            self.answered(record[0], record[1], bytes(record[2:n]))

    def answered(self, *record):
        self.heard.append(record)
"""
)


def handshake() -> tuple[bytes, bytes, bytes, bytes]:
    """Return (the phone's frame, the toy's frame, key to the toy, key to the phone)."""
    sides: list[NoiseConnection] = []
    for scalar in (PHONE_SCALAR, TOY_SCALAR):
        side = NoiseConnection.from_name(b"Noise_NNpsk0_25519_AESGCM_SHA256")
        (side.set_as_responder if sides else side.set_as_initiator)()
        side.set_psks(PSK)
        side.set_prologue(wire.PROLOGUE)
        side.set_keypair_from_private_bytes(Keypair.EPHEMERAL, scalar)
        with warnings.catch_warnings(action="ignore"):  # fixed ephemeral keys are for tests
            side.start_handshake()
        sides.append(side)
    phone, toy = sides
    first = bytes(phone.write_message())
    toy.read_message(first)
    second = bytes(toy.write_message())
    phone.read_message(second)
    ciphers = phone.noise_protocol
    return (
        frame(first),
        frame(second),
        bytes(ciphers.cipher_state_encrypt.k),
        bytes(ciphers.cipher_state_decrypt.k),
    )


def run(target: Target, source: str, timeout: float = 120, **args: object) -> object:
    """Run `source` behind SOURCE on the device."""
    hello, welcome, to_toy, to_phone = handshake()
    keys = key_set.pack(
        1, {slot: bytes([slot]) * 32 for slot in (0, 5, 7)} | {3: PSK}, {1: bytes(range(96, 128))}
    )
    given = {
        "key_set": keys,
        "psk": PSK,
        "toy_scalar": TOY_SCALAR,
        "hello": hello,
        "welcome": welcome,
    }
    given |= {"to_toy": to_toy, "to_phone": to_phone}
    return target.run(SOURCE + dedent(source), args=given | args, timeout=timeout)
