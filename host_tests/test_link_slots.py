"""The toy serves three phones, one after the other on the same slots: nobody inherits anything."""

from __future__ import annotations

import pytest

from host_tests.quick_link import run
from host_tests.targets import Target
from hushbear import wire

pytestmark = pytest.mark.targets("unix")

RAM = bytes(64 * 1024)  # as much memory is there for the flash, and for compiling the library


def test_an_upload_whose_link_was_lost_does_not_keep_the_others_from_sending(
    target: Target,
) -> None:
    assert run(
        target,
        """
        del ram
        new_flash(64)
        toy = Toy()


        async def main():
            asyncio.create_task(toy.link.run())
            await asyncio.sleep_ms(10)
            mother, father = Phone(1), Phone(2)
            for phone, n in ((mother, 1), (father, 2)):
                phone.connect()
                phone.write(hello)
                phone.say(upkeep_wire.STATUS, 1)
            await asyncio.sleep_ms(100)
            message = Message(2, 9)
            offer = struct.pack("<16sI32s", message.id, message.size, message.digest())
            father.say(wire.SEND, 2, offer)
            await asyncio.sleep_ms(100)
            father.write(b"half a frame")
            ble.gap_disconnect(2)
            await asyncio.sleep_ms(100)
            mother.say(wire.SEND, 2, offer)
            await asyncio.sleep_ms(100)
            result([(kind, body[0]) for kind, tag, body in mother.heard if tag == 2])


        asyncio.run(main())
        """,
        ram=RAM,
    ) == [(wire.SEND | wire.RESPONSE, wire.OK)]


def test_what_a_lost_link_cut_short_does_not_go_on_in_the_next_connection(target: Target) -> None:
    assert run(
        target,
        """
        del ram
        new_flash(64)
        toy = Toy()
        record(toy.store, 5, 9)


        async def main():
            asyncio.create_task(toy.link.run())
            await asyncio.sleep_ms(10)
            first, second = Phone(1), Phone(1)
            first.connect()
            first.write(hello)
            first.say(wire.FETCH, 1, struct.pack("<16sII", make_id(5), 0, 1024))
            while not first.heard:
                await asyncio.sleep_ms(0)
            first.deaf = True  # the stack's buffers are full when the link is lost
            await asyncio.sleep_ms(500)
            ble.gap_disconnect(1)
            await asyncio.sleep_ms(1)
            second.connect()
            second.write(hello)
            second.say(upkeep_wire.STATUS, 7)
            await asyncio.sleep_ms(500)
            result(([record[:2] for record in second.heard], toy.wrong))


        asyncio.run(main())
        """,
        ram=RAM,
    ) == ([(0x81, 7)], [])
