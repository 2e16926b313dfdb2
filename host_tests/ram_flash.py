"""Source for the device under test: littlefs on a flash in RAM whose power can be cut.

Tests put SOURCE before their own. `RamFlash` behaves like NOR flash: a program needs erased
bytes, an erase takes a whole block, and at operation `cut_at` the power fails when `torn` quarters
of it are done.
"""

SOURCE = """
import asyncio, gc, micropython, os, vfs
from hashlib import sha256
from hushbear import container
from hushbear.store import *
from hushbear.wire import BUSY, INBOX, MALFORMED, NOT_FOUND, OUTBOX


@micropython.viper
def copy(target: ptr8, at: int, source: ptr8, begin: int, n: int):
    for i in range(n):
        target[at + i] = source[begin + i]


@micropython.viper
def erased(data: ptr8, at: int, n: int) -> bool:
    for i in range(n):
        if data[at + i] != 255:
            return False
    return True


@micropython.viper
def erase(data: ptr8, at: int, n: int):
    for i in range(n):
        data[at + i] = 255


@micropython.viper
def fill(data: ptr8, value: int):
    for i in range(256):
        data[i] = value


class RamFlash:
    overwritten = 0  # programs of bytes that were not erased

    def __init__(self, size, block_size=512, blocks=None, cut_at=-1, torn=2):
        self.size = size  # in blocks
        self.block_size = block_size
        self.blocks = {} if blocks is None else blocks  # those that are not all erased
        self.operations = 0
        self.cut_at = cut_at
        self.torn = torn
        self.dead = False

    def readblocks(self, block, buf, offset=0):
        if self.dead:
            return -5
        if block in self.blocks:
            copy(buf, 0, self.blocks[block], offset, len(buf))
        else:
            erase(buf, 0, len(buf))

    def writeblocks(self, block, buf, offset=0):
        n = self.whole_or_torn(len(buf))
        if n:
            data = self.block(block)
            if not erased(data, offset, n):
                RamFlash.overwritten += 1
            copy(data, offset, buf, 0, n)
        return -5 if self.dead else 0

    def ioctl(self, request, block):
        if request == 4:
            return self.size
        if request == 5:
            return self.block_size
        if request == 6:
            n = self.whole_or_torn(self.block_size)
            if block in self.blocks:
                erase(self.blocks[block], 0, n)
            return -5 if self.dead else 0
        return 0

    def block(self, block):
        if block not in self.blocks:
            self.blocks[block] = bytearray(self.block_size)
            erase(self.blocks[block], 0, self.block_size)
        return self.blocks[block]

    def whole_or_torn(self, n):
        if self.dead:
            return 0
        self.dead = self.operations == self.cut_at
        self.operations += 1
        return n * self.torn // 4 if self.dead else n


def unmount():
    try:
        vfs.umount("/flash")
    except OSError:
        pass
    gc.collect()


def mount(flash):
    # A new RamFlash each time: what the old file system still holds open stays powerless.
    unmount()
    vfs.mount(vfs.VfsLfs2(flash), "/flash")


def new_flash(size, block_size=512):
    flash = RamFlash(size, block_size)
    vfs.VfsLfs2.mkfs(flash)
    mount(flash)
    return flash


def restart(flash):
    flash.dead = True
    flash = RamFlash(flash.size, flash.block_size, flash.blocks)
    mount(flash)
    return flash


log = []


reserve = 4


def boot():
    store = Store("/flash/msg", reserve, log.append)
    store.boot()
    return store


def make_id(n):
    return b"%016d" % n


class Message:
    # What a phone sends: `blocks` blocks that differ, made as they are needed.
    def __init__(self, n, blocks):
        self.id = make_id(n)
        self.size = container.HEADER_SIZE + 256 * blocks
        sender = b"sender%02d" % (n % 100)
        self.head = bytearray(container.pack_header(self.id, sender, 1000 + n, 1))
        self.first = n * 31 & 255
        self.buf = bytearray(256)
        self.spoilt = False

    def piece(self, at):
        # Return (bytes, offset in them): from `at` to the end of the header or of the block.
        if at < 48:
            return self.head, at
        i, offset = divmod(at - 48, 256)
        fill(self.buf, self.first + i & 255)
        self.buf[100] ^= self.spoilt
        return self.buf, offset

    def digest(self):
        digest = sha256()
        at = 0
        while at < self.size:
            buf, offset = self.piece(at)
            digest.update(buf)
            at += len(buf)
        return digest.digest()

    def offer_to(self, store):
        return store.offer(self.id, self.size, self.digest())

    def feed(self, store, begin, end):
        while begin < end:
            buf, offset = self.piece(begin)
            n = min(len(buf) - offset, end - begin, 200)
            store.append(begin, buf, offset, n)
            begin += n


def receive(store, n, blocks):
    message = Message(n, blocks)
    message.feed(store, message.offer_to(store), message.size)
    asyncio.run(store.commit(message.id))


def record(store, n, blocks):
    head = container.pack_header(make_id(n), container.TOY, 0, 1)
    recording = store.record(head, 48 + 256 * max(blocks, 10))
    buf = bytearray(256)
    for i in range(blocks):
        fill(buf, n * 31 + i & 255)
        recording.write(buf, 256)
    return recording.keep()


def contents(store, box):
    # What a user would find: (id, blocks, done), the bytes checked.
    found = []
    for entry in store.entries(box):
        n, blocks = int(entry.id), (entry.size - 48) // 256
        buf, same = bytearray(256), bytearray(256)
        with store.open(box, entry.id) as reader:
            assert reader.size == entry.size == 48 + 256 * blocks
            assert reader.readinto(buf, 48) == 48
            assert container.parse_header(buf)[0] == entry.id
            for i in range(blocks):
                assert reader.readinto(buf) == 256
                fill(same, n * 31 + i & 255)
                assert buf == same, "altered"
            assert reader.readinto(buf) == 0
        found.append((n, blocks, entry.done))
    return found
"""
