"""Adding and removing phones: for the set-up over USB.

Pairing(nvs=None)       a Keys that can be changed
.add(key) -> slot       the slot it has already, if it was there; KeysFull if all 8 are taken
.remove(slot)           takes effect at once; KeyError if that slot is empty
"""

from hushbear.keys import SLOTS, Keys
from hushbear.wire import KEY_SIZE


class KeysFull(Exception):
    """Every slot has a key: a phone has to be removed first."""


class Pairing(Keys):
    def add(self, key):
        if len(key) != KEY_SIZE or not any(key):
            raise ValueError("not a 32-byte key")
        if key in self._keys:
            return self._keys.index(key)
        if None not in self._keys:
            raise KeysFull("all %d key slots are taken" % SLOTS)
        slot = self._keys.index(None)
        self._nvs.set_blob("psk%d" % slot, key)
        self._nvs.commit()
        self._keys[slot] = bytes(key)
        return slot

    def remove(self, slot):
        if not 0 <= slot < SLOTS or self._keys[slot] is None:
            raise KeyError(slot)
        self._keys[slot] = None
        self._nvs.erase_key("psk%d" % slot)
        self._nvs.commit()
