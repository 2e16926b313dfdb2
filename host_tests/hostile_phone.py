"""Phones gone bad, in bulk, and what the toy is like after them.

Four of them connect to the toy of quick_link, talk, and leave in the middle. Some have no key; the
others know how to seal, and mutate mostly what is inside. A child records and listens meanwhile.
All that the toy says back is opened and checked, and between the rounds the toy is inspected. The
same seed gives the same frames.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from host_tests import quick_link
from host_tests.targets import Target

SOURCE = """
import random

random.seed(seed)
EDGES = (0, 1, 2, 47, 48, 255, 256, 303, 304, 305, 1440, 0x7FFF, 0xFFFF, container.SIZE_MAX - 1,
         container.SIZE_MAX, container.SIZE_MAX + 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
WORDS = (23, 27, 182, 244, 512)  # what a radio may write at once
PAUSES = (0, 0, 1, 1, 5, 20, 70)  # ms
MESSAGES = 12  # a phone sends one of the ids from `fresh` to `fresh + MESSAGES`

said = [0, 0]  # frames before and after a handshake
statuses = {}  # how often each kind of request got each status
fresh = 100
offered = {}  # id: digests that were announced for it
confirmed = set()
recorded = []
may_go = set()  # ids that somebody deleted, heard or fetched, or tried to


def chance(n):
    return not random.getrandbits(16) % n


def pick(choices):
    return choices[random.getrandbits(16) % len(choices)]


def number():
    return random.getrandbits(32) if chance(4) else pick(EDGES)


def rubbish(n):
    data = b"".join([struct.pack("<I", random.getrandbits(32)) for _ in range(n + 3 >> 2)])
    return data[:n]


def mutated(data):
    data = bytearray(data)
    how = random.getrandbits(3)
    at = random.getrandbits(16) % (len(data) or 1)
    if how < 3 and data:
        data[at] ^= 1 << random.getrandbits(3)
    elif how == 3:
        data = data[:at]
    elif how == 4:
        data += rubbish(pick((1, 2, 16, 16, 100, 516)))
    elif how == 5:
        data[at : at + 4] = struct.pack("<I", number())
    elif how == 6 and data:
        data[0] = random.getrandbits(8)
    else:
        data = rubbish(pick((0, 1, 2, 3, 18, 18, 50, 50, 516)))
    return data


def make_id(n):  # no bit flipped makes one of another
    return sha256(b"%d" % n).digest()[:16]


def identity():
    if chance(8):
        return rubbish(16)
    if chance(3) and recorded:
        return pick(recorded)
    return make_id(fresh + random.getrandbits(8) % MESSAGES)


class Villain(Phone):
    def connect(self):
        self.mtu = pick((23, 185, 247, 517))
        self.deaf = chance(200)
        self.sealing = self.refused = False
        self.asked = []  # requests without an answer: (kind, tag, how the body begins)
        self.upload = None  # [message, tag, offset, limit]
        self.fetching = 0  # tag
        super().connect()

    def write(self, data):
        said[self.sealing] += 1
        while data:
            n = pick(WORDS)
            ble.write(self.conn, data[:n])
            data = data[n:]

    def shake_hands(self):
        self.write(hello)
        self.sealing = True

    def say(self, plain, spoilt):
        if len(plain) >= 2 and plain[0] < wire.DATA:
            self.asked.append((plain[0], plain[1], plain[2:18]))
            if plain[0] == upkeep_wire.DELETE:
                may_go.add(plain[3:19])
            elif plain[0] == wire.FETCHED:
                may_go.add(plain[2:18])
            elif plain[0] == wire.SEND and len(plain) == 2 + struct.calcsize(wire.SEND_REQUEST):
                offered.setdefault(plain[2:18], set()).add(plain[22:])
        frame = self.seal(plain)
        self.write(mutated(frame) if spoilt else frame)

    # What comes back

    def answered(self, kind, tag, body):
        upload = self.upload
        if kind == wire.GRANT:
            if upload and upload[1] == tag:
                upload[3] = struct.unpack("<I", body)[0]
        elif kind == wire.DATA:
            assert 4 < len(body) <= 4 + wire.DATA_MAX
        elif kind == wire.END:
            assert len(body) == 32
        else:
            status = body[0]
            request = self.asked_first(kind & 0x7F, tag)
            kind &= 0x7F
            statuses[kind, status] = statuses.get((kind, status), 0) + 1
            assert status < wire.FAILED
            assert request or kind in (wire.SEND, wire.FETCH) and status, "nobody asked that"
            if kind == wire.COMMIT and not status:
                confirmed.add(request[2])
            if kind == wire.SEND and upload and upload[1] == tag:
                self.upload = None
                if not status:
                    offset, limit = struct.unpack("<II", body[1:])
                    self.upload = [upload[0], tag, offset, limit]

    def asked_first(self, kind, tag):
        for at, request in enumerate(self.asked):
            if request[:2] == (kind, tag):
                return self.asked.pop(at)

    # What it says next

    def act(self):
        if self.sealing:
            plain = self.something()
            self.say(bytes(mutated(plain)) if chance(5) else plain, chance(60))
        else:
            self.write(mutated(hello) if chance(2) else rubbish(pick((1, 2, 3, 18, 50, 300))))

    def something(self):
        kind, tag, body = pick(KINDS), random.getrandbits(8), b""
        if kind == family_wire.FAMILY:  # a phone that asks seldom
            kind = pick(OF_THE_FAMILY)
        if self.upload and not chance(6):
            message, tag, offset, limit = self.upload
            if offset == message.size:
                self.upload = None
                kind, body = wire.COMMIT, message.id
            elif offset < limit:
                buf, at = message.piece(offset)
                piece = buf[at : at + min(limit - offset, pick((1, 100, 256)))]
                self.upload[2] += len(piece)
                kind, body = wire.DATA, struct.pack("<I", offset) + piece
        elif kind == wire.SEND:
            body = self.send_request(tag)
        elif kind in BODIES:
            body = BODIES[kind]()
            if kind == wire.FETCH:
                self.fetching = tag
            elif kind == wire.GRANT and not chance(4):
                tag = self.fetching
        return struct.pack("<BB", kind, tag) + body

    def send_request(self, tag):
        n = fresh + random.getrandbits(8) % MESSAGES
        message = Message(n, n % 7 + 1)
        size, digest = message.size, message.digest()
        if chance(8):
            size = number() if chance(2) else 48 + 256 * pick((1, 90, 200, 300, 1920, 1921))
        elif chance(8):
            digest = rubbish(32)
        else:
            self.upload = [message, tag, 0, 0]
        return struct.pack(wire.SEND_REQUEST, message.id, size, digest)


KINDS = tuple(range(1, 14)) * 2 + (
    wire.SEND, wire.SEND, wire.SEND, wire.COMMIT, wire.FETCH,
    wire.GRANT, wire.GRANT, wire.DATA, wire.END, upkeep_wire.NAME,
    family_wire.FAMILY, 0, 0x1E, 0x3F, 0x43, 0x7F, 0x81, 0xC0, 0xFF,
)
OF_THE_FAMILY = (
    family_wire.FAMILY, family_wire.PHONES, family_wire.RENAME, family_wire.RENAME,
    family_wire.REVOKE, family_wire.REVOKE, family_wire.RENEW,
)
SLOTS = (0, 0, 1, 5, 5, 7, 7, 3, 8, 0x83, 255)  # 0, 3, 5, 7 are phones, these here 3
PERCENT = (0, 1, 50, 100, 100, 101)
MINUTE = (0, 1, 400, 1439, 1439, 1440)
SHORTEST = (299, 300, 5000, 5000, 5001)
SETTINGS = (
    PERCENT, PERCENT, PERCENT, (0, 1, 1, 3, 4), MINUTE, MINUTE, SHORTEST, (0, 1, 60, 61),
    (0, 1, 365, 366), (b'', b'', b'de', b'D_'),
)
BODIES = {
    upkeep_wire.TIME: lambda: struct.pack("<Ih", number(), pick((0, 60, -840, 840, 841, -32768))),
    upkeep_wire.LIST: lambda: struct.pack("<BI", pick((0, 1, 1, 2, 255)), number()),
    wire.COMMIT: identity,
    wire.FETCH: lambda: struct.pack("<16sII", identity(), number() if chance(3) else 0, number()),
    wire.FETCHED: identity,
    upkeep_wire.DELETE: lambda: struct.pack("<B16s", pick((0, 0, 1, 2)), identity()),
    upkeep_wire.CONFIGURE: lambda: struct.pack(
        settings_wire.SETTINGS_BODY, *[pick(e) for e in SETTINGS]
    ),
    upkeep_wire.CRASHLOG: lambda: struct.pack("<I", number()),
    upkeep_wire.NAME: lambda: struct.pack(
        "<HIH", pick((0, 1, 256, 512, 16384, 16640)), number(), pick((0, 0, 1, 256, 16384, 65535))
    ) + rubbish(pick((0, 1, 256, 512))),
    family_wire.FAMILY: lambda: struct.pack("<I", pick((0, 0, 1, number()))),
    family_wire.RENAME: lambda: struct.pack(
        family_wire.RENAME_REQUEST, pick(SLOTS), pick((b"Oma", b"\x1b[2J", b"a\x00b", rubbish(32)))
    ),
    family_wire.RENEW: lambda: struct.pack("<I", pick((0, 1, 2, 3, 9, number()))),
    family_wire.REVOKE: lambda: struct.pack(family_wire.REVOKE_REQUEST, pick(SLOTS)),
    wire.GRANT: lambda: struct.pack("<I", number()),
    wire.DATA: lambda: struct.pack("<I", number()) + rubbish(pick((0, 1, 1, 50, 100, 512))),
}


class Child:
    # Records and listens meanwhile, some blocks at a time.
    recordings = 0

    def __init__(self, store):
        self.store = store
        self.recording = self.reader = None
        self.buf = bytearray(256)

    def act(self):
        try:
            if self.recording:
                self.record()
            elif self.reader:
                self.listen()
            elif chance(2):
                Child.recordings += 1
                head = container.pack_header(make_id(-Child.recordings), container.TOY, 0, 1)
                self.recording = self.store.record(head, 48 + 256 * pick((1, 9, 40, 1920)))
            else:
                self.heard = self.store.oldest_unheard()
                if self.heard:
                    self.reader = self.store.open(INBOX, self.heard.id)
        except StoreError as error:
            assert error.status != wire.FAILED

    def record(self):
        if not chance(8):
            try:
                self.recording.write(self.buf, 256)
                return
            except StoreFull:
                pass  # what came can be kept
        recording, self.recording = self.recording, None
        if chance(4):
            recording.discard()
        else:
            recorded.append(recording.keep().id)

    def listen(self):
        if self.reader.readinto(self.buf) and not chance(20):
            return
        self.stop()
        may_go.add(self.heard.id)
        self.store.mark_done(INBOX, self.heard.id)

    def stop(self):
        if self.recording:
            self.recording.discard()
        if self.reader:
            self.reader.close()
        self.recording = self.reader = None


def full(phone):
    phone.refused = phone.deaf or chance(32)
    return phone.refused


def arrive(phone, strangers):
    if not chance(3) or (3, psk) not in Keys(nvs).psks():
        nvs.restore()
    phone.connect()
    if random.getrandbits(16) % 100 >= strangers:
        phone.shake_hands()


async def attack(toy, frames, strangers):
    ble.full = full
    phones = [Villain(conn) for conn in range(4)]
    child = Child(toy.store)
    before = sum(said)
    while sum(said) < before + frames:
        phone = pick(phones)
        if not phone.connected:
            arrive(phone, strangers)
        elif chance(8 if phone.refused else 150):
            ble.gap_disconnect(phone.conn)
            if chance(2):  # and back, before the toy has got over it
                await asyncio.sleep_ms(1)
                arrive(phone, strangers)
        elif len(phone.asked) < 2 or chance(20):  # more at once is more than the toy takes
            phone.act()
        if chance(10):
            child.act()
        if not chance(3):
            await asyncio.sleep_ms(pick(PAUSES))
        assert toy.orderly(), "an upload is open that is nobody's"
        if chance(2000):
            await asyncio.sleep_ms(7000)
    for phone in phones:
        ble.gap_disconnect(phone.conn)
    child.stop()
    await asyncio.sleep_ms(20_000)


async def converse(toy):
    # What an honest phone finds: everything works.
    nvs.restore()
    phone = Phone(9)
    phone.connect()
    phone.write(hello)
    message = Message(fresh + MESSAGES, 5)
    digest = message.digest()
    offered[message.id] = {digest}
    phone.say(upkeep_wire.STATUS, 1)
    phone.say(upkeep_wire.TIME, 2, struct.pack("<Ih", 1_800_000_000, 60))
    await asyncio.sleep_ms(1000)
    phone.say(wire.SEND, 3, struct.pack(wire.SEND_REQUEST, message.id, message.size, digest))
    await asyncio.sleep_ms(1000)
    at = 0
    while at < message.size:
        buf, _ = message.piece(at)
        phone.say(wire.DATA, 3, struct.pack("<I", at) + buf)
        at += len(buf)
        await asyncio.sleep_ms(1000)
    phone.say(wire.COMMIT, 4, message.id)
    phone.say(upkeep_wire.LIST, 5, bytes(5))
    await asyncio.sleep_ms(1000)
    answers = [(kind & 0x7F, body[0]) for kind, _, body in phone.heard if kind & wire.RESPONSE]
    assert answers == [(each, 0) for each in (1, 2, 4, 5, 3)], answers
    confirmed.add(message.id)
    ble.gap_disconnect(9)
    await asyncio.sleep_ms(1000)


def inspect(toy):
    # The messages are those that were confirmed, whole, also after a restart.
    assert toy.idle(), "something of a session is left"
    assert toy.wrong == []
    here = {}
    buf = bytearray(256)
    for entry in toy.store.entries(INBOX):
        with toy.store.open(INBOX, entry.id) as reader:
            digest = sha256()
            while n := reader.readinto(buf):
                digest.update(buf[:n])
        assert digest.digest() in offered[entry.id], "half a message"
        here[entry.id] = entry.size
    outbox = [entry.id for entry in toy.store.entries(OUTBOX)]
    assert all(each in here or each in may_go for each in confirmed), "one was lost"
    assert all(each in outbox or each in may_go for each in recorded), "one was lost"
    again = Store("/flash/msg", reserve, toy.noted)
    again.boot()
    assert {entry.id: entry.size for entry in again.entries(INBOX)} == here
    assert [entry.id for entry in again.entries(OUTBOX)] == outbox
    assert toy.wrong == []


def clear(toy):
    # Remove what came, and what is remembered of it here; return the heap in use.
    for box in (INBOX, OUTBOX):
        for entry in list(toy.store.entries(box)):
            toy.store.delete(box, entry.id)
    for each in (offered, confirmed, recorded, may_go):
        each.clear()
    gc.collect()
    return gc.mem_alloc()
"""

MAIN = """
from hushbear import spoken_name

spoken_name.PATH = "/flash/name.ima"
del ram  # its room is for the flash and the phones
flash = new_flash(300)
reserve = 90  # blocks of this size for the directories of two full boxes
for block in range(300):  # all of it now: what the heap grows by later is the toy's
    flash.block(block)
toy = Toy()
heap = []


async def main():
    global fresh
    link = asyncio.create_task(toy.link.run())
    await asyncio.sleep_ms(10)
    for _ in range(rounds):
        await attack(toy, frames // rounds, strangers)
        inspect(toy)
        await converse(toy)
        inspect(toy)
        heap.append(clear(toy))
        fresh += MESSAGES + 1
    assert not link.done()


asyncio.run(main())
result((said, statuses, heap))
"""
RAM = 300 * 1024  # bytes of heap on top of what a target gives


@dataclass
class Outcome:
    """What happened."""

    before: int  # frames said before a handshake
    after: int
    statuses: dict[tuple[int, int], int]  # how often (kind of request, status) was answered
    heap: list[int]  # bytes in use after each round


def attack(target: Target, seed: int, frames: int, strangers: int, rounds: int = 10) -> Outcome:
    """Say so many frames; of a hundred connections `strangers` have no key.

    Raises DeviceError where the toy did not stay well.
    """
    (before, after), statuses, heap = cast(
        tuple[list[int], dict[tuple[int, int], int], list[int]],
        quick_link.run(
            target, SOURCE + MAIN, timeout=30 + frames / 500, seed=seed, frames=frames,
            strangers=strangers, rounds=rounds, ram=bytes(RAM),
        ),
    )  # fmt: skip
    return Outcome(before, after, statuses, heap)
