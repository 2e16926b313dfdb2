"""The host's end of the bus: frames between the peripherals here and the stand-ins in the toy.

device/bus.py says what a frame is. In virtual time host and toy take turns, so that neither sees
the other at a moment that depends on the machine: what is sent here reaches the toy when the loop
has nothing else to do, and the loop goes on when the toy sleeps.
"""

from __future__ import annotations

import asyncio
import enum
import inspect
import select
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from .clock import VirtualLoop, now_us

HEADER = struct.Struct("<HBBI")
REPLY = 0x80
FOREVER = 0xFFFFFFFF
STUCK_AFTER = 20  # seconds in which a toy does nothing though it is its turn
HUNG_AFTER = 10.0  # seconds of processor time in one turn, after which the clock goes on


class Channel(enum.IntEnum):
    SYS = 0
    GPIO = 1
    I2S = 2
    NEOPIXEL = 3
    BLE = 4
    WDT = 5


class Sys(enum.IntEnum):
    """Ops of the channel SYS."""

    HELLO = 1
    IDLE = 2
    RUN = 3
    MEMORY = 4
    RESET = 5
    STOPPED = 6
    STALL = 7
    RTC = 8
    TIMER = 9
    NVS = 10
    FLASH = 11
    CUT = 12
    TICK = 13


# handler(op, payload) -> the answer to a call, now or later; None where there is none
Handler: TypeAlias = Callable[[int, bytes], "bytes | Awaitable[bytes] | None"]


class _State(enum.Enum):
    GONE = enum.auto()  # no process
    RUNNING = enum.auto()  # it computes: its turn
    IDLE = enum.auto()  # it sleeps until `_until`
    CALLING = enum.auto()  # it waits for an answer that takes time
    HUNG = enum.auto()  # it computes, and the clock goes on nevertheless


class Bus:
    """One toy's bus. Handlers stay when its process ends and another takes its place."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.loop = loop or asyncio.get_running_loop()
        self._handlers: dict[int, Handler] = {Channel.SYS: self._on_sys}
        self.on_system: dict[int, Callable[[bytes], bytes | Awaitable[bytes] | None]] = {}
        self._socket: socket.socket | None = None
        self._received = bytearray()
        self._outbox: list[bytes] = []  # virtual time: goes out with the toy's next turn
        self._answers: list[bytes] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._state = _State.GONE
        self._until: int | None = None
        self._skew = 0  # µs that the toy's clock is ahead in the frame being handled
        self.console_fd: int | None = None  # read together with the bus, so that neither blocks
        self.on_console: Callable[[], None] = lambda: None
        self.on_clock: Callable[[int], None] = lambda _: None  # a frame says the toy's µs
        self.on_gone: Callable[[], None] = lambda: None
        self.on_error: Callable[[Exception], None] = lambda _: None  # a handler here raised
        self.cpu_time: Callable[[], float] = time.monotonic  # of the toy's process, in seconds
        self.frames = 0  # heard from the toy, ever

    @property
    def virtual(self) -> bool:
        return isinstance(self.loop, VirtualLoop)

    @property
    def connected(self) -> bool:
        return self._socket is not None

    def on(self, channel: int, handler: Handler) -> None:
        """Have handler(op, payload) called for what the toy says on a channel.

        What it returns is the answer to a call; an awaitable answers when it is done, and the
        toy does nothing until then.
        """
        self._handlers[channel] = handler

    def handle(self, channel: int, op: int, payload: bytes) -> bytes | Awaitable[bytes] | None:
        """Have a frame handled as if the toy had sent it."""
        handler = self._handlers.get(channel)
        return handler(op, payload) if handler else None

    def send(self, channel: int, op: int, payload: bytes = b"") -> None:
        """Send a frame; it interrupts the toy. Without a toy it is lost, as a pin's edge is."""
        if self._state is _State.GONE:
            return
        frame = self._frame(channel, op, payload)
        if self.virtual and self._state is not _State.HUNG:
            self._outbox.append(frame)
        else:
            self._write(frame)

    def attach(self, stream: socket.socket) -> None:
        """Begin with a new process at the other end."""
        self._socket = stream
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.settimeout(20)
        self._received.clear()
        self._outbox.clear()
        self._answers.clear()
        self._state = _State.RUNNING
        self._until = None
        if isinstance(self.loop, VirtualLoop):
            self.loop.join(self)
        else:
            self.loop.add_reader(stream, self._readable)
            if self.console_fd is not None:
                self.loop.add_reader(self.console_fd, self.on_console)

    def detach(self) -> None:
        """The process ended, or is to end."""
        if self._socket is None:
            return
        if isinstance(self.loop, VirtualLoop):
            self.loop.leave(self)
        else:
            self.loop.remove_reader(self._socket)
            if self.console_fd is not None:
                self.loop.remove_reader(self.console_fd)
        self._socket.close()
        self._socket = None
        self._state = _State.GONE
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()

    # Participant of virtual time

    def due(self, now: int) -> bool:
        match self._state:
            case _State.IDLE:
                return bool(self._outbox) or (self._until is not None and self._until <= now)
            case _State.CALLING:
                return bool(self._answers)
            case _State.RUNNING:
                return True
            case _State.HUNG:
                return bool(select.select(self._sources(), [], [], 0)[0])
            case _:
                return False

    def wake_us(self) -> int | None:
        if self._state is _State.HUNG:  # it may come back: look at it often
            return now_us(self.loop) + 1000
        return self._until if self._state is _State.IDLE else None

    def turn(self) -> None:
        frames, self._outbox = self._outbox, []
        if self._state is _State.IDLE:
            frames.append(self._frame(Channel.SYS, Sys.RUN, b""))
        elif self._state is _State.CALLING:
            frames.append(self._answers.pop(0))
        if self._state is not _State.HUNG:
            self._state = _State.RUNNING
        if frames:
            self._write(b"".join(frames))
        began: float | None = None
        silent = 0
        while self._state is _State.RUNNING:
            ready, _, _ = select.select(self._sources(), [], [], 1)
            if self.console_fd in ready:
                self.on_console()
            if self._socket in ready:
                self._readable()
            elif not ready:
                now = self.cpu_time()
                began = now if began is None else began
                silent += 1
                if silent >= STUCK_AFTER and now - began < 0.1:
                    self.on_error(TimeoutError("the toy waits for an answer that nobody gives"))
                if now - began > HUNG_AFTER:
                    self._state = _State.HUNG
        if self._state is _State.HUNG:
            self._readable_now()
        self.on_console()

    # Frames

    def _sources(self) -> list[socket.socket | int]:
        sources: list[socket.socket | int] = []
        if self._socket is not None:
            sources.append(self._socket)
        if self.console_fd is not None:
            sources.append(self.console_fd)
        return sources

    def _frame(self, channel: int, op: int, payload: bytes) -> bytes:
        clock = now_us(self.loop) & 0xFFFFFFFF
        return HEADER.pack(len(payload), channel, op, clock) + payload

    def _write(self, data: bytes) -> None:
        assert self._socket is not None
        try:
            self._socket.sendall(data)
        except OSError:
            self._gone()

    def _readable_now(self) -> None:
        if self._socket and select.select([self._socket], [], [], 0)[0]:
            self._readable()

    def _readable(self) -> None:
        if self._socket is None:
            return
        try:
            data = self._socket.recv(1 << 18)
        except OSError:
            data = b""
        if not data:
            self._gone()
            return
        self._received += data
        while self._socket is not None and len(self._received) >= HEADER.size:
            size, channel, op, clock = HEADER.unpack_from(self._received)
            end = HEADER.size + size
            if len(self._received) < end:
                break
            payload = bytes(self._received[HEADER.size : end])
            del self._received[:end]
            self.frames += 1
            self._skew = (clock - now_us(self.loop)) & 0xFFFFFFFF
            self._handle(channel, op, payload, clock)

    def _handle(self, channel: int, op: int, payload: bytes, clock: int) -> None:
        if self._state is _State.HUNG:
            self._state = _State.RUNNING
        try:
            self.on_clock(clock)
            answer = self.handle(channel, op, payload)
        except Exception as error:
            self.on_error(error)
            return
        if isinstance(answer, bytes):
            self._write(self._frame(channel, op | REPLY, answer))
        elif inspect.isawaitable(answer):
            self._state = _State.CALLING
            task = self.loop.create_task(self._answer_later(channel, op | REPLY, answer))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _answer_later(self, channel: int, op: int, answer: Awaitable[bytes]) -> None:
        try:
            frame = self._frame(channel, op, await answer)
        except Exception as error:
            self.on_error(error)
            return
        if self.virtual:
            self._answers.append(frame)
        elif self.connected:
            self._write(frame)

    def _on_sys(self, op: int, payload: bytes) -> bytes | Awaitable[bytes] | None:
        if op == Sys.IDLE:
            (us,) = struct.unpack("<I", payload)
            self._state = _State.IDLE
            self._until = None if us == FOREVER else now_us(self.loop) + self._skew + us
        elif op == Sys.STALL:
            return self._stall(struct.unpack("<I", payload)[0])
        elif op == Sys.TICK:
            self.send(Channel.SYS, Sys.TICK, payload)
        elif op in self.on_system:
            return self.on_system[op](payload)
        return None

    async def _stall(self, us: int) -> bytes:
        await asyncio.sleep(us / 1e6)
        return b""

    def _gone(self) -> None:
        self.detach()
        self.on_gone()
