"""One paw for both: tapped it plays, held it records. Pure: levels and times in, gestures out. A
board loads this module or two_paws.py.
"""

import time

from hushbear.paws import HAND, KEEP, PLAY, RECORD, Contact

_HOLD_MS = const(300)  # from here on a press is a recording
_HAND_MS = const(5000)
_QUICK_MS = const(300)  # between two quick taps, at most
_TAPS = const(4)  # so many quick ones before a press that is held: the family's hand


class OnlyPaw:
    """Tapped: play. Held: record until let go. Tapped quickly, and the fifth time held: the
    family's hand; the microphone stays off then.
    """

    def __init__(self):
        self.contact = Contact()
        self._told = None  # RECORD or HAND, once it is held
        self._taps = 0  # quick ones in a row

    def sample(self, down, now):
        contact = self.contact
        held = contact.held(now)
        if down and not contact.down and time.ticks_diff(now, contact.since) > _QUICK_MS:
            self._taps = 0
        if contact.sample(down, now):
            if down:
                self._told = None
            elif self._told:
                self._taps = 0
                return KEEP
            elif held < _HOLD_MS:
                self._taps += 1
                return PLAY
            else:
                self._taps = 0
        elif not self._told:
            if self._taps < _TAPS and held >= _HOLD_MS:
                self._told = RECORD
            elif held >= _HAND_MS:
                self._told = HAND
            return self._told
        return None
