"""File names and block arithmetic of the store.

in/00000007-<id>.new                   message: sequence number and id, in hexadecimal
part/<id>-<size>-<start of digest>     message that is being received
"""

from binascii import hexlify

SEQUENCE_MAX = 0x7FFFFFFF
TAG_SIZE = 8  # bytes of the digest in a part's name: enough to tell two contents of one id apart
STATES = ("new", "done")


def message_name(sequence, message_id, done):
    return "%08x-%s.%s" % (sequence, hexlify(message_id).decode(), STATES[bool(done)])


def part_name(message_id, size, tag):
    return "%s-%08x-%s" % (hexlify(message_id).decode(), size, hexlify(tag).decode())


def _capacity(blocks, block_size):
    # littlefs keeps a skip list in the file's own blocks: block i > 0 begins with one 4-byte
    # pointer for each time that 2 divides i, and one more. (littlefs DESIGN.md, "CTZ skip-lists")
    last = blocks - 1
    ones = 0
    while last:
        ones += last & 1
        last >>= 1
    return blocks * block_size - 4 * (2 * (blocks - 1) - ones)


def blocks_for(size, block_size):
    """Return how many flash blocks the contents of a file of `size` bytes take."""
    blocks = max(1, -(-size // block_size))
    while _capacity(blocks, block_size) < size:
        blocks += 1
    return blocks


def size_in(blocks, block_size):
    """Return how many bytes of one file fit into `blocks` flash blocks."""
    return _capacity(blocks, block_size) if blocks > 0 else 0
