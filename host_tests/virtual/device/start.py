"""What the chip does before boot.py: puts the stand-ins in place, mounts the flash at /.

Host files that a board would have in its flash are mounted read-only: /lib, /firmware, and in
/variant board.py.
After it the modules `machine`, `time` … are the stand-ins, and nothing else of this shows.
"""

import gc
import os
import sys

_here = os.getenv("HUSHBEAR_DEVICE")
_paths = [_here, ".frozen"]
if os.getenv("HUSHBEAR_TIME") == "virtual":
    _paths.insert(0, _here + "/virtual_time")
sys.path[:] = _paths

import bus  # noqa: E402, I001
import time  # noqa: E402
import select  # noqa: E402, F401
import machine  # noqa: E402
import neopixel  # noqa: E402, F401
import esp32  # noqa: E402

try:
    import bluetooth  # noqa: F401
except ImportError:
    pass
import vfs  # noqa: E402

# Bytes for what stand-ins allocate later and a chip has in C or in its peripherals: pins and the
# radio's tables (1 kB), AES's expanded keys (300 bytes each), frames of the bus on their way (half
# a kilobyte of a notification in three copies), the toy's keys from NVS (1.3 kB in two copies).
_STAND_INS = 5632


def _mount():
    vfs.umount("/")
    part = esp32.Partition.find(esp32.Partition.TYPE_DATA, label="vfs")[0]
    try:
        vfs.mount(part, "/")
    except OSError:
        first = bytearray(32)
        part.readblocks(0, first)
        while first != b"\xff" * 32:
            print("The filesystem appears to be corrupted.")
            time.sleep_ms(3000)
        vfs.VfsLfs2.mkfs(part)
        vfs.mount(part, "/")
    for name, path in bus.config["mounts"]:
        vfs.mount(vfs.VfsPosix(path), name, readonly=True)
    os.chdir("/")


def _run(path):
    """Run a file as the chip runs boot.py and main.py; return whether it ended well."""
    try:
        with open(path) as file:
            source = file.read()
    except OSError:
        return True
    try:
        code = compile(source, path, "exec")
        del source
        exec(code, {"__name__": "__main__", "__file__": path})
        return True
    except SystemExit:
        machine.soft_reset()
    except BaseException as e:
        sys.print_exception(e)
    return False


_mount()
sys.path[:] = ["", ".frozen", "/lib", "/variant"]
gc.collect()
# What the chip would not have. In small pieces, which go where the stand-ins left holes.
bus.config["spare"] = _STAND_INS
_ballast = [None] * ((gc.mem_free() - bus.config["heap"] - _STAND_INS) // 544)
for _i in range(len(_ballast)):
    _ballast[_i] = bytearray(528)
gc.collect()
bus.config["reserved"] = gc.mem_alloc()
_well = True
for _path in bus.config["run"]:
    _well = _run(_path)
    bus.unlock()
bus.send(bus.SYS, bus.STOPPED, b"ended" if _well else b"failed")
while True:
    time.sleep_ms(1000 * 3600)
