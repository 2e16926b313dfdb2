"""The companion and the unmodified firmware, on the virtual radio: as a parent has them."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from host_tests.family import MakeToy, add_phone, client, family, spoken
from host_tests.messages import snr, speech
from hushbear import upkeep_wire, wire
from hushbear_companion import errors, message, recordings, sealing
from hushbear_companion.adpcm import decode, encode
from hushbear_companion.delivery import deliver
from hushbear_companion.inbox import Inbox, State
from hushbear_companion.records import Box, StatusError
from hushbear_companion.session import Session

pytestmark = pytest.mark.targets("unix")


@pytest.mark.virtual_time
@pytest.mark.parametrize("mtu", [23, 185, 517])
async def test_a_message_arrives_whatever_a_write_may_hold(virtual_toy: MakeToy, mtu: int) -> None:
    content = spoken(1.5)
    seen: list[int] = []
    async with (
        family(virtual_toy) as (_, radio, link),
        client(radio.phone(mtu=mtu), link) as phone,
    ):
        await phone.send(content, lambda done, total: seen.append(done))
        (entry,) = await phone.entries(Box.INBOX)
        status = await phone.status()
    assert (entry.id, entry.size, entry.done) == (content[16:32], len(content), False)
    assert status.unheard == 1 and status.clock is not None
    assert seen == sorted(seen) and seen[-1] == len(content)


@pytest.mark.virtual_time
async def test_a_transfer_survives_drops_and_goes_on_where_it_was(virtual_toy: MakeToy) -> None:
    content = spoken(6)
    seen: list[int] = []
    async with family(virtual_toy) as (_, radio, link), client(radio.phone(), link) as phone:

        def watch(done: int, total: int) -> None:
            if len(seen) in (10, 30, 31):
                radio.drop()
            seen.append(done)

        await phone.send(content, watch)
        assert [e.size for e in await phone.entries(Box.INBOX)] == [len(content)]
    drops = [n for n in range(1, len(seen)) if seen[n] <= seen[n - 1]]
    assert drops and all(seen[n - 1] - seen[n] <= wire.WINDOW + 32 * 1024 for n in drops)


@pytest.mark.virtual_time
async def test_out_of_range_and_back(virtual_toy: MakeToy) -> None:
    content = spoken(6)
    said: list[str] = []
    async with family(virtual_toy) as (_, radio, link):
        device = radio.phone()
        phone = client(device, link)
        phone._waiting = said.append
        loop = asyncio.get_running_loop()

        def watch(done: int, total: int) -> None:
            if done > 20_000 and not said and not gone:
                gone.append(loop.time())
                radio.out_of_range(device)
                loop.call_later(20, radio.in_range, device)

        gone: list[float] = []
        async with phone:
            await phone.send(content, watch)
            assert len(await phone.entries(Box.INBOX)) == 1
    assert said and "Trying again" in said[0]


@pytest.mark.virtual_time
async def test_the_child_answers_and_the_phone_fetches_it(
    virtual_toy: MakeToy, tmp_path: Path
) -> None:
    voice = speech(2.0, 3)
    directory = tmp_path / "in"
    directory.mkdir()
    async with family(virtual_toy) as (toy, radio, link):
        await asyncio.sleep(1)
        toy.mic.speak(np.concatenate((np.zeros(4000, np.int16), voice)))
        await toy.hold("record", 2.4)
        await asyncio.sleep(1)
        async with client(radio.phone(), link) as phone:
            (entry,) = await phone.entries(Box.OUTBOX)
            radio.drop(after=40)
            path, kept = await recordings.fetch_into(phone, entry, directory, directory)
            (entry,) = await phone.entries(Box.OUTBOX)
            assert entry.done
            await phone.delete(Box.OUTBOX, entry.id)
            with pytest.raises(errors.NoSuchMessage):
                await phone.delete(Box.OUTBOX, entry.id)
    heard, rate = soundfile.read(path, dtype="int16")
    assert rate == 16000 and 1.8 < len(heard) / rate < 2.6
    assert np.array_equal(heard, decode(path.read_bytes()[60:]))
    assert set(directory.iterdir()) == {path, kept}
    assert path.read_bytes().endswith(sealing.unseal(kept.read_bytes(), phone.family)[1])


@pytest.mark.virtual_time
async def test_the_child_hears_from_another_member_what_a_parent_approved(
    virtual_toy: MakeToy, tmp_path: Path
) -> None:
    async with family(virtual_toy) as (toy, radio, link):
        async with client(radio.phone(), await add_phone(toy)) as grandma:
            assert grandma.sender
            letters = [
                sealing.seal(
                    message.Header(message.new_id(), grandma.sender, 0, grandma.epoch),
                    encode(speech(1.5, seed)),
                    grandma.family[grandma.epoch],
                )
                for seed in (1, 2)
            ]
        async with client(radio.phone(), link) as phone:
            with Inbox(b"the toy ", tmp_path) as inbox:
                first, second = [inbox.take(letter, phone.family)[0] for letter in letters]
                assert first.sender == grandma.sender != phone.sender
                inbox.approve(second.id)
                assert [m.id for m in (await deliver(phone, inbox)).delivered] == [second.id]
                await toy.hold("play", 0.1)
                await asyncio.sleep(3)
                assert snr(toy.speaker.pcm(0), speech(1.5, 2)) > 20
                assert not (await deliver(phone, inbox)).delivered
                states = [each.state for each in inbox.messages()]
            assert states == [State.WAITING, State.HEARD]
            assert [entry.id for entry in await phone.entries(Box.INBOX)] == [second.id]


@pytest.mark.virtual_time
async def test_two_phones_at_once_each_get_their_message_across(virtual_toy: MakeToy) -> None:
    one, other = spoken(3, 1), spoken(1, 2)
    async with family(virtual_toy) as (_, radio, link):
        async with (
            client(radio.phone(), link) as first,
            client(radio.phone(), link) as second,
            asyncio.TaskGroup() as sending,
        ):
            sending.create_task(first.send(one))
            sending.create_task(second.send(other))
        async with client(radio.phone(), link) as phone:
            ids = {entry.id for entry in await phone.entries(Box.INBOX)}
    assert ids == {one[16:32], other[16:32]}


@pytest.mark.virtual_time
async def test_a_wrong_key_is_refused_and_the_right_one_still_works(virtual_toy: MakeToy) -> None:
    async with family(virtual_toy) as (toy, radio, link):
        stranger = client(radio.phone(), link)
        stranger._key = bytes(32)
        with pytest.raises(errors.NotThisToy):
            await stranger.connect()
        async with client(radio.phone(), link) as phone:
            assert (await phone.status()).crashlog == 0
        assert toy.running


@pytest.mark.virtual_time
async def test_requests_at_their_edges_leave_the_toy_well(virtual_toy: MakeToy) -> None:
    async with family(virtual_toy) as (toy, radio, link):
        async with client(radio.phone(), link) as phone:
            settings = await phone.settings()
            await phone.configure(settings.changed(volume=1, quiet=True, quiet_from=1439))
            assert (await phone.settings()).quiet_from == 1439
            assert await phone.crashlog() == ""
            await phone.clear_crashlog()
            session = phone._session
            assert isinstance(session, Session)
            for kind, body in (
                (0x3F, b""),
                (upkeep_wire.LIST, b"\2\0\0\0\0"),
                (wire.FETCH, bytes(3)),
            ):
                with pytest.raises(StatusError):
                    await session.request(kind, body, "do that")
            assert (await phone.status()).crashlog == 0
        assert toy.running


READ_NAME = """
from binascii import hexlify
with open("/name.ima", "rb") as file:
    print(hexlify(file.read()).decode())
"""


@pytest.mark.virtual_time
async def test_a_name_is_on_the_toys_flash_when_the_phone_hears_so(virtual_toy: MakeToy) -> None:
    name = os.urandom(64 * 256)
    async with family(virtual_toy) as (toy, radio, link):
        async with client(radio.phone(), link) as phone:
            assert await phone.name_size() == 0
            await phone.give_name(name)
            assert await phone.name_size() == len(name)
            toy.power_cut()
        await toy.restart()
        assert bytes.fromhex((await toy.exec_repl(READ_NAME)).strip()) == name
        async with client(radio.phone(), link) as phone:
            assert (await phone.status()).crashlog == 0


class Command:
    """The `hushbear` command in a process of its own."""

    def __init__(self, port: int, config: Path) -> None:
        self.environment = os.environ | {
            "HUSHBEAR_CONFIG": str(config),
            "HUSHBEAR_RADIO": f"tcp-client:127.0.0.1:{port}",
        }

    async def __call__(self, *arguments: object) -> tuple[int, dict[str, Any]]:
        """Run it with --json; return (exit code, what it printed)."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hushbear_companion", *map(str, arguments), "--json"),
            env=self.environment,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(120):
            output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, json.loads(output)


async def test_the_command_end_to_end(virtual_toy: MakeToy, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "hello.flac", speech(3.0).astype(np.float64) / 32768, 16000)
    async with family(virtual_toy) as (toy, radio, link):
        hushbear = Command(await radio.serve_hci(), tmp_path / "config")
        assert await hushbear("add", link, "--name", "Bruno") == (0, {"toy": "Bruno"})
        code, sent = await hushbear("send", tmp_path / "hello.flac")
        assert code == 0 and sent["seconds"] == pytest.approx(3.0, abs=0.04)
        await toy.hold("record", 1.5)
        await asyncio.sleep(1)
        code, fetched = await hushbear("fetch", tmp_path / "in")
        assert code == 0 and len(fetched["fetched"]) == 1
        wav = fetched["fetched"][0]["file"]
        assert soundfile.info(wav).duration == pytest.approx(1.4, abs=0.3)
        code, listed = await hushbear("list")
        assert [(m["box"], m["from"], m["done"]) for m in listed["messages"]] == [
            ("inbox", "here", False),
            ("outbox", "toy", True),
        ]
        code, changed = await hushbear("settings", "--volume", 40, "--quiet-hours", "20:00-07:00")
        assert code == 0 and changed["settings"]["volume"] == 40
        assert (await hushbear("delete", "ffffffff"))[0] == 8
