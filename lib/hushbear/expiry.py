"""Messages that are kept for some days, or until they were heard (settings). Loaded for one look.

    await look(services, interrupted)      delete those whose time is over. Stops, until the next
                                           look, when `interrupted()` is true

Days are counted from the first look that found the message and a clock that was set: what its
sender's clock said is no reason to delete it. "/msg/seen" holds "HBX1", for each message the last
half of its id and the Unix time of that look, and CRC-32 of all before it; it is replaced whole.
Damaged, the days begin again. What is open stays until the next look.
"""

import asyncio
import struct
from binascii import crc32

from hushbear.atomic import read, replace
from hushbear.once import once
from hushbear.store.errors import StoreError
from hushbear.store.room import MESSAGES_MAX
from hushbear.wire import BUSY, INBOX, OUTBOX

_MAGIC = b"HBX1"
_SEEN = "<8sI"
_SEEN_SIZE = const(12)
_DAY = const(86400)


async def look(services, interrupted, path="/msg/seen"):
    store = services.store
    days, until_heard = once("hushbear.settings_file").kept(services.settings)
    now = services.clock.now() if days else 0
    if not now and not until_heard:
        return
    before = _read(path) if now else b""
    after = bytearray(_MAGIC)
    for box in (INBOX, OUTBOX):
        entry = _following(store, box, 0)
        while entry:
            first = min(now, _first_seen(before, entry.id, now))
            over = now and now - first >= days * _DAY
            if not (over or until_heard and entry.done) or not _deleted(store, box, entry):
                after += struct.pack(_SEEN, entry.id[8:], first)
            await asyncio.sleep_ms(0)  # deleting takes the flash some time
            if interrupted():
                return
            entry = _following(store, box, entry.sequence)
    after += struct.pack("<I", crc32(after))
    if now and after != before:
        replace(path, after)


def _following(store, box, after):
    # Not one iterator for all: entries go meanwhile.
    for entry in store.entries(box, after):
        return entry
    return None


def _first_seen(before, message_id, now):
    for at in range(len(_MAGIC), len(before) - 4, _SEEN_SIZE):
        half, first = struct.unpack_from(_SEEN, before, at)
        if half == message_id[8:]:
            return first
    return now


def _deleted(store, box, entry):
    try:
        store.delete(box, entry.id)
    except StoreError as error:
        if error.status != BUSY:
            raise
        return False
    return True


def _read(path):
    limit = len(_MAGIC) + 2 * MESSAGES_MAX * _SEEN_SIZE + 4
    try:
        data = read(path, limit + 1)
    except OSError:
        return b""
    if (
        data is None
        or len(data) > limit
        or (len(data) - len(_MAGIC) - 4) % _SEEN_SIZE
        or not data.startswith(_MAGIC)
        or struct.pack("<I", crc32(data[:-4])) != data[-4:]
    ):
        return b""
    return data
