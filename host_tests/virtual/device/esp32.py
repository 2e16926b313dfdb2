"""Stand-in for `esp32`: NVS, kept by the host, its partition, and the one of the file system."""

import gc
import struct
from micropython import const

import bus
import flash

# NVS: u8 verb, u8 type, names with their length in front, value. Answer: u8 error, value.
_GET = const(0)
_SET = const(1)
_ERASE = const(2)
_COMMIT = const(3)
_ERASE_PAGE = const(4)  # u8 page in place of the type
_NVS_PAGES = const(6)
_I32 = const(0)
_BLOB = const(1)
_ERRORS = {
    0x02: "ESP_ERR_NVS_NOT_FOUND",
    0x05: "ESP_ERR_NVS_NOT_ENOUGH_SPACE",
    0x06: "ESP_ERR_NVS_INVALID_NAME",
    0x09: "ESP_ERR_NVS_KEY_TOO_LONG",
    0x0C: "ESP_ERR_NVS_INVALID_LENGTH",
    0x0E: "ESP_ERR_NVS_VALUE_TOO_LONG",
}


def _fail(code):
    raise OSError(-0x1100 - code, _ERRORS[code])


class NVS:
    """What is set shows at once, and survives a loss of power from commit() on, whole or not."""

    def __init__(self, namespace):
        if not 0 < len(namespace) < 16:
            _fail(0x06)
        self._namespace = namespace

    def _call(self, verb, kind=0, key="", value=b""):
        if len(key) > 15:
            _fail(0x09)
        names = b"".join(
            bytes((len(name),)) + name for name in (self._namespace.encode(), key.encode())
        )
        answer = bus.call(bus.SYS, bus.NVS, bytes((verb, kind)) + names + bytes(value))
        if answer[0]:
            _fail(answer[0])
        return memoryview(answer)[1:]

    def set_i32(self, key, value):
        self._call(_SET, _I32, key, struct.pack("<i", value))

    def get_i32(self, key):
        return struct.unpack("<i", self._call(_GET, _I32, key))[0]

    def set_blob(self, key, value):
        if isinstance(value, str):
            value = value.encode()
        if len(value) > 4000:
            _fail(0x0E)
        self._call(_SET, _BLOB, key, value)

    def get_blob(self, key, buffer):
        gc.collect()  # a chip needs no memory for this, and its heap need not be in one piece
        value = self._call(_GET, _BLOB, key)
        if len(value) > len(buffer):
            _fail(0x0C)
        memoryview(buffer)[: len(value)] = value
        return len(value)

    def erase_key(self, key):
        self._call(_ERASE, _I32, key)

    def commit(self):
        self._call(_COMMIT)


class Partition:
    BOOT = 0
    RUNNING = 1
    TYPE_APP = 0
    TYPE_DATA = 1

    def __init__(self, id, block_size=4096):
        if id != "vfs" or block_size != flash.BLOCK:
            raise OSError(2)

    @staticmethod
    def find(type=TYPE_APP, subtype=255, label=None, block_size=4096):
        if type == Partition.TYPE_DATA and label in (None, "vfs"):
            return [Partition("vfs", block_size)]
        if type == Partition.TYPE_DATA and label == "nvs":
            return [_NvsPartition()]
        return []

    def info(self):
        return (1, 129, 0x200000, flash.blocks * flash.BLOCK, "vfs", False)

    def readblocks(self, block, buf, offset=0):
        flash.read(block * flash.BLOCK + offset, buf)

    def writeblocks(self, block, buf, offset=None):
        if offset is None:
            for each in range(len(buf) // flash.BLOCK):
                flash.erase(block + each)
            offset = 0
        flash.program(block * flash.BLOCK + offset, buf)

    def ioctl(self, op, arg):
        if op == 4:
            return flash.blocks
        if op == 5:
            return flash.BLOCK
        if op == 6:
            flash.erase(arg)
        return 0


class _NvsPartition:
    """It can be erased, behind the back of NVS, which must not be used until the next start."""

    def info(self):
        return (1, 2, 0x9000, _NVS_PAGES * flash.BLOCK, "nvs", False)

    def ioctl(self, op, arg):
        if op == 4:
            return _NVS_PAGES
        if op == 5:
            return flash.BLOCK
        if op == 6:
            if not 0 <= arg < _NVS_PAGES:
                raise OSError(5)
            bus.call(bus.SYS, bus.NVS, bytes((_ERASE_PAGE, arg)))
        return 0
