"""NOR flash in a file: bits are programmed from 1 to 0 and erased to 1 by the block.

Programming a bit back to 1 does nothing, as on a chip, and is counted as a violation. The power
can go at a chosen operation: of that one, some of the bytes are done. A slow flash keeps the CPU
from running anything, callbacks too, as it does with the chip's cache switched off.
"""

import json
from micropython import const

import bus

BLOCK = const(4096)
PAGE = const(256)

_settings = bus.config["flash"]
_file = open(_settings["path"], "r+b")
_erased = b"\xff" * BLOCK
blocks = _settings["blocks"]
_counts = {"reads": 0, "programs": 0, "erases": 0, "violations": 0, "bytes": 0}


def _check(start, size):
    if start < 0 or start + size > blocks * BLOCK:
        raise OSError(5)


def _fails(start, size):
    """Count one erase or program; tell whether the power goes in the middle of it."""
    if _settings["fail_after"] is not None:
        if _settings["fail_after"] == 0:
            raise OSError(5)  # EIO: a worn-out chip
        _settings["fail_after"] -= 1
    if _settings["cut_after"] is None:
        return False
    _settings["cut_after"] -= 1
    return _settings["cut_after"] < 0


def _cut(start, data):
    done = len(data) * _settings["cut_permille"] // 1000
    _file.seek(start)
    _file.write(data[:done])
    bus.call(bus.SYS, bus.CUT, json.dumps(_counts).encode())


def read(start, buf):
    depth = bus.unlock()
    try:
        _check(start, len(buf))
        _file.seek(start)
        _file.readinto(buf)
        _counts["reads"] += 1
    finally:
        bus.lock(depth)


def program(start, buf):
    depth = bus.unlock()
    try:
        size = len(buf)
        _check(start, size)
        cut = _fails(start, size)
        _file.seek(start)
        old = int.from_bytes(_file.read(size), "little")
        new = int.from_bytes(bytes(buf), "little")
        if new & ~old:
            _counts["violations"] += 1
        data = (old & new).to_bytes(size, "little")
        if cut:
            _cut(start, data)
        _file.seek(start)
        _file.write(data)
        _counts["programs"] += 1
        _counts["bytes"] += size
        if _settings["program_us"]:
            pages = (start + size - 1) // PAGE - start // PAGE + 1
            bus.stall(pages * _settings["program_us"])
    finally:
        bus.lock(depth)


def erase(block):
    depth = bus.unlock()
    try:
        _check(block * BLOCK, BLOCK)
        if _fails(block * BLOCK, BLOCK):
            _cut(block * BLOCK, _erased)
        _file.seek(block * BLOCK)
        _file.write(_erased)
        _counts["erases"] += 1
        if _settings["erase_us"]:
            bus.stall(_settings["erase_us"])
    finally:
        bus.lock(depth)


def _asked(payload):
    _settings.update(json.loads(payload))
    bus.send(bus.SYS, bus.FLASH | bus.REPLY, json.dumps(_counts).encode())


bus.system[bus.FLASH] = _asked
