"""Stand-in for `machine.I2S` of the ESP32 port. Its DMA ring turns in the host: see i2s.py there.

Blocking until irq() names a handler; then write and readinto return at once, one further buffer
may wait, more are dropped without a word, and the handler is called in the scheduler. asyncio's
streams on I2S are not modelled.
"""

import struct
from micropython import const

import bus

# Ops of I2S. The second byte tells apart what an earlier owner of the peripheral left behind.
_INIT = const(1)  # call: u8 id, generation, mode, bits, format, u32 rate, u32 ibuf
_DEINIT = const(2)  # u8 id, generation
_WRITE = const(3)  # u8 id, generation, data
_WRITE_WAIT = const(4)  # call: the same
_READ = const(5)  # u8 id, generation, u16 bytes
_READ_WAIT = const(6)  # call: the same; answers the data
_WRITTEN = const(7)  # from the host: u8 id, generation
_FILLED = const(8)  # from the host: u8 id, generation, data

_EPERM = const(1)
_EINVAL = const(22)
_PIECE = const(4096)  # bytes that a blocking write hands over at once
_READ_MAX = const(32768)  # bytes of one reading

_active = {}
_generation = 0


class I2S:
    RX = 9
    TX = 10
    STEREO = 1
    MONO = 0

    def __new__(cls, id, **kwargs):
        if not 0 <= id < bus.config["i2s"]:
            raise ValueError("invalid id")
        if id not in _active:
            _active[id] = super().__new__(cls)
            _active[id]._open = False
        return _active[id]

    def __init__(self, id, **kwargs):
        self._id = id
        self.init(**kwargs)

    def init(self, *, sck, ws, sd, mode, bits, format, rate, ibuf):
        global _generation
        self.deinit()
        if mode not in (self.RX, self.TX):
            raise ValueError("invalid mode")
        if bits not in (16, 32):
            raise ValueError("invalid bits")
        if format not in (self.MONO, self.STEREO):
            raise ValueError("invalid format")
        self._tx = mode == self.TX
        self._frame = bits // 8 * (2 if format == self.STEREO else 1)
        self._callback = None
        self._buffers = []
        self._open = True
        _generation = (_generation + 1) & 0xFF
        self._head = bytes((self._id, _generation))
        settings = struct.pack("<BBBII", self._tx, bits, format, rate, ibuf)
        bus.call(bus.I2S, _INIT, self._head + settings)

    def deinit(self):
        if self._open:
            self._open = False
            self._callback = None
            bus.send(bus.I2S, _DEINIT, self._head)

    def irq(self, handler):
        if handler is not None and not callable(handler):
            raise ValueError("invalid callback")
        self._callback = handler

    def write(self, buf):
        depth = bus.unlock()
        try:
            if not self._tx:
                raise OSError(_EPERM)
            if not self._open:
                raise OSError(_EINVAL)
            view = memoryview(buf)
            if self._callback:
                bus.send(bus.I2S, _WRITE, self._head + bytes(view))
            else:
                for i in range(0, len(view), _PIECE):
                    bus.call(bus.I2S, _WRITE_WAIT, self._head + bytes(view[i : i + _PIECE]))
            return len(view)
        finally:
            bus.lock(depth)

    def readinto(self, buf):
        depth = bus.unlock()
        try:
            if self._tx:
                raise OSError(_EPERM)
            view = memoryview(buf)
            if not self._open or len(view) % self._frame or len(view) > _READ_MAX:
                raise OSError(_EINVAL)
            if not len(view):
                return 0
            request = self._head + struct.pack("<H", len(view))
            if self._callback is None:
                view[:] = bus.call(bus.I2S, _READ_WAIT, request)
            elif len(self._buffers) < 2:
                self._buffers.append(view)
                bus.send(bus.I2S, _READ, request)
            return len(view)
        finally:
            bus.lock(depth)

    def _dispatch(self, op, payload):
        if op == _FILLED:
            self._buffers.pop(0)[:] = memoryview(payload)[2:]
        if self._callback:
            bus.interrupt(self._callback, self)

    @staticmethod
    def shift(*, buf, bits, shift):
        if bits not in (16, 32):
            raise ValueError("invalid bits")
        code = "<h" if bits == 16 else "<i"
        for i in range(0, len(buf), bits // 8):
            value = struct.unpack_from(code, buf, i)[0]
            value = value << shift if shift >= 0 else value >> -shift
            struct.pack_into("<H" if bits == 16 else "<I", buf, i, value & ((1 << bits) - 1))

    def __repr__(self):
        return f"I2S(id={self._id})"


def _i2s(op, payload):
    i2s = _active.get(payload[0])
    if i2s and i2s._open and i2s._head == payload[:2]:
        i2s._dispatch(op, payload)


bus.on(bus.I2S, _i2s)
