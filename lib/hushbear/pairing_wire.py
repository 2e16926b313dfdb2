"""Pairing by spoken code: every byte layout, once.

Shared by toy and companion, so it uses nothing but `struct`. docs/protocol.md describes the same
in words. While its window is open the toy advertises this service in place of the other, with the
same characteristics and the same frames:

    phone   version u8 | sid 16 bytes | Ya 32 bytes
    toy     attempts left after this one u8 | Yb 32 bytes
    both    a Noise session as in wire.py, with the prologue below and the key that CPace gave
    phone   PAIR, then PAIRED
"""

import struct

SERVICE_UUID = "6f1d0004-52b4-4e0a-9d53-0b7a1c5e8a2f"
VERSION = 1
PROLOGUE = b"Hushbear pairing 1"
CODE_DIGITS = 6  # in ASCII, the password of CPace
ATTEMPTS = 3  # in one window

HELLO = "<B16s32s"  # version, session id (random), Ya
HELLO_SIZE = struct.calcsize(HELLO)
ANSWER = "<B32s"  # attempts left after this one, Yb
ANSWER_SIZE = struct.calcsize(ANSWER)

# CPACE-X25519-SHA512, initiator-responder. The toy's associated data ends with the attempts byte.
CI = b"Hushbear pairing 1"
AD_PHONE = b"phone"
AD_TOY = b"toy"
PSK_INFO = b"Hushbear pairing psk 1"  # of HKDF-SHA256 on the 64 bytes of ISK, without salt

# Kinds
PAIR = 0x20
PAIRED = 0x21

# PAIR request: the phone's name. Response: its key, its sender id, then the family's epochs
# (family_wire.EPOCH), newest last. The phone keeps them before it says PAIRED, and only then the
# toy keeps the phone.
PAIR_REQUEST = "<32s"
PAIR_RESPONSE = "<32s8s"
