"""The lock of the REPL: what a cable may do to a toy that has its keys.

    lock()          from the next start on there is no REPL; tools/flash.sh --lock
    hold(board)     boot.py, when the record paw is down at power-up on a locked toy: the light
                    blinks fast, and after 10 s the lock opens; returns if the paw is let go
    unlock()        erases the keys, then the lock, and restarts

The lock is an integer in NVS, "locked", which boot.py looks at. It goes last: a loss of power
leaves a toy that is locked still, or one without keys. Erasing NVS page by page takes the flag
when it comes to it, so a file stands for it meanwhile, and the next start goes on.
"""

import machine
import os
import time
from esp32 import NVS, Partition

_PATH = "/unlocking"
_HOLD_STEPS = const(100)
_STEP_MS = const(100)
_BLOCK_COUNT = const(4)  # of Partition.ioctl
_BLOCK_ERASE = const(6)
_NAMES = const(8)


def lock():
    nvs = NVS("hushbear")
    nvs.set_i32("locked", 1)
    nvs.commit()


def hold(board):
    light = board.light()
    paw = board.paw(board.RECORD_PAW)
    for step in range(_HOLD_STEPS):
        light.write(0 if step & 1 else 255)
        time.sleep_ms(_STEP_MS)
        if paw.value():
            light.write(0)
            return
    unlock()


def unlock():
    try:
        with open(_PATH, "wb"):
            pass
    except OSError:  # the flash is full, and erasing the keys one by one has to do
        pass
    nvs = NVS("hushbear")
    for key in ["set0", "set1"] + ["name%d" % slot for slot in range(_NAMES)]:
        try:
            nvs.erase_key(key)
        except OSError:  # there is none
            pass
    nvs.commit()
    # NVS keeps what it erased until it needs the page, and does not see what happens now.
    for partition in Partition.find(Partition.TYPE_DATA, label="nvs"):
        for block in range(partition.ioctl(_BLOCK_COUNT, 0)):
            partition.ioctl(_BLOCK_ERASE, block)
    try:
        os.remove(_PATH)
    except OSError:
        pass
    machine.reset()
