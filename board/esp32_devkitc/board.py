"""ESP32-DevKitC with an INMP441 microphone and a MAX98357A amplifier: the default board.

    GPIO 32 ── INMP441 SCK            GPIO 26 ── MAX98357A BCLK
    GPIO 25 ── INMP441 WS             GPIO 27 ── MAX98357A LRC
    GPIO 33 ── INMP441 SD             GPIO 22 ── MAX98357A DIN
    GND     ── INMP441 L/R (left)     GPIO 21 ── MAX98357A SD (shut down while low)
    3V3     ── INMP441 VDD            5V      ── MAX98357A VIN

    GPIO 18 ── record paw ── GND      GPIO 4 ── 330 ohm ── LED ── GND
    GPIO 19 ── play paw   ── GND

The paws are switches to ground on the chip's own pull-ups. GPIO 0, 2, 5, 12 and 15 decide how the
chip starts, 34 to 39 have no pull-up, 6 to 11 hold the flash: none of them is used.
"""

from machine import I2S, Pin

from hushbear.pwm_light import PwmLight

NAME = "esp32_devkitc"
RECORD_PAW = 18
PLAY_PAW = 19
LED = 4
AMPLIFIER = 21
FULL_DUPLEX = True  # microphone and amplifier each have an I2S peripheral


def microphone(ibuf):
    """Start the microphone's I2S; `ibuf` is its DMA memory in bytes."""
    return I2S(
        0, sck=Pin(32), ws=Pin(25), sd=Pin(33), mode=I2S.RX, bits=32, format=I2S.MONO,
        rate=16000, ibuf=ibuf,
    )  # fmt: skip


def speaker(ibuf):
    """Start the amplifier's I2S; `ibuf` is its DMA memory in bytes."""
    return I2S(
        1, sck=Pin(26), ws=Pin(27), sd=Pin(22), mode=I2S.TX, bits=16, format=I2S.MONO,
        rate=16000, ibuf=ibuf,
    )  # fmt: skip


def paw(pin):
    return Pin(pin, Pin.IN, Pin.PULL_UP)


def amplifier():
    """The pin that switches the amplifier on, off to begin with; None where it is not wired."""
    return Pin(AMPLIFIER, Pin.OUT, value=0)


def light():
    return PwmLight(Pin(LED))


def battery_mv():
    return 0  # fed over USB, not measured
