"""The link drops after every packet of a transfer in turn: the message arrives once, whole.

That is after every frame and every answer, too: when one side has acted and the other does not
know it yet.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from host_tests.family import MakeToy, client, family, spoken
from host_tests.messages import RECORD, STORE, stored
from host_tests.virtual.air import AirConnection
from hushbear_companion import message, recordings, sealing
from hushbear_companion.records import Box

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

MESSAGES = 48  # for the phone to fetch: as many as there are packets in a transfer, and more

# As if the child had recorded them
RECORDINGS = (
    STORE
    + RECORD
    + f"""
for n in range({MESSAGES}):
    record(b"%016d" % n, 13, lambda block: bytes(4) + bytes((n, block)) * 126)
"""
)


async def test_a_message_sent_arrives_once_wherever_the_link_drops(virtual_toy: MakeToy) -> None:
    sent: list[bytes] = []
    seen: list[int] = []  # how far the phone thought it was
    unaware = 0  # times that the toy had the whole message and the phone did not know
    async with family(virtual_toy) as (toy, radio, link):
        async with client(radio.phone(mtu=247), link) as phone:
            for after in itertools.count(1):
                content = spoken(0.4, after)
                sent.append(content)
                seen.clear()
                (connection,) = radio.air.connections
                connection.drop(after)
                await phone.send(content, lambda done, _: seen.append(done))
                unaware += seen[-2:] == [len(content), len(content)]
                if not connection.closed:
                    break
        assert await stored(toy, Box.INBOX) == sent
        assert (await toy.exec_repl("import os; print(os.listdir('/msg/part'))")).strip() == "[]"
    assert len(sent) > 15 and unaware


async def test_a_message_fetched_arrives_once_wherever_the_link_drops(
    virtual_toy: MakeToy, tmp_path: Path
) -> None:
    async with family(virtual_toy) as (toy, radio, link):
        await toy.exec_repl(RECORDINGS)
        recorded = await stored(toy, Box.OUTBOX)
        async with client(radio.phone(mtu=247), link) as phone:
            entries = await phone.entries(Box.OUTBOX)
            for after in itertools.count(1):
                directory = tmp_path / str(after)
                directory.mkdir()
                (connection,) = radio.air.connections
                connection.drop(after)
                path, kept = await recordings.fetch_into(
                    phone, entries[after], directory, directory
                )
                assert set(directory.iterdir()) == {path, kept}
                assert kept.read_bytes() == recorded[after]
                _, blocks = sealing.unseal(recorded[after], phone.family)
                assert path.read_bytes() == message.to_wav(blocks)
                if not connection.closed:
                    break
            done = [entry.done for entry in await phone.entries(Box.OUTBOX)]
    assert after > 15
    assert done == [1 <= place <= after for place in range(MESSAGES)]


async def test_a_link_that_drops_while_it_is_made_is_made_again(virtual_toy: MakeToy) -> None:
    links: list[AirConnection] = []
    after = 0

    def drop_the_first(connection: AirConnection) -> None:
        if not links:
            connection.drop(after)
        links.append(connection)

    async with family(virtual_toy) as (_, radio, link):
        radio.air.on_connection = drop_the_first
        while len(links) != 1:
            links.clear()
            after += 1
            async with client(radio.phone(mtu=247), link) as phone:
                pass
        async with phone:
            assert (await phone.status()).crashlog == 0
    assert after > 10
