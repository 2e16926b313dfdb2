"""The paws: from bouncing contacts to what the child wants.

What a press means is in two_paws.py or one_paw.py, whichever the board has. The first edge of a
press acts at once, then the contact is not believed for its lockout; where it stands after that,
it stands.
"""

import time

_LOCKOUT_MS = const(25)
_PAUSE_MS = const(20)  # without a sample: something held everything up

RECORD = "record"  # the paw that records went down (or has been held, where there is one paw)
KEEP = "keep"  # ... and was let go
PLAY = "play"
SKIP = "skip"
HAND = "hand"  # a grown-up's: both paws were held for 5 s, or the only one as one_paw.py says


class Contact:
    """Debounces one contact."""

    def __init__(self):
        self.down = False
        self.locked = False  # it may bounce
        self.since = 0  # when it changed

    def sample(self, down, now):
        """Take the level at time `now`, in ms; return whether the contact has changed."""
        if self.locked:
            if time.ticks_diff(now, self.since) < _LOCKOUT_MS:
                return False
            self.locked = False
        if down == self.down:
            return False
        self.down = down
        self.locked = True
        self.since = now
        return True

    def held(self, now):
        """Milliseconds since the press began, 0 when up."""
        return time.ticks_diff(now, self.since) if self.down and not self.locked else 0


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
            from hushbear.one_paw import OnlyPaw

            self._add(board.paw(board.RECORD_PAW), OnlyPaw())
        else:
            from hushbear.two_paws import PlayPaw, RecordPaw

            record = RecordPaw()
            self._add(board.paw(board.RECORD_PAW), record)
            self._add(board.paw(board.PLAY_PAW), PlayPaw(record.contact))

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
            elif gesture is HAND:
                self.recording = False  # and what was recorded is too short to be kept
                self._since = now
                self.held_ms = 0
                self._gesture = HAND
            elif gesture and not self.recording:
                self._gesture = gesture
        self._sampling = False

    def pending(self):
        """Whether a gesture waits to be taken."""
        self._sample()
        return self._gesture is not None

    def next(self):
        """Return RECORD, PLAY, SKIP, HAND or None. Call it every few milliseconds."""
        self._sample()
        gesture = self._gesture
        self._gesture = None
        return gesture
