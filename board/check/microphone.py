# How loud it is, four times a second for five seconds, with nothing of Hushbear but board.py. The
# LED is on meanwhile. Each # more is 6 dB more: a quiet room shows a few, speech close by ten:
#     mpremote connect PORT run board/check/microphone.py

import struct

import board

light = board.light()
light.write(255)
microphone = board.microphone(8192)
slots = bytearray(4 * 4000)  # 0.25 s: 24 bits of sample in 32
microphone.readinto(slots)  # begins with a click
for _ in range(20):
    microphone.readinto(slots)
    low, high = 1 << 23, -1 << 23
    for at in range(0, len(slots), 4):
        sample = struct.unpack_from("<i", slots, at)[0] >> 8
        low, high = min(low, sample), max(high, sample)
    if low == high:
        print("nothing: every sample is", low)
        continue
    loudest = (high - low) // 2
    bar = ""
    for bit in range(6, 24):
        if loudest >> bit:
            bar += "#"
    print("%8d %s" % (loudest, bar))
microphone.deinit()
light.write(0)
