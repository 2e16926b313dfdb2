"""What a phone asks about the toy itself: state, clock, lists, settings, crash log.

Shared by toy and companion, as wire.py is, whose rules hold. The toy loads it for the request.
"""

from hushbear.wire import ENTRY_SIZE, RECORD_MAX

PROTOCOL = 1

# Kinds
STATUS = 0x01
TIME = 0x02
LIST = 0x03
DELETE = 0x08
SETTINGS = 0x09
CONFIGURE = 0x0A
CRASHLOG = 0x0B
CLEAR_CRASHLOG = 0x0C
NAME = 0x12

# STATUS response: protocol, state, flags, reserved, uptime s, clock (Unix s, 0 = not set),
# bytes free, bytes for messages in all, heap bytes free, inbox messages, of these unheard,
# outbox messages, of these not fetched, crash log bytes, battery mV (0 = not measured), firmware
STATUS_BODY = "<BBBxIIIIIHHHHHH12s"
QUIET_NOW = 1  # flag: quiet hours silence the toy now

# TIME request: Unix s, minutes east of UTC
TIME_BODY = "<Ih"

# LIST request: box, sequence number after which to begin. Response: entries (wire.ENTRY), oldest
# first, as many as fit; ask again after the last sequence number until none comes.
LIST_REQUEST = "<BI"
ENTRIES_MAX = (RECORD_MAX - 3) // ENTRY_SIZE

DELETE_REQUEST = "<B16s"  # box, id

# SETTINGS response and CONFIGURE request: settings_wire.SETTINGS_BODY. NOT_FOUND: the toy does
# not speak that language.

CRASHLOG_REQUEST = "<I"  # offset; the response's body is text from there, empty at the end

# NAME request: nothing, or size of the toy's spoken name in bytes (whole IMA blocks; 0 = none),
# CRC-32 of all of it, offset; then up to NAME_PIECE bytes of it, which is what the radio takes of
# a request. Response: size of the name that it has now. RANGE: begin anew, as another phone sends
# a name, too.
NAME_HEAD = "<HIH"
NAME_RESPONSE = "<H"
NAME_SIZE_MAX = 64 * 256  # 2.02 s
NAME_PIECE = 128
