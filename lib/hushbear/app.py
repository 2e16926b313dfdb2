"""The toy: what a press of a paw means, and all that runs side by side.

Record paw: the LED and a beep, then the microphone listens until the paw is let go, the limit is
reached or the flash is full; two notes say that the message is kept. A press shorter than the
shortest recording is discarded with a blip. While a message plays, it stops that and records.

Play paw: plays the oldest unheard message. Pressed again while it plays, or within AGAIN_MS of
its end, it repeats that message from the beginning; later it plays the next unheard one, or the
last heard one where none is left. Held, it skips to the next.

A message counts as heard when it was played to its end, or skipped: a hand decided so, and what
nobody wants to hear must not stand before the others for ever. Interrupted by a recording, it
stays unheard. One that cannot be read, or is not what was sealed, counts as heard for the same
reason: the toy says that it is broken, and keeps it for a phone to fetch.

Both paws held for 5 s (the only one: paws.HAND) are no child's: the toy restarts, into the program
that pairs and erases. What was being recorded is discarded.

In quiet hours, or with the volume at 0, nothing sounds: the play paw makes the LED flash and
leaves the message unheard, recording works without its beeps.
"""

import asyncio
import gc
import machine
import os
import time

from hushbear import container, leds, sealing, store, wire
from hushbear.audio import POLL_MS, tones
from hushbear.audio.mic import Mic
from hushbear.audio.speaker import Speaker, Unreadable
from hushbear.clock import Clock
from hushbear.crashlog import CrashLog
from hushbear.keys import Keys
from hushbear.link import Link
from hushbear.link.radio import Radio
from hushbear.once import once
from hushbear.paws import HAND, RECORD, SKIP, Paws
from hushbear.services import Services
from hushbear.settings import Settings
from hushbear.store.errors import StoreError, StoreFull
from hushbear.supervisor import Supervisor

AGAIN_MS = const(10000)
_WATCHDOG_MS = const(10000)
_ALIVE_MS = const(8000)  # without a sign of life, a task is stuck; flash may be slow
_HOUR_MS = const(3600000)
_REST_MS = const(30000)
_COLLECT_BYTES = const(4096)  # allocated between two collections: little, so as not to scatter
_LOOK_STEPS = const(5)  # LED steps between two looks at the store and the settings


class App:
    def __init__(self, board, buffers, crashlog):
        self._board = board
        self.crashlog = crashlog
        self._clock = self.crashlog.clock = Clock()
        self._settings = Settings(log=self.crashlog.write)
        self._store = store.Store(log=self.crashlog.write)
        self._keys = Keys()
        self._services = Services(
            self._keys, self._store, self._settings, self._clock, self.crashlog, board.battery_mv
        )
        self._led = leds.Led(board.light())
        self._mic = Mic(board, self._led, buffers)
        self._speaker = Speaker(board, buffers)
        self._paws = Paws(board)
        self._link = Link(Radio(), self._services)
        self._chunk = buffers.chunk
        self._supervisor = None
        self._header = bytearray(container.HEADER_SIZE)
        self._played = None  # id of the message that was played last
        self._played_at = 0  # ... until when

    async def run(self):
        if machine.reset_cause() == machine.WDT_RESET:
            self.crashlog.write("restarted by the watchdog")
        try:
            self._store.boot()
        except Exception as error:  # then it lives on without messages
            self.crashlog.write(error)
            self._led.error()
        self._supervisor = Supervisor(self.crashlog, machine.WDT(timeout=_WATCHDOG_MS))
        self._supervisor.start("paws", self._follow_paws, _ALIVE_MS)
        self._supervisor.start("led", self._show)
        self._supervisor.start("link", self._serve_phones, _ALIVE_MS)
        await asyncio.sleep_ms(0)  # They start, and what starting leaves behind goes at once.
        gc.collect()
        gc.threshold(_COLLECT_BYTES)
        await self._supervisor.run()

    async def _serve_phones(self):
        await self._link.run(self._link_is_alive)

    def _link_is_alive(self):
        self._supervisor.check_in("link")

    def close(self):
        """Stop what makes or takes sound."""
        self._mic.stop()
        self._speaker.close()

    # The LED

    async def _show(self):
        steps = 0
        while True:
            if steps == 0:
                steps = _LOOK_STEPS
                self._led.brightness = self._settings.brightness
                self._led.quiet_hours = self._settings.quiet(self._clock)
                self._led.unheard = self._store.waiting(wire.INBOX) > 0
            steps -= 1
            self._led.sending = self._link.transferring
            self._led.step()
            await asyncio.sleep_ms(leds.STEP_MS)

    # The paws

    async def _follow_paws(self):
        rested = time.ticks_add(time.ticks_ms(), -_HOUR_MS)
        while True:
            self._supervisor.check_in("paws")
            gesture = self._paws.next()
            if gesture is None:
                await asyncio.sleep_ms(POLL_MS)
                # At the start, and after an hour without a paw: what was heard can be repeated.
                if time.ticks_diff(time.ticks_ms(), rested) > _HOUR_MS:
                    rested = time.ticks_ms()
                    try:
                        await once("hushbear.expiry").look(self._services, self._interrupted)
                    except Exception as error:
                        self.crashlog.write(error)
                continue
            try:
                if gesture is RECORD:
                    await self._record()
                elif gesture is HAND:
                    from hushbear import mode

                    mode.hand()
                else:
                    await self._play(gesture is SKIP)
            except Exception:
                self._led.error()
                raise
            finally:
                self._services.state = wire.IDLE
                gc.collect()
            rested = time.ticks_ms()

    def _interrupted(self):
        self._supervisor.check_in("paws")
        return self._paws.pending()

    async def _sound(self, notes):
        await self._speaker.sound(notes, self._settings.effective_volume(self._clock))

    async def _say(self, prompt, notes):
        """Say a prompt, or sound `notes` where it cannot be said."""
        volume = self._settings.effective_volume(self._clock)
        log = self.crashlog.write
        voice = once("hushbear.audio.voice")
        source = voice.Voice(self._settings.voice, log)
        if volume and source.open(prompt):
            await voice.play(source, self._speaker, volume, self._interrupted, log)
        else:
            await self._sound(notes)

    # Recording

    async def _record(self):
        epoch = self._keys.epoch()
        if not epoch:  # nobody could hear it
            self._led.error()
            await self._say("no-family", tones.FULL)
            return
        self._services.state = wire.RECORDING
        recording = None
        sound = tones.BLIP
        try:
            if self._board.FULL_DUPLEX:
                self._mic.start()  # it warms up while the beep sounds
            await self._sound(tones.START)
            if self._paws.recording:
                if not self._board.FULL_DUPLEX:
                    self._mic.start()
                blocks = self._settings.record_max_s * container.RATE // container.BLOCK_SAMPLES
                self._mic.keep(blocks)
                header = container.pack_header(
                    os.urandom(16), container.TOY, self._clock.now(), epoch
                )
                recording = self._store.record(header, container.sealed_size(blocks))
                sealer = sealing.Sealer(
                    recording, header, self._keys.family_key(epoch), self._chunk
                )
                await self._listen(sealer)
                if self._long_enough() and not sealer.empty():
                    sealer.finish()
                    recording.keep()
                    sound = tones.STOP if sealer.room or self._mic.full() else tones.FULL
        except StoreFull:
            sound = tones.FULL
        finally:
            self._mic.stop()
            if recording:
                recording.discard()
        if sound is tones.FULL:
            self._led.error()
            await self._say("full", sound)
        else:
            await self._sound(sound)

    async def _listen(self, sealer):
        """Record while the paw is held, up to the limit, and as long as there is room."""
        mic = self._mic
        while self._paws.recording and sealer.room and not mic.full():
            self._interrupted()
            mic.drain(sealer)
            await asyncio.sleep_ms(POLL_MS)
        mic.stop()
        mic.drain(sealer)
        if mic.lost:
            self.crashlog.write("recording: %d blocks lost, flash too slow" % mic.lost)

    def _long_enough(self):
        return self._paws.recording or self._paws.held_ms >= self._settings.record_min_ms

    # Playing

    async def _play(self, skip):
        volume = self._settings.effective_volume(self._clock)
        if not volume:
            self._led.quiet()
            return
        entry = self._after_skip() if skip else self._choose()
        if entry is None:
            await self._sound(tones.NOTHING)
            return
        self._services.state = wire.PLAYING
        self._played = entry.id
        try:
            heard = await self._play_entry(entry, volume)
        except (Unreadable, StoreError, container.ContainerError) as error:
            self.crashlog.write(error)
            self._led.error()
            await self._say("broken", tones.BROKEN)
            heard = True
        self._played_at = time.ticks_ms()
        if heard:
            self._mark_heard(entry.id)

    async def _play_entry(self, entry, volume):
        """Play a message; return whether to its end."""
        speaker = self._speaker
        with self._store.open(wire.INBOX, entry.id) as reader:
            try:
                n = reader.readinto(self._header)
            except OSError:
                n = 0
            if n != container.HEADER_SIZE:
                raise container.ContainerError("header cut short")
            epoch = container.parse_header(self._header)[3]
            family_key = self._keys.family_key(epoch)
            if family_key is None:
                raise container.ContainerError("no key of epoch %d" % epoch)
            opener = sealing.Opener(reader, self._header, family_key, self._chunk)
            heard = await speaker.play(opener, volume, self._interrupted)
        if speaker.broken or speaker.starved:
            self.crashlog.write(
                "message: %d blocks broken, %d came late" % (speaker.broken, speaker.starved)
            )
        if speaker.broken:
            self._led.error()
        return heard

    def _choose(self):
        if self._played and time.ticks_diff(time.ticks_ms(), self._played_at) < AGAIN_MS:
            entry = self._store.find(wire.INBOX, self._played)
            if entry:
                return entry
        return self._store.oldest_unheard() or self._store.last_heard()

    def _after_skip(self):
        if self._played:
            self._mark_heard(self._played)
        return self._store.oldest_unheard()

    def _mark_heard(self, message_id):
        entry = self._store.find(wire.INBOX, message_id)
        if entry and not entry.done:
            self._store.mark_done(wire.INBOX, message_id)


def run(board, buffers):
    """Run the toy. Ctrl-C ends it, to the REPL. Whatever else ends it restarts the board, after a
    rest with the light blinking: a toy that fails at every start must not wear its flash out.
    """
    crashlog = CrashLog()
    try:
        app = App(board, buffers, crashlog)
        try:
            asyncio.run(app.run())
        finally:
            app.close()
    except KeyboardInterrupt:
        machine.WDT(timeout=_HOUR_MS)  # it cannot be stopped: leave the flash tool time
    except Exception as error:
        crashlog.write(error)
        machine.WDT(timeout=_HOUR_MS)
        board.light().blink()
        time.sleep_ms(_REST_MS)
        machine.reset()
