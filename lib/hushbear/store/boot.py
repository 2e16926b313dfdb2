"""After a restart: clears up what was cut short and finds the messages. Loaded for that only."""

import os
import struct
from binascii import unhexlify

from hushbear.atomic import read
from hushbear.container import HEADER_SIZE, ID_SIZE, ContainerError, check_size, parse_header
from hushbear.store.errors import from_os
from hushbear.store.gone import HEAD, HEAD_SIZE, MAGIC, REMEMBERED
from hushbear.store.names import SEQUENCE_MAX, STATES, TAG_SIZE, message_name, part_name
from hushbear.store.receive import PARTS_MAX, Part
from hushbear.store.room import MESSAGES_MAX
from hushbear.wire import ENTRY, INBOX, OUTBOX

_DIRECTORY = const(0x4000)  # kind of an entry of os.ilistdir()
_USELESS_MAX = const(16)  # parts removed at one start: their names are kept in memory till then
_ENOENT = const(2)
_EEXIST = const(17)


def boot(root, record_path, index, receiver, room):
    try:
        for path in (root, root + "/in", root + "/out", root + "/part"):
            _make_directory(path)
        _remove(record_path)  # nobody let go of the paw: not a message
        _boot_index(index)
        _boot_receiver(receiver)
        status = os.statvfs(root)
        index.block_size = status[0]
        room.boot(status[3])
    except OSError as error:
        raise from_os(error)


def _boot_index(index):
    index.next = max(_load_gone(index.gone), _scan(index, INBOX), _scan(index, OUTBOX))
    for message_id in index.gone.ids():
        entry = index.find(INBOX, message_id)
        if entry is not None:  # the power failed between the two steps of delete()
            index.remove(INBOX, entry)


def _scan(index, box):
    # What does not belong there is left alone; what is damaged is left alone and logged.
    found = index.boxes[box]
    path = index.paths[box]
    found.clear()
    header = bytearray(HEADER_SIZE)
    following = 1
    for name, kind, _, size in os.ilistdir(path):
        parsed = parse_message_name(name)
        if parsed is None or kind == _DIRECTORY:
            continue
        sequence, message_id, done = parsed
        following = max(following, sequence + 1)
        if len(found) >= MESSAGES_MAX:  # not of our making, and more than memory may hold
            continue
        try:
            check_size(size)
            with open(path + "/" + name, "rb") as file:
                file.readinto(header)
            found_id, sender, time, _ = parse_header(header)
            if found_id != message_id or index.find(box, message_id) is not None:
                raise ContainerError("wrong id")
        except (ContainerError, OSError) as error:
            index.log("store: %s left alone: %s" % (name, error))
            continue
        found.append(struct.pack(ENTRY, sequence, message_id, sender, size, time, done))
    found.sort(key=lambda packed: struct.unpack_from("<I", packed)[0])
    return following


def _load_gone(gone):
    # Look at the list of deleted ids; return the next sequence number it knows of.
    gone.position = None
    size = HEAD_SIZE + REMEMBERED * ID_SIZE
    try:
        data = read(gone.path, size + 1)
    except OSError:  # it can be spared, the messages cannot
        data = b""
    if data is None:
        return 1
    if len(data) == size:
        magic, sequence, position = struct.unpack_from(HEAD, data)
        if magic == MAGIC and position < REMEMBERED and 1 <= sequence <= 1 << 31:
            gone.position = position
            return sequence
    gone.log("store: list of deleted ids damaged, begun again")
    return 1


def _boot_receiver(receiver):
    # Find the parts on flash; those that are of no use any more are removed.
    receiver.parts = parts = []
    useless = []
    for name, kind, _, size in os.ilistdir(receiver.path):
        parsed = parse_part_name(name)
        if parsed is None or kind == _DIRECTORY:
            continue
        message_id, whole, tag = parsed
        if not 0 < size <= whole or len(parts) >= PARTS_MAX:
            if len(useless) < _USELESS_MAX:
                useless.append(name)
        else:
            parts.append(Part(name, message_id, whole, tag, size))
    for name in useless:
        os.remove(receiver.path + "/" + name)


def parse_message_name(name):
    """Return (sequence, id, done), or None if the store did not make this name."""
    try:
        sequence = int(name[:8], 16)
        message_id = unhexlify(name[9 : 9 + 2 * ID_SIZE])
        done = STATES.index(name[10 + 2 * ID_SIZE :])
        if sequence <= SEQUENCE_MAX and name == message_name(sequence, message_id, done):
            return sequence, message_id, done
    except ValueError:
        pass
    return None


def parse_part_name(name):
    """Return (id, size, tag), or None if the store did not make this name."""
    try:
        message_id = unhexlify(name[: 2 * ID_SIZE])
        size = int(name[2 * ID_SIZE + 1 : 2 * ID_SIZE + 9], 16)
        tag = unhexlify(name[2 * ID_SIZE + 10 :])
        if len(tag) == TAG_SIZE and name == part_name(message_id, size, tag):
            return message_id, size, tag
    except ValueError:
        pass
    return None


def _make_directory(path):
    try:
        os.mkdir(path)
    except OSError as error:
        if error.errno != _EEXIST:
            raise


def _remove(path):
    try:
        os.remove(path)
    except OSError as error:
        if error.errno != _ENOENT:
            raise
