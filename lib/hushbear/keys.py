"""The 32-byte key (PSK) of each paired phone, in the ESP32's NVS, namespace "hushbear".

Keys(nvs=None)
.psks() -> list of (slot, key)

Nothing here adds or removes one: pairing.py does, which a running toy never loads.
"""

from hushbear.wire import KEY_SIZE

SLOTS = 8


class Keys:
    def __init__(self, nvs=None):
        if nvs is None:
            from esp32 import NVS

            nvs = NVS("hushbear")
        self._nvs = nvs
        self._keys = [self._load(slot) for slot in range(SLOTS)]

    def psks(self):
        return [(slot, key) for slot, key in enumerate(self._keys) if key is not None]

    def _load(self, slot):
        key = bytearray(KEY_SIZE)
        try:
            if self._nvs.get_blob("psk%d" % slot, key) == KEY_SIZE and any(key):
                return bytes(key)
        except OSError:  # ESP_ERR_NVS_NOT_FOUND; or longer than a key, which none of ours is
            pass
        return None
