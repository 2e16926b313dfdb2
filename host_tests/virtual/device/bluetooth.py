"""Stand-in for `bluetooth` as on the ESP32: its events, limits and errors, on the virtual radio.

The stack is on the host (toy_ble.py); here is what the binding does in MicroPython: the buffers of
the characteristics, on the heap as theirs are, and the handler. It runs between bytecodes with an
unlocked heap, because on the ESP32 it runs on NimBLE's task, whose heap lock is its own. What it
is given is overwritten afterwards: there it is on that task's stack.
"""

import micropython
import struct
import sys
from micropython import const

import ble_ops as op
import bus
import line
import uctypes

FLAG_READ = const(0x0002)
FLAG_WRITE_NO_RESPONSE = const(0x0004)
FLAG_WRITE = const(0x0008)
FLAG_NOTIFY = const(0x0010)
FLAG_INDICATE = const(0x0020)

_IRQ_CENTRAL_CONNECT = const(1)
_IRQ_CENTRAL_DISCONNECT = const(2)
_IRQ_GATTS_WRITE = const(3)
_IRQ_GATTS_READ_REQUEST = const(4)
_IRQ_GATTS_INDICATE_DONE = const(20)
_IRQ_MTU_EXCHANGED = const(21)
_IRQ_CONNECTION_UPDATE = const(27)
_IRQ_ENCRYPTION_UPDATE = const(28)

_DEFAULT_SIZE = const(20)  # bytes of a characteristic until gatts_set_buffer
_DEFAULT_MTU = const(256)
_NAME_MAX = const(31)
_ENOTCONN = const(107)
_ENODEV = const(19)
_EINVAL = const(22)

_EVENTS = {
    op.CONNECTED: (_IRQ_CENTRAL_CONNECT, "<HB6s"),
    op.DISCONNECTED: (_IRQ_CENTRAL_DISCONNECT, "<HB6s"),
    op.WRITTEN: (_IRQ_GATTS_WRITE, "<HH"),
    op.READ: (_IRQ_GATTS_READ_REQUEST, "<HH"),
    op.MTU_EXCHANGED: (_IRQ_MTU_EXCHANGED, "<HH"),
    op.INDICATED: (_IRQ_GATTS_INDICATE_DONE, "<HHB"),
    op.UPDATE: (_IRQ_CONNECTION_UPDATE, "<HHHHH"),
    op.ENCRYPTED: (_IRQ_ENCRYPTION_UPDATE, "<HBBBB"),
}


class UUID(bytes):
    # Little-endian bytes, as the binding's buffer is.
    def __init__(self, value):
        super().__init__(_uuid_bytes(value))

    def __str__(self):
        text = "".join("%02x" % each for each in reversed(bytes(self)))
        if len(text) < 32:
            return "UUID(0x" + text + ")"
        cuts = (0, 8, 12, 16, 20, 32)
        return "UUID('" + "-".join(text[a:b] for a, b in zip(cuts, cuts[1:])) + "')"

    __repr__ = __str__


def _uuid_bytes(value):
    if isinstance(value, int):
        if value > 65535:
            raise ValueError("invalid UUID")
        return struct.pack("<H", value)
    data = value.encode() if isinstance(value, str) else bytes(value)
    if len(data) in (2, 4, 16):
        return data
    digits = data.replace(b"-", b"")
    if len(digits) > 32:
        raise ValueError("UUID too long")
    if len(digits) < 32:
        raise ValueError("UUID too short")
    try:
        # One by one: int() would take signs and spaces, too.
        nibbles = [b"0123456789abcdef".index(bytes([c])) for c in digits.lower()]
    except ValueError:
        raise ValueError("invalid char in UUID")
    return bytes(16 * nibbles[i] + nibbles[i + 1] for i in range(30, -1, -2))


def _with_size(uuid):
    if not isinstance(uuid, UUID):
        raise ValueError("invalid UUID")
    data = bytes(uuid)
    return bytes((len(data),)) + data


class _Value:
    # The buffer of a characteristic or descriptor.
    def __init__(self):
        self.data = bytearray(_DEFAULT_SIZE)
        self.size = 0
        self.append = False

    def get(self):
        return bytes(memoryview(self.data)[: self.size])

    def put(self, value, at=0):
        n = min(len(value), len(self.data) - at)  # what does not fit is lost without a word
        self.data[at : at + n] = value[:n]
        self.size = at + n


def _call(code, payload=b""):
    answer = bus.call(bus.BLE, code, payload)
    (errno,) = struct.unpack_from("<h", answer)
    return errno, answer


def _check(errno):
    if errno:
        raise OSError(errno)


class BLE:
    _only = None

    def __new__(cls):
        if cls._only is None:
            cls._only = super(BLE, cls).__new__(cls)
            cls._only._begin()
        return cls._only

    def _begin(self):
        self._active = False
        self._handler = None
        self._values = {}
        self._mtu = _DEFAULT_MTU
        self._name = b"MPY ESP32"
        self._address = bytearray(6)
        self._address_view = memoryview(self._address)
        bus.on(bus.BLE, self._on_frame)

    def active(self, *on):
        if on:
            _check(_call(op.ACTIVE, b"\x01" if on[0] else b"\x00")[0])
            self._active = bool(on[0])
            self._values = {}
            self._mtu = _DEFAULT_MTU
        return self._active

    def config(self, *args, **kwargs):
        if not kwargs:
            if len(args) != 1:
                raise TypeError("must query one param")
            return self._get(args[0])
        if args:
            raise TypeError("can't specify pos and kw args")
        for key, value in kwargs.items():
            if key == "mtu":
                self._need_active()
                _check(_call(op.SET, struct.pack("<BH", op.MTU, value))[0])
                self._mtu = value
            elif key == "addr_mode":
                _check(_call(op.SET, struct.pack("<BB", op.ADDR_MODE, value))[0])
            elif key == "gap_name":
                name = value.encode() if isinstance(value, str) else bytes(value)
                if len(name) > _NAME_MAX:
                    raise OSError(_EINVAL)
                _check(_call(op.SET, bytes((op.GAP_NAME,)) + name)[0])
                self._name = name
            elif key not in ("bond", "mitm", "io", "le_secure"):
                raise ValueError("unknown config param")  # rxbuf too, on the ESP32

    def _get(self, key):
        if key == "gap_name":
            return self._name
        if key == "mac":
            errno, answer = _call(op.ADDRESS)
            _check(errno)
            return answer[2], answer[3:9]
        if key == "mtu":
            self._need_active()
            return self._mtu
        raise ValueError("unknown config param")

    def irq(self, handler):
        if handler is not None and not callable(handler):
            raise ValueError("invalid handler")
        self._handler = handler

    def gap_advertise(
        self, interval_us=500000, adv_data=None, *, resp_data=None, connectable=True
    ):
        data, size = (b"", -1) if adv_data is None else (bytes(adv_data), len(adv_data))
        resp, resp_size = (b"", -1) if resp_data is None else (bytes(resp_data), len(resp_data))
        if interval_us is None:
            if self._active:
                _call(op.ADVERTISE, struct.pack("<iBbb", -1, 0, -1, -1))
            return
        sizes = min(size, 127), min(resp_size, 127)
        head = struct.pack("<iBbb", interval_us, bool(connectable), *sizes)
        _check(_call(op.ADVERTISE, head + data + resp)[0])

    def gap_disconnect(self, conn_handle):
        errno = _call(op.DISCONNECT, struct.pack("<H", conn_handle))[0]
        if errno == _ENOTCONN:
            return False
        _check(errno)
        return True

    def gatts_register_services(self, services):
        blob = bytearray((len(services),))
        counts = []
        for service_uuid, characteristics in services:
            blob += _with_size(service_uuid)
            blob += struct.pack("<H", len(characteristics))
            n = len(characteristics)
            for characteristic in characteristics:
                uuid, flags = characteristic[:2]
                descriptors = characteristic[2] if len(characteristic) > 2 else ()
                blob += _with_size(uuid) + struct.pack("<HB", flags, len(descriptors))
                for uuid, flags in descriptors:
                    blob += _with_size(uuid) + struct.pack("<H", flags)
                n += len(descriptors)
            counts.append(n)
        errno, answer = _call(op.REGISTER, blob)
        _check(errno)
        handles = struct.unpack("<%dH" % (len(answer) // 2 - 1), answer[2:])
        self._values = {handle: _Value() for handle in handles}
        groups = []
        at = 0
        for n in counts:
            groups.append(tuple(handles[at : at + n]))
            at += n
        return tuple(groups)

    def gatts_read(self, value_handle):
        value = self._values.get(value_handle)
        if value is None or not self._active:
            return b""
        data = value.get()
        if value.append:
            value.size = 0
        return data

    def gatts_write(self, value_handle, data, send_update=False):
        value = self._value(value_handle)
        if isinstance(data, str):
            data = data.encode()
        if len(data) > len(value.data):
            value.data = bytearray(len(data))
        value.put(data)
        if send_update:
            _check(_call(op.UPDATED, struct.pack("<H", value_handle) + data)[0])
        return len(data)

    def gatts_notify(self, conn_handle, value_handle, data=None):
        self._push(op.NOTIFY, conn_handle, value_handle, data)

    def gatts_indicate(self, conn_handle, value_handle, data=None):
        self._push(op.INDICATE, conn_handle, value_handle, data)

    def _push(self, code, conn_handle, value_handle, data):
        depth = bus.unlock()  # the binding takes no memory of the heap for this
        try:
            if data is None:
                data = self._value(value_handle).get()
            elif isinstance(data, str):
                data = data.encode()
            errno = _call(code, struct.pack("<HH", conn_handle, value_handle) + data)[0]
        finally:
            bus.lock(depth)
        _check(errno)

    def gatts_set_buffer(self, value_handle, size, append=False):
        value = self._value(value_handle)
        value.data = bytearray(size)
        value.size = 0
        value.append = append

    def _value(self, handle):
        self._need_active()
        value = self._values.get(handle)
        if value is None:
            raise OSError(_EINVAL)
        return value

    def _need_active(self):
        if not self._active:
            raise OSError(_ENODEV)

    # Events

    def _on_frame(self, code, payload):
        made = b"\x00"
        try:
            made = self._handle(code, payload)
        finally:
            bus.send(bus.BLE, op.DONE, made)

    def _handle(self, code, payload):
        event, layout = _EVENTS[code]
        fields = struct.unpack_from(layout, payload)
        value = self._values.get(fields[1])
        if code == op.READ:
            status = self._invoke(event, fields)
            if isinstance(status, (int, bool)) and status:
                return bytes((int(status) & 0xFF,))
            return b"\x00" + (value.get() if value else b"")
        if code in (op.CONNECTED, op.DISCONNECTED):
            self._address[:] = fields[2]
            self._invoke(event, (fields[0], fields[1], self._address_view))
            self._address[:] = b"\xff" * 6
        elif code != op.WRITTEN:
            self._invoke(event, fields)
        elif value:
            value.put(memoryview(payload)[4:], value.size if value.append else 0)
            self._invoke(event, fields)
        return b"\x00"

    def _invoke(self, event, fields):
        handler = self._handler
        if handler is None or not self._active:
            return None
        depth = line.locked()
        try:
            return handler(event, fields)
        except BaseException as error:
            print("Unhandled exception in IRQ callback handler")
            sys.print_exception(error)
            self._handler = None
        finally:
            _wipe(fields)
            while line.locked() > depth:
                micropython.heap_unlock()


def _wipe(fields):
    # The items of a tuple are words after its type and length; all ones is the integer -1.
    address = id(fields)
    if address < 0:
        address &= 0x7FFFFFFF  # id() makes a small int of an address that has a bit too many
    size = 4 * len(fields)
    uctypes.bytearray_at(address + 8, size)[:] = b"\xff" * size
