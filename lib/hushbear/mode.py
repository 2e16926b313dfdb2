"""Which program the toy starts: the app, or the one for the family's hands (hushbear.hand).

    hand()            restart into the hand program, once
    take() -> mode    boot.py asks, before all else: APP, HAND, ERASE
    erase()           from now on every start goes on erasing ...
    erased()          ... until this

Only a hand on the toy leads here. HAND is an integer in NVS, "mode", and taken when it is read:
what happens in the hand program, the next start is the app's, and so it is after a loss of power.
ERASE is a file, since erasing begins with NVS; of its bytes, each is a start that did not finish,
and after some of them the toy is let live.
"""

import machine
import os
from esp32 import NVS

APP = const(0)
HAND = const(1)
ERASE = const(2)

_PATH = "/erasing"
_STARTS = const(8)


def hand():
    nvs = NVS("hushbear")
    nvs.set_i32("mode", HAND)
    nvs.commit()
    machine.reset()


def take():
    if _erasing():
        return ERASE
    try:
        nvs = NVS("hushbear")
        mode = nvs.get_i32("mode")
        nvs.erase_key("mode")
        nvs.commit()
    except OSError:  # there is none, or one that would come again
        return APP
    return HAND if mode == HAND and machine.reset_cause() != machine.PWRON_RESET else APP


def erase():
    with open(_PATH, "wb"):
        pass


def erased():
    os.remove(_PATH)


def _erasing():
    try:
        starts = os.stat(_PATH)[6]
    except OSError:
        return False
    try:
        if starts < _STARTS:
            with open(_PATH, "ab") as file:
                file.write(b".")
            return True
        os.remove(_PATH)
    except OSError:  # a flash that takes no byte cannot be erased
        pass
    return False
