"""Somebody has the toy, takes it apart, and reads all of its flash. Without flash encryption that
is a cable and a minute.

What is learned: everything. The keys lie in NVS, and with them every message on the flash opens,
and every one that comes later, until the family revokes a phone or erases the toy. What is *not*
there: a key anywhere but in NVS, a sound anywhere in the clear.
"""

from __future__ import annotations

import pytest

from host_tests import key_set, messages
from host_tests.attacks.aftermath import well
from host_tests.family import MakeToy, add_phone, client, family, spoken
from host_tests.messages import speech
from host_tests.virtual import FlashModel
from host_tests.virtual.storage import NvsLog
from hushbear_companion import sealing
from hushbear_companion.client import Client
from hushbear_companion.link import parse_link
from hushbear_companion.records import Box

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

WINDOW = 16  # bytes of a secret or a sound that are looked for
FLASH = FlashModel(blocks=96)
NAME = "Großmutters Telefon"


def shares(secret: bytes, image: bytes) -> bool:
    """Whether any stretch of WINDOW bytes of a secret is in the image."""
    step = 1 if len(secret) < 100 else 8
    pieces = [secret[at : at + WINDOW] for at in range(0, len(secret) - WINDOW + 1, step)]
    # Silence is coded as the same few bytes in every sound.
    return any(each in image for each in pieces if len(set(each)) > WINDOW // 2)


async def test_nothing_but_nvs_has_keys_and_messages_are_ciphertext(virtual_toy: MakeToy) -> None:
    async with family(virtual_toy, flash=FLASH) as (toy, radio, link):
        other = await add_phone(toy)
        contents = [spoken(1.5, 1), spoken(1, 2)]
        toy.mic.speak(speech(60, 3))
        async with client(radio.phone(), link) as phone:
            for content in contents:
                await phone.send(content)
            await phone.rename(next(x.slot for x in await phone.phones() if x.here), NAME)
            await toy.hold("play", 0.1)
            await toy.sleep(3)
            await toy.hold("record", 2)
            await toy.sleep(1)
            (entry,) = await phone.entries(Box.OUTBOX)
            contents.append(await phone.fetch(entry, toy.directory / "part"))
            await revoke_others(phone)
            keys = dict(phone.family)
        secrets = [parse_link(link).key, parse_link(other).key, *keys.values()]
        sounds = [sealing.unseal(content, keys)[1] for content in contents]
        image, nvs = toy.flash_image(), toy.nvs.image()
        # What the search finds where it is:
        assert all(shares(content[48:], image) for content in contents)
        assert shares(parse_link(link).key, nvs)
        # What it finds nowhere else:
        assert not [secret for secret in secrets if shares(secret, image)]
        assert not [sound for sound in sounds if shares(sound, image)]
        assert not [n for n in (1, 2) if shares(speech(1, n).tobytes(), image)]
        assert NAME.encode() not in image and NAME.encode() in nvs
        assert link.split("toy/")[1][:43].encode() not in image + nvs
        await well(toy, radio, link)


async def revoke_others(phone: Client) -> None:
    for each in await phone.phones():
        if not each.here:
            await phone.revoke(each.slot)


async def test_with_the_keys_from_nvs_every_message_opens(virtual_toy: MakeToy) -> None:
    """What flash encryption is for, in as many words as it takes."""
    async with family(virtual_toy, flash=FLASH) as (toy, radio, link):
        content = spoken(1, 1)
        toy.mic.speak(speech(60, 3))
        async with client(radio.phone(), link) as phone:
            await phone.send(content)
            await toy.hold("record", 2)
            await toy.sleep(1)
        taken = [*await messages.stored(toy, Box.INBOX), *await messages.outbox(toy)]
        values = NvsLog(toy.nvs.image()).values()
        sets = {name.rpartition("/")[2]: value for name, value in values.items()}
        known = key_set.newest(sets)
        assert list(known.psks.values()) == [parse_link(link).key]  # he may be that phone, too
        assert taken[0] == content and len(taken) == 2
        assert [len(sealing.unseal(each, known.epochs)[1]) > 20 * 256 for each in taken] == [
            True
        ] * 2
        await toy.sleep(1)
        # So a toy that was out of sight is worth as much as a lost phone: its family revokes every
        # phone, or erases it by hand.
        await well(toy, radio, link)
