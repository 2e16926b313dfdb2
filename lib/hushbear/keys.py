"""The 32-byte key (PSK) of each paired phone, in the ESP32's NVS, namespace "hushbear".

Keys(nvs=None)
.psks() -> list of (slot, key)
.add(key) -> slot       the slot it has already, if it was there; KeysFull if all 8 are taken
.remove(slot)           takes effect at once; KeyError if that slot is empty
"""

SLOTS = 8
SIZE = 32


class KeysFull(Exception):
    """Every slot has a key: a phone has to be removed first."""


class Keys:
    def __init__(self, nvs=None):
        if nvs is None:
            from esp32 import NVS

            nvs = NVS("hushbear")
        self._nvs = nvs
        self._keys = [self._load(slot) for slot in range(SLOTS)]

    def psks(self):
        return [(slot, key) for slot, key in enumerate(self._keys) if key is not None]

    def add(self, key):
        if len(key) != SIZE or not any(key):
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

    def _load(self, slot):
        key = bytearray(SIZE)
        try:
            if self._nvs.get_blob("psk%d" % slot, key) == SIZE and any(key):
                return bytes(key)
        except OSError:  # ESP_ERR_NVS_NOT_FOUND; or longer than a key, which none of ours is
            pass
        return None
