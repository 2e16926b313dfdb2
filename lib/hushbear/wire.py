"""What the toy and a phone say to each other inside a session: every byte layout, once.

The toy and the companion both import this module, so it uses nothing but `struct`.
docs/protocol.md describes the same in words. All integers are little-endian.

A characteristic value is a piece of a byte stream; where one ends means nothing. The stream
carries frames: a u16 length, then that many bytes. The first frame each way is a Noise handshake
message, every later one a Noise transport message whose plaintext is a record:

    kind u8 | tag u8 | body

A request carries a tag that the phone picks; its response has kind | RESPONSE, the same tag, and
a body that starts with a status byte.
"""

import struct

PROLOGUE = b"Hushbear link 1"

SERVICE_UUID = "6f1d0001-52b4-4e0a-9d53-0b7a1c5e8a2f"
TO_TOY_UUID = "6f1d0002-52b4-4e0a-9d53-0b7a1c5e8a2f"  # write, write without response
TO_PHONE_UUID = "6f1d0003-52b4-4e0a-9d53-0b7a1c5e8a2f"  # notify

KEY_SIZE = 32  # bytes of the PSK
HANDSHAKE_SIZE = 48  # bytes of each handshake message: X25519 public key, tag
TAG_SIZE = 16
FRAME_HEAD = "<H"
RECORD_HEAD = "<BB"  # kind, tag
FRAME_MAX = 732  # bytes of the stream that one frame takes: three packets of 244
RECORD_MAX = FRAME_MAX - 2 - TAG_SIZE
DATA_MAX = RECORD_MAX - 2 - 4  # message bytes in one DATA record
# Message bytes the toy lets a phone send ahead: more than cross in two connection events, so that
# the phone has something to send until the next GRANT is there.
WINDOW = 4 * DATA_MAX + 464

# Kinds; more in upkeep_wire.py
RESPONSE = 0x80
SEND = 0x04
COMMIT = 0x05
FETCH = 0x06
FETCHED = 0x07
CANCEL = 0x0D
# Records that belong to a transfer and have no response of their own. Their tag is the tag of
# the SEND or FETCH request that opened the transfer.
DATA = 0x40
GRANT = 0x41
END = 0x42

# Status of a response
OK = 0
UNKNOWN = 1  # no such request
MALFORMED = 2  # wrong length, or a field out of range
NOT_FOUND = 3  # no message with that id
FULL = 4  # no room for that message
BUSY = 5  # another phone is sending, or the message is being played
RANGE = 6  # an offset past the end, or DATA that does not continue where the last one ended
DAMAGED = 7  # what arrived, or what is stored, does not match its digest
FAILED = 8  # the toy could not do it; the crash log says why

# Boxes
INBOX = 0  # phone to child
OUTBOX = 1  # child to phone

# What the toy does (STATUS)
IDLE, RECORDING, PLAYING = 0, 1, 2

# A message in a list, and in the toy's memory
ENTRY = "<I16s8sIIB"  # sequence, id, sender, size in bytes, time (Unix s, 0 = unknown), flags
ENTRY_SIZE = struct.calcsize(ENTRY)
DONE = 1  # flag: heard (inbox), fetched (outbox)

# SEND request: id, size, SHA-256 of the whole. Response: offset to continue at, limit. Offset
# equal to size means that the toy has the whole message already. Nothing past the limit may be
# sent yet.
SEND_REQUEST = "<16sI32s"
SEND_RESPONSE = "<II"
DATA_HEAD = "<I"  # offset; the bytes follow
GRANT_BODY = "<I"  # new limit: the offset up to which the other side may send
MESSAGE_ID = "<16s"  # COMMIT and FETCHED requests

# FETCH request: id, offset to begin at, limit. Response: size. Then DATA records from the toy, and
# END with the SHA-256 of the whole message.
FETCH_REQUEST = "<16sII"
FETCH_RESPONSE = "<I"
END_BODY = "<32s"
