"""What a family does with a toy, and a stranger tries: through the air, virtual or real."""

from __future__ import annotations

import pathlib

import pytest
from bleak import BleakScanner

from host_tests.family import spoken
from host_tests.messages import RECORD, STORE
from host_tests.on_air import MakeHome, each_air, home
from hushbear import wire
from hushbear_companion import errors, sealing
from hushbear_companion.records import Box
from tools.stranger import Stranger

__all__ = ["home"]  # a fixture


@each_air
async def test_a_message_that_is_sent_twice_arrives_once_and_whole(home: MakeHome) -> None:
    async with home() as family:
        async with family.phone() as phone:
            content = spoken(3, phone=phone)
            await phone.send(content)
        async with family.phone() as phone:
            await phone.send(content)
            found = [e for e in await phone.entries(Box.INBOX) if e.id == content[16:32]]
            assert [(entry.size, entry.done) for entry in found] == [(len(content), False)]
            await phone.delete(Box.INBOX, content[16:32])
            assert content[16:32] not in {e.id for e in await phone.entries(Box.INBOX)}


@each_air
async def test_an_answer_is_fetched_whole_and_deleted(
    home: MakeHome, tmp_path: pathlib.Path
) -> None:
    message_id = bytes(range(16))
    async with home() as family:
        await family.run(STORE + RECORD + f"record({message_id!r}, 30, lambda n: bytes(256))")
        async with family.phone() as phone:
            (entry,) = [e for e in await phone.entries(Box.OUTBOX) if e.id == message_id]
            content = await phone.fetch(entry, tmp_path / "part")
            assert content[16:32] == message_id and len(content) == entry.size
            assert sealing.unseal(content, phone.family)[1] == bytes(30 * 256)
            await phone.fetched(message_id)
            await phone.delete(Box.OUTBOX, message_id)
            with pytest.raises(errors.NoSuchMessage):
                await phone.delete(Box.OUTBOX, message_id)


@each_air
async def test_settings_are_taken_and_kept_over_a_restart(home: MakeHome) -> None:
    async with home() as family:
        async with family.phone() as phone:
            before = await phone.settings()
            await phone.configure(before.changed(volume=7))
        await family.run("print('restarting')")
        async with family.phone() as phone:
            assert (await phone.settings()).volume == 7
            await phone.configure(before)


@each_air
async def test_a_stranger_is_refused_whatever_it_tries(home: MakeHome) -> None:
    async with home() as family:
        outcomes = [outcome async for outcome in Stranger(family.device()).attempts()]
        assert [o.attempt for o in outcomes if not o.refused] == []
        assert len(outcomes) == 8
        with pytest.raises(errors.NotThisToy):
            await family.phone(key=bytes(range(32))).connect()
        async with family.phone() as phone:
            await phone.status()


@each_air
async def test_the_advertisement_says_what_it_is_and_not_who(home: MakeHome) -> None:
    async with home() as family:
        seen = await BleakScanner.discover(5, return_adv=True, backend=family.device().scanner)
    toys = [a for _, a in seen.values() if wire.SERVICE_UUID in a.service_uuids]
    assert toys
    for toy in toys:
        assert not toy.local_name and not toy.manufacturer_data and not toy.service_data
