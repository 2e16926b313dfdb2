"""What the set-up tool runs on the toy over USB.

setup.add_phone()    makes a key, stores it, prints one line: the link for the phone. The family's
                     first phone founds it.
"""

import bluetooth
import os
from binascii import b2a_base64

from hushbear.family import Family
from hushbear.keys import Keys
from hushbear.wire import KEY_SIZE

_SENDER_SIZE = const(8)


def add_phone():
    # The chip's random numbers are true ones only while its radio is on (ESP-IDF, "Random Number
    # Generation"), and no key may be less.
    bluetooth.BLE().active(True)
    key = os.urandom(KEY_SIZE)
    family = Family(Keys())
    family.found()
    family.add(key, os.urandom(_SENDER_SIZE), b"", 0)
    text = b2a_base64(key).decode().strip().rstrip("=").replace("+", "-").replace("/", "_")
    print("hushbear://toy/%s?v=1" % text)
