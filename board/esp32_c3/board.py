"""ESP32-C3-DevKitM-1 with an INMP441 microphone and a MAX98357A amplifier, one paw.

The C3 has one I2S peripheral. Microphone and amplifier share it and its clock lines in turn.

    GPIO 4 ── INMP441 SCK, MAX98357A BCLK
    GPIO 5 ── INMP441 WS,  MAX98357A LRC
    GPIO 6 ── INMP441 SD              GPIO 7  ── MAX98357A DIN
    GND    ── INMP441 L/R (left)      GPIO 10 ── MAX98357A SD (shut down while low)
    3V3    ── INMP441 VDD             5V      ── MAX98357A VIN

    GPIO 3 ── paw ── GND              GPIO 8  ── NeoPixel, on the board

The paw is a switch to ground on the chip's own pull-up: held it records, tapped it plays. The
board's BOOT button (GPIO 9) will not do: held at power-up it starts the chip's own loader, where
Hushbear's safe mode is wanted. GPIO 2, 8 and 9 decide how the chip starts, 18 and 19 are USB, 11
to 17 hold the flash.
"""

from machine import I2S, Pin

from hushbear.pixel_light import PixelLight

NAME = "esp32_c3"
RECORD_PAW = 3
PLAY_PAW = None  # one paw for both
LED = 8
AMPLIFIER = 10
FULL_DUPLEX = False  # microphone and amplifier take turns


def microphone(ibuf):
    """Start the microphone's I2S; `ibuf` is its DMA memory in bytes."""
    return I2S(
        0, sck=Pin(4), ws=Pin(5), sd=Pin(6), mode=I2S.RX, bits=32, format=I2S.MONO,
        rate=16000, ibuf=ibuf,
    )  # fmt: skip


def speaker(ibuf):
    """Start the amplifier's I2S; `ibuf` is its DMA memory in bytes."""
    return I2S(
        0, sck=Pin(4), ws=Pin(5), sd=Pin(7), mode=I2S.TX, bits=16, format=I2S.MONO,
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
