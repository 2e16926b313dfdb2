"""All of the toy that a phone can reach: what the link's requests are answered from.

It refers to no microphone, paw or speaker, and must not: nothing that comes over a link may start,
arm or prolong a recording. The app sets `state`; requests only read it.
"""

from hushbear import wire


class Services:
    def __init__(self, keys, store, settings, clock, crashlog, battery_mv):
        self.keys = keys
        self.sessions = []  # those that are open; the link keeps them
        self.store = store
        self.settings = settings
        self.clock = clock
        self.crashlog = crashlog
        self.state = wire.IDLE
        self.battery_mv = battery_mv  # () -> mV, 0 where that is not measured
