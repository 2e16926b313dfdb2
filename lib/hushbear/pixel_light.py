"""A light for the LED: one NeoPixel."""

from neopixel import NeoPixel

from hushbear.leds import VIOLET, WHITE


class PixelLight:
    """It cannot blink by itself: `blink` is steady violet, used for nothing else."""

    def __init__(self, pin):
        self._pixel = NeoPixel(pin, 1)
        self.write(0)

    def write(self, level, colour=WHITE):
        square = level * level
        red, green, blue = colour
        self._pixel[0] = (red * square // 65025, green * square // 65025, blue * square // 65025)
        self._pixel.write()

    def blink(self):
        self.write(128, VIOLET)
