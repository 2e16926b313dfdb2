"""The chip's I2S peripherals with their DMA rings, and what hangs on them: speaker, microphone.

As ESP-IDF 5 and MicroPython's ESP32 port work together: a ring of descriptors of 256 frames turns
from the moment I2S is opened. A descriptor that was sent is cleared and given to the writer, so
the first sample written after opening is heard one turn of the ring later; one that was received
is given to the reader, and when the reader is late the oldest is lost.
"""

from __future__ import annotations

import dataclasses
import enum
import struct
from collections import deque
from collections.abc import Awaitable, Callable

import numpy as np
import numpy.typing as npt

from .bus import Bus, Channel
from .chip_clock import Alarm, Clock

FRAMES = 256  # of one descriptor
RX_FRAME = 8  # bytes: reception always moves two slots of 32 bits
SOUND_GAP = 0.3  # s of silence after which what comes is another sound, not the same one late

Pcm = npt.NDArray[np.int16]


class Op(enum.IntEnum):
    INIT = 1
    DEINIT = 2
    WRITE = 3
    WRITE_WAIT = 4
    READ = 5
    READ_WAIT = 6
    WRITTEN = 7
    FILLED = 8


@dataclasses.dataclass
class Sound:
    """What came out of the speaker without a pause. Zeros that the toy wrote count as sound."""

    start: float  # s on the toy's clock, of the first sample
    pieces: list[Pcm]
    rate: int
    underruns: int = 0  # times the ring ran dry in it

    @property
    def pcm(self) -> Pcm:
        return np.concatenate(self.pieces) if self.pieces else np.zeros(0, np.int16)

    @property
    def seconds(self) -> float:
        return sum(map(len, self.pieces)) / self.rate


class Speaker:
    """Everything that came out."""

    def __init__(self) -> None:
        self.sounds: list[Sound] = []
        self.muted: Callable[[], bool] = lambda: False  # the amplifier is shut down

    @property
    def underruns(self) -> int:
        return sum(sound.underruns for sound in self.sounds)

    def pcm(self, since: float = 0.0) -> Pcm:
        """Return all sounds that began at `since` or later, without the pauses between them."""
        pieces = [sound.pcm for sound in self.sounds if sound.start >= since]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)

    def heard(self, start: float, gap: int | None, pcm: Pcm, rate: int) -> None:
        """Samples went out, the first at `start`, after a `gap` of so many samples of silence;
        None if they are the first since I2S was opened."""
        if gap is None or not self.sounds or gap >= SOUND_GAP * rate:
            self.sounds.append(Sound(start, [], rate))
        elif gap > 0:
            self.sounds[-1].underruns += 1
            self.sounds[-1].pieces.append(np.zeros(gap, np.int16))
        self.sounds[-1].pieces.append(np.zeros_like(pcm) if self.muted() else pcm)


class Mic:
    """A MEMS microphone: 24 bits at the top of 32-bit slots, an offset, a click when it starts.

    `level` is what full scale of the sound played to it comes to at its output; `offset` and
    `noise` count in its 24-bit steps.
    """

    def __init__(self, clock: Clock, seed: int) -> None:
        self._clock = clock
        self._speech: list[tuple[int, npt.NDArray[np.float32]]] = []  # first frame since 0 s
        self._random = np.random.default_rng(seed)
        self.level = 0.25
        self.offset = 21000
        self.click = 1500000
        self.noise = 30.0
        self.rate = 16000
        self.overruns = 0  # descriptors lost because the toy did not read them
        self.skips = 0  # times that what was spoken went by unheard, as the host was busy
        self.opened: list[float] = []  # when the toy started it, by its clock
        self.closed: list[float] = []

    @property
    def running(self) -> bool:
        return len(self.opened) > len(self.closed)

    def speak(self, pcm: npt.ArrayLike, rate: int = 16000) -> float:
        """Play a sound to it from now on; return how many seconds of the toy's it takes."""
        if rate != self.rate:
            raise ValueError(f"the microphone runs at {self.rate} Hz, not {rate}")
        samples = np.asarray(pcm, np.float32) * (self.level * 256)
        self._speech.append((round(self._clock.time() * rate), samples))
        return len(samples) / rate

    def record(self, frame: int, since_start: int) -> npt.NDArray[np.int32]:
        """Return the left slots of 256 frames; `frame` counts from 0 s, the other from power."""
        signal = self._random.normal(self.offset, self.noise, FRAMES)
        if since_start < self.rate // 10:
            times = np.arange(since_start, since_start + FRAMES) / self.rate
            signal += self.click * np.exp(-times / 0.02)
        for start, samples in self._speech:
            first, last = max(start, frame), min(start + len(samples), frame + FRAMES)
            if first < last:
                signal[first - frame : last - frame] += samples[first - start : last - start]
        self._speech = [(s, x) for s, x in self._speech if s + len(x) > frame]
        full = (1 << 23) - 1
        return np.clip(np.rint(signal), -full, full).astype(np.int32) << 8


class _Channel:
    """One opened peripheral: its ring, and the requests that wait for it."""

    def __init__(self, bus: Bus, clock: Clock, head: bytes, rate: int, descriptors: int) -> None:
        self.bus = bus
        self.clock = clock
        self.head = head
        self.rate = rate
        self.count = descriptors
        self.started = clock.time()
        self.turned = 0  # descriptors done since then
        self._timer: Alarm | None = None
        self._schedule()

    def time_of(self, descriptor: int) -> float:
        """Return when the descriptor of that number begins."""
        return self.started + descriptor * FRAMES / self.rate

    def _schedule(self) -> None:
        self._timer = self.clock.call_at(self.time_of(self.turned + 1), self._tick)

    def _tick(self) -> None:
        self.done(self.turned)
        self.turned += 1
        late = self.clock.time() - self.time_of(self.turned + 1)
        if late > 0 and not self.bus.virtual:
            self.started += late  # this process had no processor: not the toy's fault
            self.late()
        self._schedule()

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()

    def done(self, number: int) -> None:
        """A descriptor was sent, or received."""
        raise NotImplementedError

    def late(self) -> None:
        """It was not done in time, for want of a processor here."""


class Transmitter(_Channel):
    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        head: bytes,
        rate: int,
        ibuf: int,
        bits: int,
        slots: int,
        speaker: Speaker,
    ) -> None:
        self._frame = bits // 8 * slots
        self._bits, self._slots = bits, slots
        self._speaker = speaker
        self._size = FRAMES * self._frame
        count = max(2, ibuf // self._size)
        self._ring = [bytearray(self._size) for _ in range(count)]
        self._filled: list[tuple[int, int] | None] = [None] * count  # bytes written
        self._free: deque[int] = deque()
        self._current: int | None = None
        self._at = 0
        self._waiting: deque[tuple[memoryview, Callable[[], None]]] = deque()
        self._end: int | None = None  # frame after the last one written that was sent
        super().__init__(bus, clock, head, rate, count)

    def done(self, number: int) -> None:
        index = number % self.count
        self._play(number, self._size)
        self._ring[index][:] = bytes(self._size)
        self._filled[index] = None
        if len(self._free) == self.count - 1:
            self._free.popleft()
        self._free.append(index)
        self._move()

    def _play(self, number: int, end: int) -> None:
        index = number % self.count
        written = self._filled[index]
        if written is None or written[0] >= min(written[1], end):
            return
        first, last = written[0], min(written[1], end)
        start = self.time_of(number) + first // self._frame / self.rate
        kind = np.dtype("<i2" if self._bits == 16 else "<i4")
        samples = np.frombuffer(bytes(self._ring[index][first:last]), kind)[:: self._slots]
        pcm = (samples if self._bits == 16 else samples >> 16).astype(np.int16)
        position = number * FRAMES + first // self._frame
        self._speaker.heard(
            start, None if self._end is None else position - self._end, pcm, self.rate
        )
        self._end = position + len(pcm)

    def close(self) -> None:
        super().close()
        elapsed = self.clock.time() - self.time_of(self.turned)
        self._play(self.turned, min(FRAMES, int(elapsed * self.rate)) * self._frame)

    def write(self, data: bytes, done: Callable[[], None]) -> None:
        """Take data into the ring as it has room; then call done()."""
        self._waiting.append((memoryview(data), done))
        self._move()

    @property
    def queued(self) -> int:
        return len(self._waiting)

    def _move(self) -> None:
        while self._waiting:
            data, done = self._waiting[0]
            while data:
                if self._current is None:
                    if not self._free:
                        self._waiting[0] = (data, done)
                        return
                    self._current, self._at = self._free.popleft(), 0
                n = min(len(data), self._size - self._at)
                self._ring[self._current][self._at : self._at + n] = data[:n]
                before = self._filled[self._current]
                self._filled[self._current] = (before[0] if before else self._at, self._at + n)
                self._at += n
                data = data[n:]
                if self._at == self._size:
                    self._current = None
            self._waiting.popleft()
            done()


class Receiver(_Channel):
    def __init__(
        self,
        bus: Bus,
        clock: Clock,
        head: bytes,
        rate: int,
        ibuf: int,
        bits: int,
        slots: int,
        mic: Mic,
    ) -> None:
        self._bits, self._slots = bits, slots
        self._mic = mic
        mic.rate = rate
        mic.opened.append(clock.time())
        self._received: deque[bytes] = deque()
        self._data = bytearray()  # from descriptors the reader has begun with
        self._waiting: deque[tuple[int, Callable[[bytes], None]]] = deque()
        super().__init__(bus, clock, head, rate, max(2, ibuf // (FRAMES * RX_FRAME)))

    def done(self, number: int) -> None:
        frame = round(self.time_of(number) * self.rate)
        left = self._mic.record(frame, number * FRAMES)
        if self._bits == 16:
            left = left >> 16
        data = np.zeros((FRAMES, self._slots), "<i2" if self._bits == 16 else "<i4")
        data[:, 0] = left
        if len(self._received) == self.count - 1:
            self._received.popleft()
            self._mic.overruns += 1
        self._received.append(data.tobytes())
        self._move()

    def close(self) -> None:
        super().close()
        self._mic.closed.append(self.clock.time())

    def late(self) -> None:
        self._mic.skips += 1

    def read(self, size: int, done: Callable[[bytes], None]) -> None:
        """Collect so many bytes; then call done(data)."""
        self._waiting.append((size, done))
        self._move()

    def _move(self) -> None:
        while self._waiting:
            size, done = self._waiting[0]
            while len(self._data) < size and self._received:
                self._data += self._received.popleft()
            if len(self._data) < size:
                return
            data = bytes(self._data[:size])
            del self._data[:size]
            self._waiting.popleft()
            done(data)


class I2S:
    """The peripherals: one that transmits is the speaker's, one that receives the mic's."""

    def __init__(self, bus: Bus, clock: Clock, speaker: Speaker, mic: Mic) -> None:
        self._bus, self._clock = bus, clock
        self._speaker, self._mic = speaker, mic
        self._open: dict[int, _Channel] = {}
        self.dropped = 0  # buffers handed over while two were waiting: the chip loses them
        bus.on(Channel.I2S, self._handle)

    def power_off(self) -> None:
        for channel in self._open.values():
            channel.close()
        self._open.clear()

    def _handle(self, op: int, payload: bytes) -> bytes | Awaitable[bytes] | None:
        number, head = payload[0], payload[:2]
        if op == Op.INIT:
            self._init(number, head, payload[2:])
            return b""
        channel = self._open.get(number)
        if channel is None or channel.head != head:
            return None
        if op == Op.DEINIT:
            channel.close()
            del self._open[number]
        elif isinstance(channel, Transmitter):
            if op == Op.WRITE_WAIT:
                return self._wait(lambda done: channel.write(payload[2:], lambda: done(b"")))
            if channel.queued >= 2:
                self.dropped += 1
            else:
                channel.write(payload[2:], lambda: self._bus.send(Channel.I2S, Op.WRITTEN, head))
        elif isinstance(channel, Receiver):
            (size,) = struct.unpack("<H", payload[2:])
            if op == Op.READ_WAIT:
                return self._wait(lambda done: channel.read(size, done))
            channel.read(size, lambda x: self._bus.send(Channel.I2S, Op.FILLED, head + x))
        return None

    def _init(self, number: int, head: bytes, settings: bytes) -> None:
        transmit, bits, stereo, rate, ibuf = struct.unpack("<BBBII", settings)
        slots = 2 if stereo else 1
        ring = self._bus, self._clock, head, rate, ibuf, bits, slots
        if transmit:
            self._open[number] = Transmitter(*ring, self._speaker)
        else:
            self._open[number] = Receiver(*ring, self._mic)

    async def _wait(self, begin: Callable[[Callable[[bytes], None]], None]) -> bytes:
        done = self._bus.loop.create_future()

        def finish(data: bytes) -> None:
            if not done.done():
                done.set_result(data)

        begin(finish)
        result: bytes = await done
        return result
