# The light, dim and then bright, in each colour that a NeoPixel has.

import time

import board
from hushbear import leds

light = board.light()
for colour in (leds.RED, leds.GREEN, leds.BLUE, leds.WHITE):
    for level in (60, 255, 0):
        light.write(level, colour)
        time.sleep_ms(500)
