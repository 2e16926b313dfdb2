"""The store: messages arrive, are recorded, heard and deleted, and survive a restart."""

from typing import Any

import pytest

from host_tests.ram_flash import SOURCE
from host_tests.targets import Target, dedent
from hushbear import wire


def run(target: Target, source: str, **args: object) -> Any:
    return target.run(SOURCE + dedent(source), args=args, timeout=120)


def test_a_received_message_is_there_after_a_restart(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(64)
        store = boot()
        receive(store, 7, 5)
        receive(store, 8, 1)
        before = contents(store, INBOX)
        restart(flash)
        store = boot()
        entry = store.oldest_unheard()
        result((before, contents(store, INBOX), list(entry), store.waiting(INBOX), log))
        """,
    ) == (
        [(7, 5, 0), (8, 1, 0)],
        [(7, 5, 0), (8, 1, 0)],
        [1, b"%016d" % 7, b"sender07", 48 + 5 * 256, 1007, 0],
        2,
        [],
    )


def test_heard_state_and_order_survive(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(64)
        store = boot()
        for n in (3, 1, 2):
            receive(store, n, 1)
            record(store, n + 10, 1)
        store.mark_done(INBOX, make_id(3))
        store.mark_done(OUTBOX, make_id(11))
        store.mark_done(INBOX, make_id(3))
        restart(flash)
        store = boot()
        result((
            contents(store, INBOX), contents(store, OUTBOX), int(store.oldest_unheard().id),
            int(store.last_heard().id), [e.sequence for e in store.entries(OUTBOX, 2)],
        ))
        """,
    ) == (
        [(3, 1, 1), (1, 1, 0), (2, 1, 0)],
        [(13, 1, 0), (11, 1, 1), (12, 1, 0)],
        1,
        3,
        [4, 6],
    )


def test_sequence_numbers_are_never_used_again(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(64)
        store = boot()
        receive(store, 1, 1)
        record(store, 2, 1)
        store.delete(OUTBOX, make_id(2))
        store.delete(INBOX, make_id(1))
        restart(flash)
        store = boot()
        receive(store, 3, 1)
        result([e.sequence for e in store.entries(INBOX)])
        """,
    ) == [3]


def test_a_message_that_was_deleted_is_not_taken_again(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(64)
        store = boot()
        message = Message(1, 2)
        receive(store, 1, 2)
        store.delete(INBOX, make_id(1))
        again = message.offer_to(store)
        restart(flash)
        store = boot()
        receive(store, 1, 2)
        for n in range(2, 66):  # 64 others, and the first is forgotten
            receive(store, n, 1)
            store.delete(INBOX, make_id(n))
        second = store.offer(make_id(2), 304, bytes(32))
        forgotten = message.offer_to(store)
        result((again, second, forgotten, contents(store, INBOX)))
        """,
    ) == (560, 304, 0, [])


def test_asking_for_a_deleted_message_leaves_no_file_open(target: Target) -> None:
    """One left to the garbage collector is closed in the middle of whatever else littlefs does."""
    assert run(
        target,
        """
        from hushbear.store import gone

        opened = []

        def spy(*args):
            opened.append(open(*args))
            return opened[-1]

        new_flash(64)
        store = boot()
        receive(store, 1, 2)
        store.delete(INBOX, make_id(1))
        gone.open = spy
        Message(1, 2).offer_to(store)
        left_open = 0
        for file in opened:
            try:
                file.tell()
                left_open += 1
            except (OSError, ValueError):
                pass
        result((len(opened) > 0, left_open))
        """,
    ) == (True, 0)


def test_a_deletion_that_was_cut_short_is_finished_at_the_next_start(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(64)
        store = boot()
        receive(store, 1, 2)
        receive(store, 2, 1)
        (name,) = [name for name in os.listdir("/flash/msg/in") if name[:8] == "00000001"]
        with open("/flash/msg/in/" + name, "rb") as file:
            data = file.read()
        store.delete(INBOX, make_id(1))
        with open("/flash/msg/in/" + name, "wb") as file:  # as if it had not come to that
            file.write(data)
        restart(flash)
        store = boot()
        result((contents(store, INBOX), name in os.listdir("/flash/msg/in")))
        """,
    ) == ([(2, 1, 0)], False)


def test_a_message_that_is_there_is_answered_as_there(target: Target) -> None:
    assert run(
        target,
        """
        new_flash(64)
        store = boot()
        receive(store, 1, 2)
        receive(store, 1, 2)
        result(contents(store, INBOX))
        """,
    ) == [(1, 2, 0)]


def test_receiving_goes_on_where_it_was_cut_after_a_restart(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(160)
        store = boot()
        message = Message(1, 100)
        offsets = [message.offer_to(store)]
        message.feed(store, 0, 20000)
        restart(flash)  # no suspend(): the power failed
        store = boot()
        offsets.append(message.offer_to(store))
        message.feed(store, offsets[-1], 20001)
        store.suspend()  # the link was lost
        restart(flash)
        store = boot()
        offsets.append(message.offer_to(store))
        message.feed(store, offsets[-1], message.size)
        store.suspend()  # all there but not committed: not shown, and never "whole" to the phone
        nothing = contents(store, INBOX)
        offsets.append(message.offer_to(store))
        message.feed(store, offsets[-1], message.size)
        asyncio.run(store.commit(make_id(1)))
        result((offsets, nothing, contents(store, INBOX), os.listdir("/flash/msg/part")))
        """,
    ) == ([0, 16432, 20001, 48 + 99 * 256], [], [(1, 100, 0)], [])


def test_two_messages_can_be_unfinished(target: Target) -> None:
    assert run(
        target,
        """
        new_flash(64)
        store = boot()
        first, second = Message(1, 4), Message(2, 4)
        first.offer_to(store)
        first.feed(store, 0, 600)
        offsets = [second.offer_to(store)]  # the part of the first stays
        second.feed(store, 0, 300)
        store.suspend()
        offsets.append(first.offer_to(store))
        first.feed(store, 600, first.size)
        asyncio.run(store.commit(make_id(1)))
        offsets.append(second.offer_to(store))
        second.feed(store, 300, second.size)
        asyncio.run(store.commit(make_id(2)))
        result((offsets, contents(store, INBOX)))
        """,
    ) == ([0, 600, 300], [(1, 4, 0), (2, 4, 0)])


def test_a_commit_too_early_leaves_what_came_and_nobody_waiting(target: Target) -> None:
    assert run(
        target,
        """
        new_flash(64)
        store = boot()
        message = Message(1, 4)
        message.offer_to(store)
        message.feed(store, 0, 600)
        try:
            asyncio.run(store.commit(message.id))
        except StoreError as error:
            status = error.status
        receive(store, 2, 1)
        offset = message.offer_to(store)
        message.feed(store, offset, message.size)
        asyncio.run(store.commit(message.id))
        result((status, offset, contents(store, INBOX)))
        """,
    ) == (6, 600, [(2, 1, 0), (1, 4, 0)])


def test_other_contents_under_the_same_id_begin_again(target: Target) -> None:
    assert run(
        target,
        """
        new_flash(64)
        store = boot()
        first, second = Message(1, 4), Message(1, 3)
        first.offer_to(store)
        first.feed(store, 0, 700)
        store.suspend()
        offset = second.offer_to(store)
        second.feed(store, 0, second.size)
        asyncio.run(store.commit(make_id(1)))
        result((offset, contents(store, INBOX)))
        """,
    ) == (0, [(1, 3, 0)])


@pytest.mark.parametrize(
    "spoil",
    [
        "message.spoilt = True",
        "digest = bytes(32)",
        "message.head[0:4] = b'RIFF'; digest = message.digest()",
        "message.head[16:32] = make_id(99); digest = message.digest()",
    ],
    ids=["bit flipped", "other digest", "not a message", "other id inside"],
)
def test_what_is_not_what_was_announced_is_refused(target: Target, spoil: str) -> None:
    assert run(
        target,
        """
        new_flash(64)
        store = boot()
        message = Message(1, 2)
        digest = message.digest()
        exec(spoil)
        store.offer(message.id, message.size, digest)
        message.feed(store, 0, message.size)
        try:
            asyncio.run(store.commit(make_id(1)))
            outcome = "committed"
        except StoreError as error:
            outcome = error.status
        receive(store, 1, 2)  # and the right one is welcome
        result((outcome, contents(store, INBOX), os.listdir("/flash/msg/part")))
        """,
        spoil=spoil,
    ) == (7, [(1, 2, 0)], [])


def test_hostile_sizes_offsets_and_ids(target: Target) -> None:
    errors = run(
        target,
        """
        new_flash(64)
        store = boot()
        errors = []

        def attempt(function, *args):
            try:
                outcome = function(*args)
                if outcome is not None:
                    asyncio.run(outcome)
                errors.append("accepted")
            except StoreError as error:
                errors.append(error.status)

        for size in (0, 47, 48, 0xFFFFFFFF, container.SIZE_MAX + 1):
            attempt(store.offer, make_id(1), size, bytes(32))
        errors.append("offered")
        attempt(store.append, 0, bytes(10), 0, 10)
        attempt(store.commit, make_id(1))
        store.offer(make_id(1), 560, bytes(32))
        buf = bytes(600)
        for args in ((1, buf, 0, 10), (0, buf, 0, 0), (0, buf, 0, -1), (0, buf, 0, 561),
                     (0, buf, 595, 10), (1 << 29, buf, 0, 10), (0xFFFFFFFF, buf, 0, 2)):
            attempt(store.append, *args)
        store.append(0, buf, 0, 10)
        attempt(store.append, 0, buf, 0, 10)
        attempt(store.commit, make_id(1))
        attempt(store.commit, make_id(2))
        errors.append("ids")
        attempt(store.delete, INBOX, make_id(2))
        attempt(store.mark_done, INBOX, b"")
        attempt(store.open, OUTBOX, make_id(1))
        attempt(store.delete, OUTBOX, make_id(3))
        result((errors, contents(store, INBOX)))
        """,
    )
    assert errors == (
        [
            *[wire.MALFORMED] * 5,
            "offered",
            wire.RANGE,
            wire.NOT_FOUND,
            *[wire.RANGE] * 7,
            wire.RANGE,
            wire.RANGE,
            wire.NOT_FOUND,
            "ids",
            *[wire.NOT_FOUND] * 4,
        ],
        [],
    )


def test_a_recording_that_was_cut_short_never_was(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(64)
        store = boot()
        free = store.free()
        recording = store.record(container.pack_header(make_id(1), container.TOY, 0, 1), 8000)
        for _ in range(20):
            recording.write(bytes(256), 256)
        restart(flash)
        store = boot()
        result((contents(store, OUTBOX), os.listdir("/flash/msg/part"), store.free() == free))
        """,
    ) == ([], [], True)


def test_a_recording_is_discarded_kept_or_empty(target: Target) -> None:
    assert run(
        target,
        """
        new_flash(64)
        store = boot()
        free = store.free()
        head = container.pack_header(make_id(1), container.TOY, 0, 1)
        recording = store.record(head, 8000)
        try:
            store.record(head, 8000)
        except StoreError as error:
            assert error.status == BUSY
            recording.write(bytes(256), 256)
        recording.discard()
        recording.discard()
        reclaimed = store.free() == free
        empty = store.record(head, 8000)
        try:
            empty.keep()
        except StoreError as error:
            assert error.status == MALFORMED
            reclaimed = reclaimed and store.free() == free
        entry = record(store, 2, 3)
        result((reclaimed, contents(store, OUTBOX), entry.size, os.listdir("/flash/msg/part")))
        """,
    ) == (True, [(2, 3, 0)], 48 + 3 * 256, [])


def test_recording_receiving_and_reading_allocate_nothing(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(110)
        for i in range(flash.size):
            flash.block(i)  # the flash itself must not allocate either
        store = boot()
        message = Message(1, 70)
        head = container.pack_header(make_id(2), container.TOY, 0, 1)

        def locked(recording, reader):
            try:
                micropython.heap_lock()
                store.append(0, message.head, 0, 48)
                for i in range(70):  # 17968 bytes: there is a flush on the way
                    fill(message.buf, 31 + i & 255)
                    store.append(48 + 256 * i, message.buf, 0, 100)
                    store.append(148 + 256 * i, message.buf, 100, 156)
                    recording.write(message.buf, 256)
                    reader.readinto(message.buf)
                reader.seek(48)
            except StoreFull:
                return i
            finally:
                micropython.heap_unlock()

        receive(store, 3, 20)
        message.offer_to(store)
        recording = store.record(head, 48 + 69 * 256)
        with store.open(INBOX, make_id(3)) as reader:
            full_after = locked(recording, reader)
        asyncio.run(store.commit(make_id(1)))
        result((full_after, recording.keep().size, contents(store, INBOX)))
        """,
    ) == (69, 48 + 69 * 256, [(3, 20, 0), (1, 70, 0)])


def test_an_open_message_is_not_deleted_and_may_be_heard(target: Target) -> None:
    assert run(
        target,
        """
        new_flash(64)
        store = boot()
        receive(store, 1, 4)
        buf = bytearray(256)
        with store.open(INBOX, make_id(1)) as reader:
            reader.seek(48)
            reader.readinto(buf)
            try:
                store.delete(INBOX, make_id(1))
                outcome = "deleted"
            except StoreError as error:
                outcome = error.status
            store.mark_done(INBOX, make_id(1))
            record(store, 2, 8)  # writes into whatever is free
            for i in range(1, 4):
                reader.readinto(buf)
                assert buf == bytes([31 + i]) * 256
        reader.close()
        heard = contents(store, INBOX)
        store.delete(INBOX, make_id(1))
        result((outcome, heard, contents(store, INBOX), contents(store, OUTBOX)))
        """,
    ) == (5, [(1, 4, 1)], [], [(2, 8, 0)])


def test_a_commit_lets_other_tasks_run(target: Target) -> None:
    assert run(
        target,
        """
        new_flash(128)
        store = boot()
        message = Message(1, 80)  # 20528 bytes
        message.offer_to(store)
        message.feed(store, 0, message.size)
        turns = 0

        async def other():
            global turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        async def main():
            task = asyncio.create_task(other())
            await store.commit(message.id)
            task.cancel()

        asyncio.run(main())
        result((turns >= 5, contents(store, INBOX)))
        """,
    ) == (True, [(1, 80, 0)])


def test_a_commit_that_is_cancelled_can_be_repeated(target: Target) -> None:
    assert run(
        target,
        """
        new_flash(128)
        store = boot()
        message = Message(1, 80)
        message.offer_to(store)
        message.feed(store, 0, message.size)

        async def main():
            task = asyncio.create_task(store.commit(make_id(1)))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            try:
                store.offer(make_id(2), 304, bytes(32))
            except StoreError as error:
                assert error.status == BUSY
                task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                return store.count(INBOX)

        count = asyncio.run(main())
        receive(store, 1, 80)
        result((count, contents(store, INBOX)))
        """,
    ) == (0, [(1, 80, 0)])


def test_what_does_not_belong_there_is_left_alone(target: Target) -> None:
    names, damaged, found, free_lost = run(
        target,
        """
        flash = new_flash(96)
        store = boot()
        receive(store, 1, 2)
        free = store.free()

        def put(path, data):
            with open(path, "wb") as file:
                file.write(data)

        head = bytes(Message(5, 1).head) + bytes(256)
        hexid = "".join("%02x" % b for b in make_id(5))
        os.mkdir("/flash/msg/in/directory")
        os.mkdir("/flash/msg/in/00000009-%s.new" % hexid)
        put("/flash/msg/in/README", b"hello")
        put("/flash/msg/in/.DS_Store", b"")
        put("/flash/msg/in/00000002-%s.txt" % hexid, head)
        put("/flash/msg/in/zzzzzzzz-%s.new" % hexid, head)
        put("/flash/msg/in/" + "x" * 200, b"")
        put("/flash/msg/part/what", b"")
        os.mkdir("/flash/msg/part/%s-00000130-0011223344556677" % hexid)
        put("/flash/msg/part/%s-00000130-0011223344556677/x" % hexid, b"")
        os.mkdir("/flash/msg/part/directory")
        put("/flash/msg/out/00000003-%s.new" % hexid, head[:47])  # cut short
        put("/flash/msg/out/00000004-%s.new" % hexid, b"RIFF" + head[4:])
        put("/flash/msg/out/00000005-%s.new" % hexid.replace("35", "36"), head)  # other id
        put("/flash/msg/out/00000006-%s.new" % hexid, b"")
        put("/flash/msg/gone", b"rubbish")
        restart(flash)
        before = [sorted(os.listdir("/flash/msg/" + box)) for box in ("in", "out", "part")]
        store = boot()
        after = [sorted(os.listdir("/flash/msg/" + box)) for box in ("in", "out", "part")]
        receive(store, 6, 1)
        record(store, 7, 1)
        result((
            before == after, sorted(log),
            contents(store, INBOX) + contents(store, OUTBOX), store.free() < free,
        ))
        """,
    )
    assert names is True
    assert free_lost is True
    assert found == [(1, 2, 0), (6, 1, 0), (7, 1, 0)]
    assert len(damaged) == 5
    assert "list of deleted ids damaged" in damaged[-1]
    assert [line.split()[1][:8] for line in damaged[:-1]] == [f"{n:08x}" for n in (3, 4, 5, 6)]


@pytest.mark.parametrize(
    ("sequence", "outcomes"), [("ffffffff", [0, 0]), ("80000000", [0, 0]), ("7ffffffe", [0, 8])]
)
def test_after_a_name_with_an_absurd_sequence_number_no_message_is_confirmed_and_lost(
    target: Target, sequence: str, outcomes: list[int]
) -> None:
    """They are numbered on from the highest, while there are numbers."""
    assert run(
        target,
        """
        flash = new_flash(64)
        boot()
        stray = "%s-%s.new" % (sequence, "".join("%02x" % b for b in make_id(5)))
        with open("/flash/msg/in/" + stray, "wb") as file:
            file.write(bytes(Message(5, 1).head) + bytes(256))
        restart(flash)
        store = boot()
        outcomes, confirmed = [], []
        for n in (6, 7):
            try:
                receive(store, n, 1)
                outcomes.append(0)
                confirmed.append(make_id(n))
            except StoreError as error:
                outcomes.append(error.status)
        restart(flash)
        store = boot()
        lost = [each for each in confirmed if store.find(INBOX, each) is None]
        result((outcomes, lost, stray in os.listdir("/flash/msg/in")))
        """,
        sequence=sequence,
    ) == (outcomes, [], True)


def test_a_failing_flash_is_an_error_not_an_accident(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(64)
        store = boot()
        receive(store, 1, 2)
        recording = store.record(container.pack_header(make_id(2), container.TOY, 0, 1), 8000)
        flash.dead = True
        errors = []
        for act in (
            lambda: store.mark_done(INBOX, make_id(1)),
            lambda: store.delete(INBOX, make_id(1)),
            lambda: store.offer(make_id(3), 304, bytes(32)),
            lambda: [recording.write(bytes(256), 256) for _ in range(4)],
            lambda: recording.write(bytes(256), 256),
            recording.keep,
            lambda: store.open(INBOX, make_id(1)),
            boot,
        ):
            try:
                act()
                errors.append("worked")
            except StoreError as error:
                errors.append(error.status)
        recording.discard()
        restart(flash)
        result((errors, contents(boot(), INBOX)))
        """,
    ) == ([8] * 8, [(1, 2, 0)])
