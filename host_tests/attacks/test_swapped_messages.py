"""Somebody who can write the toy's flash, or has a paired phone, or keeps the relay, gives the toy
messages that are not what was sealed: another toy's, pieces of two, another epoch's, an id used
again, the child's own, a header with any byte altered.

What comes of it: nothing is heard of a chunk that is not what the family sealed in its place. What
is learned: nothing. What can be done: have the child hear, whole and again, what its family or the
child itself once sealed; who can write the flash needs nobody's phone for that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from host_tests import key_set, messages
from host_tests.attacks.aftermath import well
from host_tests.family import MakeToy, client, family
from host_tests.messages import FAMILY, Pcm, give, snr, speech
from host_tests.virtual import VirtualToy
from host_tests.virtual.radio import VirtualRadio
from hushbear import container
from hushbear_companion import message, sealing
from hushbear_companion.adpcm import encode
from hushbear_companion.records import Box

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

HEADER = container.HEADER_SIZE
CHUNK = container.CHUNK_SIZE
CHUNK_SAMPLES = container.CHUNK_BLOCKS * container.BLOCK_SAMPLES
SILENCE = 2048  # samples: what the speaker begins with
AGAIN = 11  # s after which a press plays the next message and not the last one again
OLD, NEW = FAMILY[1], bytes(range(128, 160))  # family keys of epochs 1 and 2
ANOTHER = bytes(range(160, 192))  # the family key of epoch 1 of another family


def sealed(seed: int, epoch: int = 1, key: bytes = OLD, seconds: float = 1.5) -> bytes:
    header = message.Header(message.new_id(), b"grandma\0", 1_790_000_000, epoch)
    return sealing.seal(header, encode(speech(seconds, seed)), key)


def chunks(content: bytes) -> list[bytes]:
    return [content[at : at + CHUNK] for at in range(HEADER, len(content), CHUNK)]


def of(header: bytes, *parts: list[bytes]) -> bytes:
    """Return a message of one's header and of chunks."""
    return header[:HEADER] + b"".join(chunk for part in parts for chunk in part)


Chunks = list[bytes]
# From two messages and their chunks; and how many chunks are what the family sealed there.
FORGERIES: dict[str, tuple[Callable[[bytes, Chunks, Chunks], bytes], int]] = {
    "of another toy": (lambda a, x, y: sealed(3, 1, ANOTHER), 0),
    "under the newest number with an older key": (lambda a, x, y: sealed(4, 2, OLD), 0),
    "under an older number with the newest key": (lambda a, x, y: sealed(5, 1, NEW), 0),
    "of an epoch that the toy never had": (lambda a, x, y: sealed(6, 3, NEW), 0),
    "the header of one, the sound of another": (lambda a, x, y: of(a, y), 0),
    "another's first chunk": (lambda a, x, y: of(a, y[:1], x[1:]), 0),
    "another's chunk in the middle": (lambda a, x, y: of(a, x[:3], y[3:4], x[4:]), 3),
    "two in each other's place": (lambda a, x, y: of(a, x[:4], x[5:6], x[4:5], x[6:]), 4),
    "a chunk twice": (lambda a, x, y: of(a, x[:4], x[3:]), 4),
    "a chunk left out": (lambda a, x, y: of(a, x[:4], x[5:]), 4),
    "cut after a chunk": (lambda a, x, y: of(a, x[:5]), 4),
    "another's after it": (lambda a, x, y: of(a, x, y), 11),
}


def with_two_epochs(virtual_toy: MakeToy) -> MakeToy:
    def make(**options: Any) -> VirtualToy:
        toy = virtual_toy(founded=False, **options)
        toy.nvs.put("hushbear", "set1", key_set.pack(1, {}, {1: OLD, 2: NEW}))
        return toy

    return make


async def pressed(toy: VirtualToy, seconds: float = 4) -> list[Pcm]:
    """Press the play paw; return the sounds that follow."""
    since = toy.loop.time()
    await toy.hold("play", 0.1)
    await toy.sleep(seconds)
    return [sound.pcm for sound in toy.speaker.sounds if sound.start >= since]


def alike(one: Pcm, other: Pcm) -> bool:
    """Whether two sounds are the same, to the sample, but for the silence at their ends."""
    return np.array_equal(np.trim_zeros(one, "b"), np.trim_zeros(other, "b"))


async def look_at_the_log(radio: VirtualRadio, link: str, *expected: str) -> None:
    """See that nothing but these causes is in the crash log, and empty it."""
    async with client(radio.phone(), link) as phone:
        text = await phone.crashlog()
        await phone.clear_crashlog()
    causes = [line for line in text.splitlines() if line and not line.startswith((" ", "+"))]
    causes = [line for line in causes if not line[0].isdigit() or "store:" in line]
    assert causes and not [c for c in causes if not any(e in c for e in expected)], text


async def test_nothing_is_heard_of_a_chunk_that_was_not_sealed_in_its_place(
    virtual_toy: MakeToy,
) -> None:
    async with family(with_two_epochs(virtual_toy)) as (toy, radio, link):
        first = sealed(1)
        await give(toy, first[:HEADER] + bytes(len(first) - HEADER))
        await toy.sleep(1)
        (refusal,) = await pressed(toy)
        for what, (forge, genuine) in FORGERIES.items():
            one, other = sealed(1), sealed(2)
            x, y = (
                [m[at : at + CHUNK] for at in range(HEADER, len(m), CHUNK)] for m in (one, other)
            )
            assert len(x) == 12
            await give(toy, forge(one, x, y))
            await toy.sleep(1)
            *before, after = await pressed(toy)
            assert alike(after, refusal), what
            assert (genuine > 4) <= len(before) <= (genuine > 0), what  # some are read ahead
            for pcm in before:
                assert len(pcm) <= genuine * CHUNK_SAMPLES + SILENCE, what
                if genuine > 4:
                    assert snr(pcm[SILENCE:], speech(1.5, 1)) > 15, what
        await look_at_the_log(radio, link, "Broken", "no key of epoch 3")
        await well(toy, radio, link)


async def test_of_older_epochs_the_family_hears_what_it_sealed_then(virtual_toy: MakeToy) -> None:
    async with family(with_two_epochs(virtual_toy)) as (toy, radio, link):
        for seed, epoch, key in ((3, 1, OLD), (4, 2, NEW)):
            await give(toy, sealed(seed, epoch, key))
            await toy.sleep(1)
            (heard,) = await pressed(toy)
            assert snr(heard[SILENCE:], speech(1.5, seed)) > 15
        await well(toy, radio, link)


async def test_no_byte_of_a_header_on_the_flash_can_be_altered(virtual_toy: MakeToy) -> None:
    """A message for each: the 16 bytes of epoch, time and sender make it one that does not open,
    the others one that is none."""
    contents = [sealed(1, seconds=0.2) for _ in range(HEADER)]
    async with family(virtual_toy) as (toy, radio, link):
        await give(toy, *contents)
        toy.power_cut()
        image = bytearray(toy.flash_image())
        for n, content in enumerate(contents):
            at = image.index(content[:HEADER])
            while at >= 0:
                image[at + n] ^= 1 << n % 8
                at = image.find(content[:HEADER])
        toy.flash.path.write_bytes(image)
        await toy.restart()
        await toy.sleep(1)
        async with client(radio.phone(), link) as phone:
            here = [contents.index(c) for c in contents if any(
                entry.id == c[16:32] for entry in await phone.entries(Box.INBOX)
            )]  # fmt: skip
        assert here == [*range(8, 16), *range(32, 40)]
        refusals = []
        for _ in here:
            refusals += await pressed(toy, 1)
            await toy.sleep(AGAIN)
        assert len(refusals) == len(here)
        assert all(alike(each, refusals[0]) for each in refusals)
        assert snr(refusals[0], speech(0.2, 1)) < 0
        await look_at_the_log(
            radio,
            link,
            "Broken",
            "no key of epoch",
            "not a Hushbear",
            "another version",
            "wrong id",
        )
        await well(toy, radio, link)


async def test_an_id_that_was_used_is_not_delivered_again_with_other_contents(
    virtual_toy: MakeToy,
) -> None:
    async with family(virtual_toy) as (toy, radio, link):
        first = sealed(1)
        header = message.parse_header(first)
        again = sealing.seal(header, encode(speech(1.5, 2)), OLD)  # by one who has the key
        assert hashlib.sha256(again) != hashlib.sha256(first)
        async with client(radio.phone(), link) as phone:
            await phone.send(first)
            await phone.send(again)
            assert await messages.stored(toy, Box.INBOX) == [first]
            await toy.sleep(1)
            (heard,) = await pressed(toy)
            assert snr(heard[SILENCE:], speech(1.5, 1)) > 15
            await phone.delete(Box.INBOX, header.id)
            await phone.send(again)
            assert await phone.entries(Box.INBOX) == []
        await well(toy, radio, link)


async def test_the_childs_own_message_moved_into_its_inbox_plays_as_it_was_said(
    virtual_toy: MakeToy,
) -> None:
    """It is the family's, and whole: nothing tells the toy that it was not sent back."""
    voice = speech(8, 7)
    async with family(virtual_toy) as (toy, radio, link):
        await toy.sleep(1)
        toy.mic.speak(voice)
        await toy.hold("record", 2)
        await toy.sleep(1)
        await toy.exec_repl(
            "import os\n(name,) = os.listdir('/msg/out')\n"
            "os.rename('/msg/out/' + name, '/msg/in/' + name)\n"
        )
        await toy.sleep(1)
        (heard,) = await pressed(toy)
        assert len(heard) > 16000 and snr(heard[SILENCE:], voice) > 10
        await well(toy, radio, link)
