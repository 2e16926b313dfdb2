"""The paws: from bouncing contacts to what the child wants.

Two paws: `record` is held to record, `play` is pressed to play and held to skip. One paw: held it
records, tapped it plays. The first edge of a press acts at once, then the contact is not believed
for LOCKOUT_MS; where it stands after that, it stands. The classes without pins are pure: levels
and times in, gestures out.
"""

import time

LOCKOUT_MS = const(25)
HOLD_MS = const(800)  # play paw: from here on a press is a skip
_PAUSE_MS = const(20)  # without a sample: something held everything up
ONE_PAW_HOLD_MS = const(300)  # the only paw: from here on a press is a recording

RECORD = "record"  # the paw that records went down (or has been held, where there is one paw)
KEEP = "keep"  # ... and was let go
PLAY = "play"
SKIP = "skip"


class Contact:
    """Debounces one contact."""

    def __init__(self):
        self.down = False
        self.locked = False  # it may bounce
        self._since = 0

    def sample(self, down, now):
        """Take the level at time `now`, in ms; return whether the contact has changed."""
        if self.locked:
            if time.ticks_diff(now, self._since) < LOCKOUT_MS:
                return False
            self.locked = False
        if down == self.down:
            return False
        self.down = down
        self.locked = True
        self._since = now
        return True

    def held(self, now):
        """Milliseconds since the press began, 0 when up."""
        return time.ticks_diff(now, self._since) if self.down and not self.locked else 0


class RecordPaw:
    """Down: record. Up: keep."""

    def __init__(self):
        self.contact = Contact()

    def sample(self, down, now):
        if self.contact.sample(down, now):
            return RECORD if self.contact.down else KEEP
        return None


class PlayPaw:
    """Down: play. Held: skip."""

    def __init__(self):
        self.contact = Contact()
        self._skipped = False

    def sample(self, down, now):
        if self.contact.sample(down, now) and self.contact.down:
            self._skipped = False
            return PLAY
        if not self._skipped and self.contact.held(now) >= HOLD_MS:
            self._skipped = True
            return SKIP
        return None


class OnlyPaw:
    """Tapped: play. Held: record until let go."""

    def __init__(self):
        self.contact = Contact()
        self._recording = False

    def sample(self, down, now):
        if self.contact.sample(down, now):
            if self.contact.down:
                return None
            if self._recording:
                self._recording = False
                return KEEP
            return PLAY
        if not self._recording and self.contact.held(now) >= ONE_PAW_HOLD_MS:
            self._recording = True
            return RECORD
        return None


class Paws:
    """The board's paws. Pin interrupts catch presses while the toy is busy, `next()` the rest.

    A gesture that nobody has taken yet gives way to a newer one. While the record paw is held the
    play paw does nothing. Sampling allocates nothing: interrupts come while the heap is locked.

    While the flash erases, for 100 ms, nothing runs; an interrupt waits, and finds a paw up again
    that was tapped meanwhile. So an edge that ends such a pause was a tap.
    """

    def __init__(self, board):
        self.recording = False  # the paw that records is held
        self.held_ms = 0  # how long it was, once it is up
        self._since = 0
        self._gesture = None
        self._sampling = False
        self._sampled = 0  # when
        self._paws = []
        if board.PLAY_PAW is None:
            self._add(board.paw(board.RECORD_PAW), OnlyPaw())
        else:
            self._add(board.paw(board.RECORD_PAW), RecordPaw())
            self._add(board.paw(board.PLAY_PAW), PlayPaw())

    def _add(self, pin, paw):
        self._paws.append((pin, paw))
        pin.irq(self._edge, pin.IRQ_FALLING | pin.IRQ_RISING)

    def _edge(self, pin):
        if not self._sampling:  # else it interrupts next(), which is called again soon
            self._sample(pin)

    def _sample(self, edged=None):
        self._sampling = True
        now = time.ticks_ms()
        paused = time.ticks_diff(now, self._sampled) > _PAUSE_MS
        self._sampled = now
        for pin, paw in self._paws:
            down = not pin.value()
            if pin is edged and paused and not (paw.contact.down or paw.contact.locked):
                down = True  # it was
            gesture = paw.sample(down, now)
            if gesture is RECORD:
                self.recording = True
                self._since = now
                self._gesture = RECORD
            elif gesture is KEEP:
                self.recording = False
                self.held_ms = time.ticks_diff(now, self._since)
            elif gesture and not self.recording:
                self._gesture = gesture
        self._sampling = False

    def pending(self):
        """Whether a gesture waits to be taken."""
        self._sample()
        return self._gesture is not None

    def next(self):
        """Return RECORD, PLAY, SKIP or None. Call it every few milliseconds."""
        self._sample()
        gesture = self._gesture
        self._gesture = None
        return gesture
