"""The LED: what it shows when, on whichever light the board has.

From what matters most to what matters least:

    recording   steady                  the microphone is on, whatever the settings
    error       six quick flashes       full, broken, failed (once each time)
    quiet       two short flashes       a paw was pressed in quiet hours, or with the volume at 0
    sending     two blinks a second     a phone and the toy are exchanging a message
    unheard     slow pulse              a message waits to be heard
    idle        dark

Brightness is a percentage; in quiet hours it is at most DIM. Brightness 0 darkens everything but
`recording`, which is never below DIM: nobody can set a toy to listen unseen. A light (PwmLight,
PixelLight) has `write(level, colour)` with level 0 to 255, and `blink()`, which goes on by itself.
"""

import time

DIM = const(10)  # percent
STEP_MS = const(40)

_ERROR_MS = const(1800)
_QUIET_MS = const(500)
_SENDING_MS = const(500)
_UNHEARD_MS = const(2400)

WHITE = (255, 255, 255)
RED = (255, 0, 0)
AMBER = (255, 110, 0)
GREEN = (60, 255, 60)
BLUE = (40, 80, 255)
VIOLET = (160, 0, 255)


class Led:
    def __init__(self, light):
        self.brightness = 100  # percent
        self.quiet_hours = False
        self.sending = False
        self.unheard = False
        self._light = light
        self._microphone = False
        self._flash = None  # (since, milliseconds, half period, colour) of error or quiet
        self._shown = None

    def microphone(self, on):
        """The microphone is about to be started, or has been stopped. Acts at once."""
        self._microphone = on
        self.step()

    def error(self):
        self._flash = (time.ticks_ms(), _ERROR_MS, 150, AMBER)
        self.step()

    def quiet(self):
        self._flash = (time.ticks_ms(), _QUIET_MS, 125, VIOLET)
        self.step()

    def step(self):
        """Bring the light up to date; called every STEP_MS."""
        percent = min(self.brightness, DIM) if self.quiet_hours else self.brightness
        level, colour = self._pattern(time.ticks_ms())
        if self._microphone:
            percent = max(percent, DIM)
        level = (level * percent + 99) // 100
        if (level, colour) != self._shown:
            self._light.write(level, colour)
            self._shown = (level, colour)

    def _pattern(self, now):
        if self._microphone:
            return 255, RED
        if self._flash:
            since, duration, half, colour = self._flash
            elapsed = time.ticks_diff(now, since)
            if 0 <= elapsed < duration:
                return (0 if elapsed // half & 1 else 255), colour
            self._flash = None
        if self.sending:
            return (255 if now % _SENDING_MS < _SENDING_MS // 2 else 0), BLUE
        if self.unheard:
            rising = now % _UNHEARD_MS * 510 // _UNHEARD_MS
            return (rising if rising < 256 else 510 - rising), GREEN
        return 0, WHITE
