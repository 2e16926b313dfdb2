"""What the hands that called want: to pair a phone, or, if they hold on, to erase everything.

At the start the paws are still held from the gesture. Let go within 5 s: the pairing window
opens. The toy says "pairing", its name if it has one, and a code, twice, and again whenever a paw
is tapped; it is open for two minutes or three attempts and says what became of it. Held on: the
toy says what will happen and counts down; let go, nothing has happened; at the end of the
countdown it erases everything.

An open window can be heard and seen, whatever the volume, the quiet hours and the light are set
to: the light blinks fast.
"""

import asyncio
import bluetooth
import gc
import machine
import time

from hushbear import leds, mode, spoken_name
from hushbear.audio import POLL_MS, tones
from hushbear.audio.speaker import Speaker
from hushbear.audio.voice import Voice, play
from hushbear.clock import Clock
from hushbear.family import Family
from hushbear.family_wire import SLOTS
from hushbear.hand.code import new_code
from hushbear.hand.window import Window
from hushbear.keys import Keys
from hushbear.paws import Contact
from hushbear.settings import Settings

_HOLD_MS = const(5000)
_COUNT_MS = const(1000)
_BLINK_MS = const(100)
_WATCHDOG_MS = const(10000)
_LONGEST_MS = const(300000)  # then the watchdog ends the program, whatever it is waiting for
_VOLUME_MIN = const(40)  # percent: who asked for a code has to hear it
_COLLECT_BYTES = const(8192)  # allocated between two collections: CPace leaves much behind


class Program:
    def __init__(self, board, buffers, radio, crashlog):
        self._radio = radio
        self._erasing = board.mode == mode.ERASE
        self._log = crashlog.write
        self._clock = crashlog.clock = Clock()
        settings = Settings(log=self._log)
        self._volume = max(settings.volume, _VOLUME_MIN)
        self._light = board.light()
        self._colour = leds.WHITE
        self._speaker = Speaker(board, buffers)
        self._voice = Voice(settings.voice, self._log)
        pins = [board.RECORD_PAW] if board.PLAY_PAW is None else [board.RECORD_PAW, board.PLAY_PAW]
        self._paws = [(board.paw(pin), Contact()) for pin in pins]
        self._tapped = False
        self._window = None
        self._heard = 0  # of the window's wrong attempts: those that were spoken of
        self._began = time.ticks_ms()
        self._watchdog = machine.WDT(timeout=_WATCHDOG_MS)

    async def run(self):
        gc.threshold(_COLLECT_BYTES)
        blinking = asyncio.create_task(self._blink())
        try:
            if self._erasing:
                await self._erase()
            elif not await self._held_on():
                await self._pair()
            elif await self._count_down():
                await self._say("erasing")
                mode.erase()
                await self._erase()
            else:
                await self._say("cancelled")
        finally:
            blinking.cancel()
            self._speaker.close()

    async def _blink(self):
        # The watchdog lives on this: a program that does not yield, or does not end, starves it.
        lit = False
        while True:
            lit = not lit
            self._light.write(255 if lit else 0, self._colour)
            if time.ticks_diff(time.ticks_ms(), self._began) < _LONGEST_MS:
                self._watchdog.feed()
            await asyncio.sleep_ms(_BLINK_MS)

    # The paws

    def _look(self):
        now = time.ticks_ms()
        for pin, contact in self._paws:
            if contact.sample(not pin.value(), now) and contact.down:
                self._tapped = True

    def _let_go(self):
        self._look()
        for _, contact in self._paws:
            if not contact.down:
                return True
        return False

    async def _held_on(self):
        """Wait until the paws have been held for 5 s more; return whether they were."""
        began = time.ticks_ms()
        await self._speaker.sound(tones.STOP, self._volume)
        while time.ticks_diff(time.ticks_ms(), began) < _HOLD_MS:
            if self._let_go():
                return False
            await asyncio.sleep_ms(POLL_MS)
        return True

    # The voice

    async def _say(self, name, interrupted=lambda: False, otherwise=()):
        """Say a prompt, or make a sound where there is no voice; return whether to the end."""
        if self._voice.open(name) is None:
            await self._speaker.sound(otherwise, self._volume)
            return not interrupted()
        return await self._play(self._voice, interrupted)

    async def _play(self, source, interrupted):
        return await play(source, self._speaker, self._volume, interrupted, self._log)

    # Erasing

    async def _count_down(self):
        """Return whether the paws are held to the end of it."""
        self._colour = leds.AMBER
        if not await self._say("let-go", self._let_go, tones.NOTHING):
            return False
        for left in range(5, 0, -1):
            began = time.ticks_ms()
            if not await self._say(str(left), self._let_go, tones.START):
                return False
            while time.ticks_diff(time.ticks_ms(), began) < _COUNT_MS:
                if self._let_go():
                    return False
                await asyncio.sleep_ms(POLL_MS)
        return True

    async def _erase(self):
        from hushbear.hand.erase import erase

        self._light.blink()  # by itself: nothing else runs now
        erase(self._watchdog.feed)
        mode.erased()
        await self._say("erased", otherwise=tones.STOP)

    # Pairing

    async def _pair(self):
        family = Family(Keys())
        if len(family.phones()) == SLOTS:
            await self._say("full", otherwise=tones.FULL)
            return
        if self._voice.open("0") is None:  # nobody could know the code
            await self._speaker.sound(tones.BROKEN, self._volume)
            return
        bluetooth.BLE().active(True)  # true random numbers need it
        code = new_code()
        self._window = window = Window(code, family, self._clock, self._log)
        serving = asyncio.create_task(self._radio.run(window.serve, lambda: None))
        try:
            await self._tell(code, 2)
            while not window.over() and not serving.done():
                await self._say_wrong()
                if self._tapped:
                    await self._tell(code, 1)
                self._look()
                await asyncio.sleep_ms(POLL_MS)
            if serving.done():
                await serving  # raises what ended it
            if window.paired:
                await self._say("paired", otherwise=tones.STOP)
            else:
                await self._say_wrong()
                await self._say("closed", otherwise=tones.STOP)
            while window.parting:
                await asyncio.sleep_ms(POLL_MS)
        finally:
            serving.cancel()

    async def _say_wrong(self):
        if self._window.wrong > self._heard:
            self._heard = self._window.wrong
            await self._say("wrong", self._disturbed, tones.BLIP)

    async def _tell(self, code, times):
        for _ in range(times):
            self._tapped = False
            for name in ["pairing"] + [chr(digit) for digit in code]:
                await self._say(name, self._disturbed)
                if name == "pairing" and not self._disturbed():
                    await self._say_own_name()
                if self._tapped or self._news():
                    return

    async def _say_own_name(self):
        if spoken_name.size():
            await self._play(spoken_name.Name(), self._disturbed)

    def _disturbed(self):
        self._look()
        return self._tapped or self._news()

    def _news(self):
        return self._window.wrong > self._heard or self._window.over()
