"""Somebody tries to learn by handshakes whose toy it is, which phones it knows, and which of them
is near.

What is learned, beside that it is a Hushbear: how many phones it knows, from how long it takes to
refuse one; and whether it is the toy that answered a recorded handshake before, as it does again
for as long as that phone is paired.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from dataclasses import dataclass

import pytest

from bench import counting
from host_tests.attacks.aftermath import well
from host_tests.family import MakeToy, client, family, firmware_with
from host_tests.strangers import connection, hung_up, send
from host_tests.targets.qemu_riscv import QemuRiscv
from host_tests.virtual import VirtualToy
from host_tests.virtual.radio import VirtualRadio
from hushbear import wire
from hushbear_companion.framing import frame
from hushbear_companion.link import parse_link
from hushbear_companion.noise import Initiator

TRY = 0.02  # s that each slice of the toy's arithmetic takes here: enough to be seen on the air
SLOW = firmware_with(f"""
import asyncio
sleep_ms = asyncio.sleep_ms
asyncio.sleep_ms = lambda ms: sleep_ms(ms or {TRY * 1000:.0f})
""")
JITTER = 0.016  # s: a connection event
SLOT_SHOWS = 1000  # instructions of 5.5 million: 4 µs, and what else happens varies by more
ANSWER = 2 + wire.HANDSHAKE_SIZE


@dataclass(frozen=True)
class Seen:
    """What a handshake's first message brought: bytes, after seconds; none: it was hung up on."""

    size: int
    seconds: float


def hello(key: bytes) -> bytes:
    return frame(Initiator(key, wire.PROLOGUE).write_1())


async def probe(toy: VirtualToy, radio: VirtualRadio, message: bytes) -> Seen:
    heard = bytearray()
    await asyncio.sleep(3)  # what went before is over: no pause is left of it
    async with connection(radio.phone(), heard) as bleak:
        await asyncio.sleep(0.1)
        began = toy.loop.time()
        await send(bleak, message)
        while not heard and bleak.is_connected:
            await asyncio.sleep(0.001)
        seconds = toy.loop.time() - began
        await hung_up(bleak, within=7)
    return Seen(len(heard), seconds)


async def phones_added(toy: VirtualToy, count: int) -> list[str]:
    output = await toy.exec_repl(
        f"from hushbear import setup\nfor _ in range({count}): setup.add_phone()"
    )
    await asyncio.sleep(1)
    return re.findall(r"hushbear://\S+", output)


@pytest.mark.targets("unix")
@pytest.mark.virtual_time
async def test_phones_cannot_be_told_apart_by_the_toys_answer(virtual_toy: MakeToy) -> None:
    async with family(virtual_toy, main=SLOW) as (toy, radio, link):
        alone = await probe(toy, radio, hello(bytes(32)))
        links = [link, *await phones_added(toy, 7)]
        known = [await probe(toy, radio, hello(parse_link(each).key)) for each in links]
        unknown = [await probe(toy, radio, hello(bytes([n] * 32))) for n in range(3)]
        assert {seen.size for seen in known} == {ANSWER}
        for group in (known, unknown):
            times = [seen.seconds for seen in group]
            assert max(times) - min(times) < JITTER < TRY, times
        # What does show: that a phone is not known, and how many are.
        assert {seen.size for seen in (alone, *unknown)} == {0}
        assert unknown[0].seconds - alone.seconds == pytest.approx(7 * TRY, abs=2 * JITTER)
        await well(toy, radio, link)


@pytest.mark.targets("unix")
@pytest.mark.virtual_time
async def test_a_recorded_handshake_finds_the_toy_again_until_its_phone_is_revoked(
    virtual_toy: MakeToy,
) -> None:
    radio = VirtualRadio()
    async with radio, family(virtual_toy) as (toy, near, link):
        (other,) = await phones_added(toy, 1)
        recorded = hello(parse_link(other).key)
        assert (await probe(toy, near, recorded)).size == ANSWER
        await toy.restart()
        await asyncio.sleep(1)
        assert (await probe(toy, near, recorded)).size == ANSWER, "the address has changed"
        async with client(near.phone(), link) as phone:
            (slot,) = [each.slot for each in await phone.phones() if not each.here]
            await phone.revoke(slot)
        assert (await probe(toy, near, recorded)).size == 0
        await well(toy, near, link)
    async with family(virtual_toy, name="another") as (toy, near, _):
        assert (await probe(toy, near, recorded)).size == 0


ATTEMPT = """
import asyncio
from hushbear.crypto import noise, x25519
from hushbear.link import session
from hushbear.link.errors import SessionOver
from hushbear.ring import Ring


def ladder(scalar, point):  # the same for every phone, and long
    yield bytes(range(32))


x25519.ladder = ladder
noise.urandom = lambda n: bytes(range(n))


class Peer:
    connection = 1
    rx = Ring(bytearray(160))

    async def send(self, data, connection):
        pass


peer, frame = Peer(), session.Frame()
psks = list(enumerate(keys))
found = 0


async def attempt():
    global found
    peer.rx.put(hello, 0, len(hello))
    one = session.Session(peer, frame)
    try:
        await one._respond(lambda: psks)
    except SessionOver:
        pass
    found = one.slot
"""


@pytest.mark.skipif(bool(QemuRiscv.missing()), reason="needs the emulated RISC-V board")
def test_the_slot_is_not_in_the_number_of_instructions() -> None:
    """Session set-up up to message 2, each of eight phones in turn: the same keys are tried, and
    which of them fits costs nothing. X25519, which knows no slots, is left out."""
    keys = [hashlib.sha256(bytes([n])).digest() for n in range(9)]
    message = hello(keys[0])
    counts = []
    board = counting.riscv()
    try:
        for slot in range(8):
            order = keys[1 : 1 + slot] + keys[:1] + keys[1 + slot : 8]
            args = {"keys": order, "hello": message}
            counts += board.count("asyncio.run(attempt())", ATTEMPT, args)
        args["keys"] = keys[1:]
        (unknown,) = board.count("asyncio.run(attempt())", ATTEMPT, args)
    finally:
        board.close()
    assert max(counts) - min(counts) < SLOT_SHOWS, counts
    assert unknown < min(counts)
