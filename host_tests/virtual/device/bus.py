"""The chip's end of the bus: what the stand-ins say to the virtual toy's host, and hear from it.

A frame is u16 payload length, u8 channel, u8 op, u32 time in microseconds, then the payload.
An op with REPLY set answers a call. It goes over the wire of line.py. Stand-ins stand for
hardware: what runs in here runs with the heap unlocked, whatever the firmware asked for, and user
code runs with its lock put back.

In real time frames interrupt between bytecodes. In virtual time the clock stands still while the
firmware computes, and frames come while it sleeps, waits in poll, or has just ended a call.
"""

import gc
import json
import micropython
import struct
import sys
from micropython import const

import line
from utime import ticks_diff, ticks_us

SYS = const(0)
GPIO = const(1)
I2S = const(2)
NEOPIXEL = const(3)
BLE = const(4)
WDT = const(5)
REPLY = const(0x80)

# Ops of SYS
HELLO = const(1)  # call: begins the conversation; answered with the chip's configuration, JSON
IDLE = const(2)  # u32 µs: nothing to do for so long (virtual time)
RUN = const(3)  # from the host: time has passed, or frames came (virtual time)
MEMORY = const(4)  # call from the host: u32 heap bytes free, in use, in use with the stand-ins
RESET = const(5)  # call that is never answered: u8 cause
STOPPED = const(6)  # main.py ended; str how
STALL = const(7)  # call: u32 µs during which no callback runs (virtual and real time)
RTC = const(8)  # u32 s: the clock was set to so many seconds since 2000
TIMER = const(9)  # u8 id, u8 periodic, u32 µs; 0 µs stops it. From the host: u8 id: it fired
NVS = const(10)  # call: see esp32.py
FLASH = const(11)  # call from the host: settings, JSON; the answer: counts, JSON
CUT = const(12)  # call that is never answered: the power went in the middle of a flash operation
TICK = const(13)  # u32 µs: a chip with a clock of its own says the time. From the host: it knows

FOREVER = const(0xFFFFFFFF)
_STEP_US = const(1 << 28)  # µs in one IDLE at most: half the ticks' range is 2**29

virtual = line.virtual

_handlers = {}
_registers = {}
_queue = []  # frames that came while a call was waiting, or in the middle of a callback
_replies = []  # answers to calls further down the stack
_busy = False  # somebody is reading frames
_missed = False  # an interrupt came meanwhile
_kicked = False
_dispatching = False
_idles = 0  # IDLE frames sent
_runs = 0  # RUN frames received: each IDLE has its own, in their order
_locked = 0  # the firmware's heap lock depth, while a handler runs


def unlock():
    """Unlock the heap; return how deep it was locked."""
    depth = line.locked()
    for _ in range(depth):
        micropython.heap_unlock()
    return depth


def lock(depth):
    """Lock the heap `depth` deep, on top of what it is."""
    while depth:
        micropython.heap_lock()
        depth -= 1


def _write(channel, op, payload):
    # One write a frame: a callback that sends another one cannot get into the middle.
    line.write(struct.pack("<HBBI", len(payload), channel, op, line.micros()) + payload)


def _read():
    global _runs
    # No branch in between, so no callback that reads, too, gets into the middle.
    try:
        head = line.read(8)
        payload = line.read(head[0] | head[1] << 8)
    except (IndexError, OSError):
        line.lost()
    if virtual:
        line.clock(struct.unpack_from("<I", head, 4)[0])
        if head[2] == SYS and head[3] == RUN:
            _runs += 1
    if head[2] in _registers:
        _registers[head[2]](head[3], payload)
    return head[2], head[3], payload


def on(channel, handler, register=None):
    """Have handler(op, payload) called for the frames of a channel, as an interrupt would be.

    register(op, payload) is called at once, even while no callback may run: what the hardware
    does by itself.
    """
    _handlers[channel] = handler
    if register:
        _registers[channel] = register


def send(channel, op, payload=b""):
    """Send a frame."""
    depth = unlock()
    try:
        _write(channel, op, payload)
    finally:
        lock(depth)


def call(channel, op, payload=b""):
    """Send a frame and return the payload of its answer. No callback runs meanwhile."""
    global _busy
    depth = unlock()
    nested = _busy
    _busy = True
    try:
        _write(channel, op, payload)
        return _answer(channel, op | REPLY)
    finally:
        _busy = nested
        _kick()
        lock(depth)


def _answer(channel, op):
    while True:
        for i, frame in enumerate(_replies):
            if frame[0] == channel and frame[1] == op:
                return _replies.pop(i)[2]
        frame = _read()
        if frame[0] == channel and frame[1] == op:
            return frame[2]
        if frame[0] != SYS or frame[1] != RUN:
            (_replies if frame[1] & REPLY else _queue).append(frame)


def _kick():
    # What a call left behind is dispatched between the next bytecodes.
    global _kicked
    if (_queue or _missed) and not _busy and not _kicked:
        try:
            micropython.schedule(_interrupted, 0)
            _kicked = True
        except RuntimeError:
            pass  # the scheduler's queue is full: the next bus operation tries again


def _interrupted(_):
    global _busy, _missed, _kicked, _locked
    _kicked = False
    if _busy:
        _missed = True
        return
    depth = unlock()
    _missed = False
    _locked = depth
    _busy = True
    try:
        while True:
            if _queue:
                _dispatch(_queue.pop(0))
            elif not virtual and line.ready():
                _dispatch(_read())
            else:
                break
    finally:
        _busy = False
        lock(_locked)


def _dispatch(frame):
    global _dispatching
    channel, op, payload = frame
    if op & REPLY:
        _replies.append(frame)
        return
    if _dispatching:
        _queue.append(frame)
        return
    _dispatching = True
    try:
        handler = _handlers.get(channel)
        if handler:
            handler(op, payload)
    except BaseException as e:
        sys.print_exception(e)  # what the chip does with an exception in a callback
    finally:
        _dispatching = False


def interrupt(callback, *args):
    """Call user code from a handler, its heap lock as it left it; return what it returns.

    What it raises goes on to the handler, and from there, if nobody minds, to the console.
    """
    global _locked
    n = len(args)
    a, b, c = args + (None,) * (3 - n)
    lock(_locked)
    try:
        if n == 1:
            return callback(a)
        if n == 2:
            return callback(a, b)
        if n == 3:
            return callback(a, b, c)
        return callback()
    finally:
        _locked = unlock()


def idle(us):
    """Let up to `us` µs of virtual time pass; return early if anything was dispatched."""
    global _busy, _idles, _locked
    depth = unlock()
    mine = _idles
    _idles += 1
    nested = _busy
    _busy = True
    outer = _locked
    _locked = depth
    try:
        _write(SYS, IDLE, struct.pack("<I", us))
        while _runs <= mine:
            frame = _read()
            if frame[0] != SYS or frame[1] != RUN:
                _dispatch(frame)
    finally:
        depth = _locked
        _locked = outer
        _busy = nested
        _kick()
        lock(depth)


def sleep_ms(ms):
    """Sleep in virtual time: callbacks run meanwhile."""
    while ms > _STEP_US // 1000:
        sleep_us(_STEP_US // 1000 * 1000)
        ms -= _STEP_US // 1000
    sleep_us(ms * 1000)


def sleep_us(us):
    """The same, for up to half the range of the ticks."""
    while us > 0:
        start = ticks_us()
        idle(us)
        us -= ticks_diff(ticks_us(), start)


def stall(us):
    """Let time pass, virtual or real, with no callback running: the CPU's caches are off."""
    depth = unlock()
    call(SYS, STALL, struct.pack("<I", us))
    lock(depth)


system = {}  # op of SYS: handler(payload)


def mask(on):
    """Let no frame interrupt while `on`; return what it was."""
    global _busy
    was = _busy
    _busy = on
    _kick()
    return was


def _memory(_):
    gc.collect()
    free, used = max(0, gc.mem_free() - config["spare"]), gc.mem_alloc()
    send(SYS, MEMORY | REPLY, struct.pack("<III", free, used - config["reserved"], used))


def _system(op, payload):
    if op in system:
        system[op](payload)


system[MEMORY] = _memory
on(SYS, _system)
config = json.loads(call(SYS, HELLO))  # what the host made this chip to be
if not virtual:
    line.watch(_interrupted)
