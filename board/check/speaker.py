# Five short tones of 1 kHz, quietly, with nothing of Hushbear but board.py:
#     mpremote connect PORT run board/check/speaker.py

import struct
import time

import board

wave = b""  # one period is 16 samples
for sample in (0, 1148, 2121, 2772, 3000, 2772, 2121, 1148):
    wave += struct.pack("<h", sample)
for sample in (0, 1148, 2121, 2772, 3000, 2772, 2121, 1148):
    wave += struct.pack("<h", -sample)
tone = wave * 200  # 0.2 s
silence = bytes(len(tone))

amplifier = board.amplifier()
speaker = board.speaker(4096)
if amplifier:
    amplifier.value(1)
for number in range(5):
    print("tone", number + 1)
    speaker.write(tone)
    speaker.write(silence)
time.sleep_ms(200)  # what is still on its way
if amplifier:
    amplifier.value(0)
speaker.deinit()
