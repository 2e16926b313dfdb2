"""Stand-in for `select` in virtual time: waiting lets the clock go on."""

from micropython import const

import bus
import uselect
from uselect import POLLERR, POLLHUP, POLLIN, POLLOUT  # noqa: F401
from utime import ticks_diff, ticks_ms

_STREAM_POLL = const(3)
_PATIENCE = const(100)  # looks without waiting, after which one takes time nevertheless
_LOOK_US = const(100)

_looks = 0


class poll:
    def __init__(self):
        self._events = {}  # id: object
        self._masks = {}  # id: events asked for

    def register(self, obj, events=POLLIN | POLLOUT):
        new = id(obj) not in self._events
        self._events[id(obj)] = obj
        self._masks[id(obj)] = events
        return new

    def unregister(self, obj):
        if id(obj) in self._events:
            del self._events[id(obj)]
            del self._masks[id(obj)]

    def modify(self, obj, events):
        if id(obj) not in self._events:
            raise OSError(2)
        self._masks[id(obj)] = events

    def _ready(self):
        ready = ()
        for key in self._events:
            obj, mask = self._events[key], self._masks[key]
            if hasattr(obj, "ioctl") and not hasattr(obj, "fileno"):
                events = obj.ioctl(_STREAM_POLL, mask)
            else:
                real = uselect.poll()
                real.register(obj, mask)
                events = (real.poll(0) or ((None, 0),))[0][1]
            if events:
                ready += ((obj, events),)
        return ready

    def ipoll(self, timeout=-1, flags=0):
        global _looks
        depth = bus.unlock()
        try:
            ready = self._ready()
            if timeout == 0:
                _looks += 1
                if _looks > _PATIENCE and not ready:
                    bus.idle(_LOOK_US)
                    ready = self._ready()
            else:
                _looks = 0
            start = ticks_ms()
            while not ready and timeout:
                left = timeout
                if timeout > 0:
                    left = timeout - ticks_diff(ticks_ms(), start)
                    if left <= 0:
                        break
                bus.idle(min(left, 200_000) * 1000 if timeout > 0 else bus.FOREVER)
                ready = self._ready()
            return iter(ready)
        finally:
            bus.lock(depth)

    def poll(self, timeout=-1):
        return list(self.ipoll(timeout))


def select(rlist, wlist, xlist, timeout=None):
    poller = poll()
    for stream in rlist:
        poller.register(stream, POLLIN)
    for stream in wlist:
        poller.register(stream, POLLOUT | (POLLIN if stream in rlist else 0))
    ready = poller.poll(-1 if timeout is None else int(timeout * 1000))
    return (
        [stream for stream, events in ready if events & ~POLLOUT and stream in rlist],
        [stream for stream, events in ready if events & ~POLLIN and stream in wlist],
        [],
    )
