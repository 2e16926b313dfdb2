"""The family's phones and keys, changed: when a phone is paired, named or removed. keys.py says
how they are kept.

    Family(keys)
    .phones() -> list of (slot, sender id, paired at (Unix s, 0 = unknown), name)
    .epochs(above=0) -> list of (epoch, key)    above that epoch, oldest first
    .found()                                    makes the first family key if there is none
    .add(psk, sender, name, at) -> slot         KeysFull if all places are taken
    .remove(slot)                               takes effect at once, and makes a new family key
    .rename(slot, name)
    .renew(above)                               makes a new family key if none is above that epoch

A name is up to 32 bytes of UTF-8 without control characters; ValueError else. A slot without a
phone is a KeyError, an epoch above the newest a ValueError; NVS may raise OSError, and then all is
as it was. Keys are from os.urandom, whose numbers are random while the radio is on (ESP-IDF,
"Random Number Generation"): it has to be.
"""

import os
import struct
from binascii import crc32

from hushbear.family_wire import EPOCH, EPOCHS_MAX, NAME_SIZE, SLOTS
from hushbear.keys import epochs, key_place, phone_place
from hushbear.wire import KEY_SIZE

_PHONE = "<32s8sI"  # psk, sender id, paired at
_SENDER_SIZE = const(8)


class KeysFull(Exception):
    """Every place has a phone: one of them has to be removed first."""


class Family:
    def __init__(self, keys):
        self._keys = keys
        self._nvs = keys.nvs

    def phones(self):
        blob = self._keys.load()
        found = []
        for slot in range(SLOTS):
            psk, sender, at = struct.unpack(_PHONE, phone_place(blob, slot))
            if any(psk):
                found.append((slot, sender, at, self._name(slot)))
        return found

    def epochs(self, above=0):
        return [each for each in epochs(self._keys.load()) if each[0] > above]

    def found(self):
        blob = self._keys.load()
        if not epochs(blob):
            _new_epoch(blob)
            self._write(blob)

    def add(self, psk, sender, name, at):
        if len(psk) != KEY_SIZE or not any(psk):
            raise ValueError("not a 32-byte key")
        if len(sender) != _SENDER_SIZE or not any(sender):
            raise ValueError("not the id of a phone")
        name = cleaned(name)
        blob = self._keys.load()
        free = [slot for slot in range(SLOTS) if not any(phone_place(blob, slot)[:KEY_SIZE])]
        if not free:
            raise KeysFull("all %d places are taken" % SLOTS)
        slot = free[0]
        # A phone has its name from its first moment on; that of an empty place is not seen.
        self._nvs.set_blob("name%d" % slot, name)
        self._nvs.commit()
        struct.pack_into(_PHONE, phone_place(blob, slot), 0, psk, sender, at)
        self._write(blob)
        return slot

    def remove(self, slot):
        blob = self._with(slot)
        place = phone_place(blob, slot)
        place[:] = bytes(len(place))
        _new_epoch(blob)
        old = self._write(blob)
        for name in (old, "name%d" % slot):  # what a lost phone could be known by
            try:
                self._nvs.erase_key(name)
            except OSError:  # it is not there
                pass
        self._nvs.commit()

    def rename(self, slot, name):
        self._with(slot)
        self._nvs.set_blob("name%d" % slot, cleaned(name))
        self._nvs.commit()

    def renew(self, above):
        blob = self._keys.load()
        newest = max([epoch for epoch, _ in epochs(blob)], default=0)
        if above > newest:
            raise ValueError("no such epoch")
        if above == newest:
            _new_epoch(blob)
            self._write(blob)

    def _with(self, slot):
        blob = self._keys.load()
        if not 0 <= slot < SLOTS or not any(phone_place(blob, slot)[:KEY_SIZE]):
            raise KeyError(slot)
        return blob

    def _name(self, slot):
        name = bytearray(NAME_SIZE)
        try:
            if self._nvs.get_blob("name%d" % slot, name) == NAME_SIZE:
                return bytes(name)
        except OSError:  # it is not there, or damaged
            pass
        return bytes(NAME_SIZE)

    def _write(self, blob):
        # Return under which name the set before this one is.
        (generation,) = struct.unpack_from("<I", blob)
        struct.pack_into("<I", blob, 0, generation + 1)
        summed = memoryview(blob)[:-4]
        struct.pack_into("<I", blob, len(summed), crc32(summed))
        self._nvs.set_blob("set%d" % (generation + 1 & 1), blob)
        self._nvs.commit()
        return "set%d" % (generation & 1)


def _new_epoch(blob):
    known = epochs(blob)
    known.append((known[-1][0] + 1 if known else 1, os.urandom(KEY_SIZE)))
    for n, each in enumerate(known[-EPOCHS_MAX:]):
        struct.pack_into(EPOCH, key_place(blob, n), 0, *each)


def cleaned(name):
    """Return a name as it is kept, padded with zeros, or raise ValueError."""
    text = bytes(name).rstrip(b"\0")
    if len(text) > NAME_SIZE or any(c < 32 or c == 127 for c in text):
        raise ValueError("not a name")
    str(text, "utf-8")  # a UnicodeError is a ValueError
    return text + bytes(NAME_SIZE - len(text))
