# Writes 16 kB to the flash, reads them back, and tells how much room there is.

import os
import time

_PATH = "/check.tmp"
_BLOCKS = const(32)

block = bytearray(os.urandom(512))
start = time.ticks_ms()
with open(_PATH, "wb") as file:
    for _ in range(_BLOCKS):
        file.write(block)
took = time.ticks_diff(time.ticks_ms(), start)
wrong = 0
back = bytearray(512)
with open(_PATH, "rb") as file:
    for _ in range(_BLOCKS):
        file.readinto(back)
        wrong += back != block
os.remove(_PATH)
status = os.statvfs("/")
print("flash: %d wrong, %d ms, %d kB free" % (wrong, took, status[0] * status[3] // 1024))
