"""What a phone asks about the family: its keys, and the phones that the toy knows.

Shared by toy and companion, as wire.py is, whose rules hold.
"""

import struct

NAME_SIZE = 32  # bytes of a phone's name: UTF-8, padded with zeros
SLOTS = 8  # phones at most
EPOCHS_MAX = 8  # family keys that are kept

# Kinds
FAMILY = 0x0E
PHONES = 0x0F
RENAME = 0x10
REVOKE = 0x11
RENEW = 0x13

# FAMILY request: the newest epoch that the phone knows, 0 for none. Response: those above it,
# oldest first.
FAMILY_REQUEST = "<I"
EPOCH = "<I32s"  # number, family key
EPOCH_SIZE = struct.calcsize(EPOCH)

# PHONES response: slot, sender id, when it was paired (Unix s, 0 = unknown), name
PHONE = "<B8sI32s"
PHONE_SIZE = struct.calcsize(PHONE)
ASKING = 0x80  # flag in the slot: this is the phone that asks

RENAME_REQUEST = "<B32s"  # slot, name
REVOKE_REQUEST = "<B"  # slot

# RENEW request: a family key is made if none above this epoch is known. Response: as FAMILY's.
RENEW_REQUEST = "<I"
