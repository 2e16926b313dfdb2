"""ESP32-S3-DevKitC-1 with an INMP441 microphone and a MAX98357A amplifier.

    GPIO 4 ── INMP441 SCK             GPIO 15 ── MAX98357A BCLK
    GPIO 5 ── INMP441 WS              GPIO 16 ── MAX98357A LRC
    GPIO 6 ── INMP441 SD              GPIO 7  ── MAX98357A DIN
    GND    ── INMP441 L/R (left)      GPIO 17 ── MAX98357A SD (shut down while low)
    3V3    ── INMP441 VDD             5V      ── MAX98357A VIN

    GPIO 8 ── record paw ── GND       GPIO 48 ── NeoPixel, on the board (v1.1: GPIO 38)
    GPIO 9 ── play paw   ── GND

The paws are switches to ground on the chip's own pull-ups. GPIO 0, 3, 45 and 46 decide how the
chip starts, 19 and 20 are USB, 26 to 37 may hold flash and PSRAM: none of them is used.
"""

from machine import I2S, Pin

from hushbear.pixel_light import PixelLight

NAME = "esp32_s3"
RECORD_PAW = 8
PLAY_PAW = 9
LED = 48
AMPLIFIER = 17
FULL_DUPLEX = True  # microphone and amplifier each have an I2S peripheral


def microphone(ibuf):
    """Start the microphone's I2S; `ibuf` is its DMA memory in bytes."""
    return I2S(
        0, sck=Pin(4), ws=Pin(5), sd=Pin(6), mode=I2S.RX, bits=32, format=I2S.MONO,
        rate=16000, ibuf=ibuf,
    )  # fmt: skip


def speaker(ibuf):
    """Start the amplifier's I2S; `ibuf` is its DMA memory in bytes."""
    return I2S(
        1, sck=Pin(15), ws=Pin(16), sd=Pin(7), mode=I2S.TX, bits=16, format=I2S.MONO,
        rate=16000, ibuf=ibuf,
    )  # fmt: skip


def paw(pin):
    return Pin(pin, Pin.IN, Pin.PULL_UP)


def amplifier():
    """The pin that switches the amplifier on, off to begin with; None where it is not wired."""
    return Pin(AMPLIFIER, Pin.OUT, value=0)


def light():
    return PixelLight(Pin(LED))


def battery_mv():
    return 0  # fed over USB, not measured
