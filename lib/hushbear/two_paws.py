"""Two paws: `record` is held to record, `play` is pressed to play and held to skip. Pure: levels
and times in, gestures out. A board loads this module or one_paw.py.
"""

from hushbear.paws import HAND, KEEP, PLAY, RECORD, SKIP, Contact

_HOLD_MS = const(800)  # play paw: from here on a press is a skip
_HAND_MS = const(5000)


class RecordPaw:
    """Down: record. Up: keep."""

    def __init__(self):
        self.contact = Contact()

    def sample(self, down, now):
        if self.contact.sample(down, now):
            return RECORD if self.contact.down else KEEP
        return None


class PlayPaw:
    """Down: play. Held: skip. Held together with `other`, a Contact: the family's hands."""

    def __init__(self, other=None):
        self.contact = Contact()
        self._other = other
        self._told = None  # the last gesture of this press

    def sample(self, down, now):
        gesture = None
        if self.contact.sample(down, now) and self.contact.down:
            gesture = PLAY
        else:
            held = self.contact.held(now)
            if held >= _HAND_MS and self._other and self._other.held(now) >= _HAND_MS:
                gesture = HAND
            elif held >= _HOLD_MS and self._told is PLAY:
                gesture = SKIP
        if gesture is None or gesture is self._told and gesture is not PLAY:
            return None
        self._told = gesture
        return gesture
