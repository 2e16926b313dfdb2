"""The toy's secrets, in the ESP32's NVS, namespace "hushbear": reading them.

    Keys(nvs=None)
    .psks() -> list of (slot, psk)      of the paired phones
    .epoch() -> int                     of the newest family key, 0 if there is none
    .family_key(epoch) -> bytes or None

They are one set, in one blob. A free place in it is zeros:

    generation u32 | 8 phones: psk 32 bytes, sender id 8 bytes, paired at u32
    | 8 family keys, oldest first: epoch u32, key 32 bytes | CRC-32 of all before it

Sets are written under "set1" and "set0" in turn, and the whole one with the highest generation
counts, so that a loss of power leaves the old set or the new. family.py writes them, which a toy
loads for that only. Nothing is kept in memory: a key is read when it is needed.
"""

import struct
from binascii import crc32

_PHONES = const(8)  # family_wire.SLOTS, which the app does not load
_PHONE_SIZE = const(44)
_PHONES_AT = const(4)
_EPOCHS = const(8)  # family_wire.EPOCHS_MAX
_EPOCH_SIZE = const(36)
_EPOCHS_AT = const(356)
_CRC_AT = const(644)
_SIZE = const(648)
_PSK_SIZE = const(32)
_NOT_FOUND = const(-0x1102)  # ESP_ERR_NVS_NOT_FOUND
_INVALID_LENGTH = const(-0x110C)  # ESP_ERR_NVS_INVALID_LENGTH: longer than a set


def phone_place(blob, slot):
    """Return where in a set a phone is."""
    at = _PHONES_AT + slot * _PHONE_SIZE
    return memoryview(blob)[at : at + _PHONE_SIZE]


def key_place(blob, n):
    """Return where in a set a family key is, n from 0 for the oldest."""
    at = _EPOCHS_AT + n * _EPOCH_SIZE
    return memoryview(blob)[at : at + _EPOCH_SIZE]


def epochs(blob):
    """Return the family keys of a set, oldest first: list of (epoch, key)."""
    every = [struct.unpack("<I32s", key_place(blob, n)) for n in range(_EPOCHS)]
    return [each for each in every if each[0]]


class Keys:
    def __init__(self, nvs=None):
        if nvs is None:
            from esp32 import NVS

            nvs = NVS("hushbear")
        self.nvs = nvs

    def psks(self):
        blob = self.load()
        every = [(slot, bytes(phone_place(blob, slot)[:_PSK_SIZE])) for slot in range(_PHONES)]
        return [each for each in every if any(each[1])]

    def epoch(self):
        known = epochs(self.load())
        return known[-1][0] if known else 0

    def family_key(self, epoch):
        for each, key in epochs(self.load()):
            if each == epoch:
                return key
        return None

    def load(self):
        """Return the set that counts as its blob, zeros if there is none. Raises OSError."""
        blob = bytearray(_SIZE)
        first = self._read("set0", blob)
        second = self._read("set1", blob)
        if first > second:
            self._read("set0", blob)
        return blob

    def _read(self, name, blob):
        # Return the generation; where there is no whole set, 0 and zeros in the blob.
        try:
            size = self.nvs.get_blob(name, blob)
        except OSError as error:
            if error.errno not in (_NOT_FOUND, _INVALID_LENGTH):
                raise
            size = 0
        (crc,) = struct.unpack_from("<I", blob, _CRC_AT)
        if size == _SIZE and crc == crc32(memoryview(blob)[:_CRC_AT]):
            return struct.unpack_from("<I", blob)[0]
        blob[:] = bytes(_SIZE)
        return 0
