"""A full flash: what goes to make room, what never goes, and what is left for everything else."""

from typing import Any

import pytest

from host_tests.ram_flash import SOURCE
from host_tests.targets import Target, dedent


def run(target: Target, source: str, **args: object) -> Any:
    return target.run(SOURCE + dedent(source), args=args, timeout=120)


def test_what_nobody_waits_for_makes_room_oldest_first(target: Target) -> None:
    assert run(
        target,
        """
        new_flash(72)
        store = boot()
        for n in range(1, 5):
            receive(store, n, 10)
        for n in range(5, 8):
            record(store, n, 8)
        for n in (2, 3):
            store.mark_done(INBOX, make_id(n))
        for n in (6, 7):
            store.mark_done(OUTBOX, make_id(n))
        steps = []

        def step():
            steps.append([
                [int(e.id) for e in store.entries(box)] for box in (INBOX, OUTBOX)
            ])

        step()
        store.mark_done(OUTBOX, make_id(5))
        for n in range(8, 30):
            try:
                receive(store, n, 10)
                step()
            except StoreFull:
                break
        result(steps)
        """,
    ) == [
        [[1, 2, 3, 4], [5, 6, 7]],
        [[1, 2, 3, 4, 8], [5, 6, 7]],
        [[1, 3, 4, 8, 9], [5, 6, 7]],
        [[1, 4, 8, 9, 10], [5, 6, 7]],
        [[1, 4, 8, 9, 10, 11], [6, 7]],
    ]


def test_a_full_box_refuses_and_deletes_nothing(target: Target) -> None:
    full, before, after, other = run(
        target,
        """
        new_flash(72)
        store = boot()
        receive(store, 1, 10)
        store.mark_done(INBOX, make_id(1))
        n = 2
        try:
            while True:
                receive(store, n, 10)
                n += 1
        except StoreFull as error:
            full = error.status
        before = contents(store, INBOX)
        refused = []
        for size in (container.SIZE_MAX, 48 + 10 * 256, 48 + 10 * 256):
            try:
                store.offer(make_id(90), size, bytes(32))
            except StoreFull:
                refused.append(size)
        assert len(refused) == 3
        after = contents(store, INBOX)
        record(store, 99, 10)  # the child can answer all the same
        result((full, before, after, contents(store, OUTBOX)))
        """,
    )
    assert full == 4
    assert before == after
    assert all(not done for _, _, done in after)  # the heard one had to go before
    assert len(after) >= 5
    assert other == [(99, 10, 0)]


def test_a_message_too_long_for_the_toy_costs_nothing(target: Target) -> None:
    assert run(
        target,
        """
        new_flash(72)
        store = boot()
        receive(store, 1, 10)
        store.mark_done(INBOX, make_id(1))
        try:
            store.offer(make_id(2), container.SIZE_MAX, bytes(32))
        except StoreFull:
            result((contents(store, INBOX), os.listdir("/flash/msg/part")))
        """,
    ) == ([(1, 10, 1)], [])


def test_a_recording_ends_before_the_reserve_and_can_be_kept(target: Target) -> None:
    full, kept, size, limit, reserve_left, saved = run(
        target,
        """
        flash = new_flash(110)
        reserve = 16
        store = boot()
        receive(store, 1, 40)
        recording = store.record(container.pack_header(make_id(2), container.TOY, 0, 1))
        buf = bytearray(256)
        n = 0
        try:
            while True:
                fill(buf, 62 + n & 255)
                recording.write(buf, 256)
                n += 1
        except StoreFull:
            full = n
        left = os.statvfs("/flash")[3]
        with open("/flash/settings", "wb") as file:  # there is room for everything else
            file.write(bytes(1000))
        entry = recording.keep()
        restart(flash)
        store = boot()
        kept = contents(store, OUTBOX)
        result((full, kept, entry.size, recording.limit, left, contents(store, INBOX)))
        """,
    )
    assert kept == [(2, full, 0)]
    assert size == 48 + 256 * full
    assert 0 <= limit - size < 256
    assert reserve_left >= 16
    assert saved == [(1, 40, 0)]


def test_without_room_for_two_seconds_no_recording_is_begun(target: Target) -> None:
    assert run(
        target,
        """
        new_flash(110)
        store = boot()
        record(store, 1, 66)
        try:
            store.record(container.pack_header(make_id(2), container.TOY, 0, 1))
        except StoreFull as error:
            refused = error.status
        store.mark_done(OUTBOX, make_id(1))  # a phone has fetched it
        recording = store.record(container.pack_header(make_id(2), container.TOY, 0, 1))
        result((refused, recording.limit > 48 + 64 * 256, contents(store, OUTBOX)))
        """,
    ) == (4, True, [])


def test_an_open_message_does_not_make_room(target: Target) -> None:
    assert run(
        target,
        """
        new_flash(72)
        store = boot()
        receive(store, 1, 50)
        store.mark_done(INBOX, make_id(1))
        with store.open(INBOX, make_id(1)):
            try:
                receive(store, 2, 50)
            except StoreFull:
                kept = contents(store, INBOX)
        receive(store, 2, 50)
        result((kept, contents(store, INBOX)))
        """,
    ) == ([(1, 50, 1)], [(2, 50, 0)])


def test_receiving_and_recording_share_what_there_is(target: Target) -> None:
    assert run(
        target,
        """
        new_flash(82)
        store = boot()
        message = Message(1, 40)
        message.offer_to(store)
        header = container.pack_header(make_id(2), container.TOY, 0, 1)
        recording = store.record(header, 16384 + 48)
        buf = bytearray(256)
        sent = blocks = 0
        try:
            while sent < message.size:
                message.feed(store, sent, min(sent + 500, message.size))
                sent = min(sent + 500, message.size)
                for _ in range(4):
                    fill(buf, 62 + blocks & 255)
                    recording.write(buf, 256)
                    blocks += 1
        except StoreFull:
            pass
        message.feed(store, sent, message.size)
        recording.keep()
        asyncio.run(store.commit(message.id))
        result((contents(store, INBOX), contents(store, OUTBOX) == [(2, blocks, 0)]))
        """,
    ) == ([(1, 40, 0)], True)


def test_what_a_recording_may_still_take_is_not_promised_to_a_phone(target: Target) -> None:
    assert run(
        target,
        """
        new_flash(82)
        store = boot()
        header = container.pack_header(make_id(2), container.TOY, 0, 1)
        recording = store.record(header, 16384 + 48)
        message = Message(1, 80)
        try:
            refused = message.offer_to(store)
        except StoreFull as error:
            refused = error.status
        recording.discard()
        result((refused, message.offer_to(store)))
        """,
    ) == (4, 0)


def test_the_number_of_messages_is_bounded(target: Target) -> None:
    assert run(
        target,
        """
        import hushbear.store.room

        hushbear.store.room.MESSAGES_MAX = 8
        new_flash(72)
        store = boot()
        for n in range(8):
            receive(store, n, 1)
        try:
            receive(store, 8, 1)
        except StoreFull:
            refused = store.count(INBOX)
        record(store, 20, 1)
        store.mark_done(INBOX, make_id(3))
        receive(store, 8, 1)
        result((refused, store.count(INBOX), store.find(INBOX, make_id(3))))
        """,
    ) == (8, 8, None)


def test_a_flash_full_of_other_things_is_full(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(72)
        store = boot()
        receive(store, 1, 2)
        with open("/flash/big", "wb") as file:
            for _ in range(48):
                file.write(bytes(500))
        flash = restart(flash)
        store = boot()
        try:
            store.offer(make_id(2), 48 + 20 * 256, bytes(32))
        except StoreFull:
            free = store.free()
        store.mark_done(INBOX, make_id(1))
        os.remove("/flash/big")
        restart(flash)
        store = boot()
        receive(store, 2, 20)
        result((free < 20 * 256, contents(store, INBOX)))
        """,
    ) == (True, [(1, 2, 1), (2, 20, 0)])


def test_deleting_helps_even_when_something_has_eaten_the_reserve(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(48)
        store = boot()
        receive(store, 1, 20)
        receive(store, 2, 1)
        filler = open("/flash/big", "wb")
        try:
            while True:
                filler.write(bytes(500))
                filler.flush()
        except OSError:
            filler.close()
        flash = restart(flash)
        store = boot()
        free = os.statvfs("/flash")[3]
        store.delete(INBOX, make_id(1))
        flash = restart(flash)
        store = boot()
        result((free <= 0, contents(store, INBOX), Message(1, 20).offer_to(store)))
        """,
    ) == (True, [(2, 1, 0)], 48 + 20 * 256)


def test_a_resumed_message_counts_whole_against_its_box(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(72)
        store = boot()
        quota = store.total() // 512 * 3 // 4
        message = Message(1, 40)  # 21 blocks of flash
        message.offer_to(store)
        message.feed(store, 0, 8000)
        store.suspend()
        left = quota - 21
        receive(store, 2, 2 * left + 2)  # one block too many
        try:
            refused = message.offer_to(store)
        except StoreFull:
            refused = True
        store.mark_done(INBOX, make_id(2))
        result((refused, message.offer_to(store), contents(store, INBOX)))
        """,
    ) == (True, 8000, [])


@pytest.mark.parametrize("block_size", [512, 4096])
def test_blocks_are_counted_as_littlefs_counts_them(target: Target, block_size: int) -> None:
    assert (
        run(
            target,
            """
        from hushbear.store.names import blocks_for, size_in

        flash = new_flash(110 if block_size < 4096 else 12, block_size)
        wrong = []
        empty = os.statvfs("/flash")[3]
        top = size_in(70 if block_size < 4096 else 5, block_size)
        sizes = [304, top // 2, top - 1, top, top + 1, block_size, block_size + 1]
        sizes += [size_in(n, block_size) for n in (2, 3, 4)]
        sizes += [size_in(n, block_size) + 1 for n in (2, 3, 4)]
        piece = bytes(100)
        for size in sizes:
            with open("/flash/file", "wb") as file:
                for at in range(0, size, 100):
                    file.write(piece, min(100, size - at))
            used = empty - os.statvfs("/flash")[3]
            if used != blocks_for(size, block_size):
                wrong.append((size, used, blocks_for(size, block_size)))
            os.remove("/flash/file")
        result(wrong)
        """,
            block_size=block_size,
        )
        == []
    )
