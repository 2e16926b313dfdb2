"""A light for the LED: one from a GPIO to ground, dimmed by PWM."""

from machine import PWM


class PwmLight:
    def __init__(self, pin):
        self._pwm = PWM(pin, freq=1000, duty_u16=0)

    def write(self, level, colour=None):
        self._pwm.duty_u16(level * level * 65535 // 65025)  # eyes see the square root

    def blink(self):
        self._pwm.freq(2)
        self._pwm.duty_u16(32768)
