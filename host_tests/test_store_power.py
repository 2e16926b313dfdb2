"""The power fails in every single operation on the flash, at up to five points of it.

Each scenario starts from the same flash: inbox 1 (heard) and 2, outbox 3 (fetched) and 4, and the
first part of message 5. The power fails at operation 0, 1, 2 … of what the scenario does, mounting
included, until it runs to its end. After each cut the toy starts again, and nothing is lost.
"""

import pytest

from host_tests.ram_flash import SOURCE
from host_tests.targets import Target, dedent

SETTING_UP = """
flash = new_flash(72)
store = boot()
receive(store, 0, 1)
store.delete(INBOX, make_id(0))
receive(store, 1, 2)
receive(store, 2, 3)
record(store, 3, 2)
record(store, 4, 1)
store.mark_done(INBOX, make_id(1))
store.mark_done(OUTBOX, make_id(3))
half = Message(5, 6)
half.offer_to(store)
half.feed(store, 0, 1000)
store.suspend()
image = {block: bytes(data) for block, data in flash.blocks.items()}
flash = restart(flash)
store = boot()
free = store.free()
inbox, outbox = contents(store, INBOX), contents(store, OUTBOX)
"""

EVERY_CUT = """
flash = None
before = (inbox, outbox)
states = [before, after] + list(globals().get("on_the_way", ()))


def cut(cut_at, torn):
    # Return whether the power failed.
    unmount()  # and with it goes the flash of the cut before
    blocks = {block: bytearray(data) for block, data in image.items()}
    flash = RamFlash(72, 512, blocks, cut_at, torn)
    try:
        mount(flash)
        store = boot()
        act(store)
    except (StoreError, OSError):
        assert flash.dead, "failed with the power on"
    failed = flash.dead
    flash = restart(flash)
    store = boot()
    found = (contents(store, INBOX), contents(store, OUTBOX))
    if not failed:
        assert found == after, found
        return False
    assert found in states, found
    # What was not confirmed is done again; then it is so, and so once.
    try:
        act(store)
    except StoreError as error:
        assert error.status == NOT_FOUND
        assert found == after  # it was deleted after all
    flash = restart(flash)
    store = boot()
    found = (contents(store, INBOX), contents(store, OUTBOX))
    assert found == after, found
    # Nothing that was cut off takes room for ever. (A directory may have grown: two blocks.)
    assert abs(store.free() - free_after) <= 1024, (store.free(), free_after)
    return True


for torn in quarters:
    cut_at = 0
    while cut(cut_at, torn):
        cut_at += 1
assert not log, log
assert not RamFlash.overwritten
result(cut_at)
"""

SCENARIOS = {
    "receive": """
        def act(store):
            receive(store, 6, 3)

        after = (inbox + [(6, 3, 0)], outbox)
        free_after = free - 1024
        """,
    "receive the rest": """
        def act(store):
            receive(store, 5, 6)

        after = (inbox + [(5, 6, 0)], outbox)
        free_after = free - 512
        """,
    "record": """
        def act(store):
            if store.find(OUTBOX, make_id(6)) is None:
                record(store, 6, 5)

        after = (inbox, outbox + [(6, 5, 0)])
        free_after = free - 3 * 512
        """,
    "delete from the inbox": """
        def act(store):
            store.delete(INBOX, make_id(2))

        after = (inbox[:1], outbox)
        free_after = free + 1024
        """,
    "delete from the outbox": """
        def act(store):
            store.delete(OUTBOX, make_id(4))

        after = (inbox, outbox[:1])
        free_after = free + 512
        """,
    "mark heard": """
        def act(store):
            store.mark_done(INBOX, make_id(2))

        after = ([(1, 2, 1), (2, 3, 1)], outbox)
        free_after = free
        """,
    "mark fetched": """
        def act(store):
            store.mark_done(OUTBOX, make_id(4))

        after = (inbox, [(3, 2, 1), (4, 1, 1)])
        free_after = free
        """,
    "receive into a full flash": """
        reserve = 20
        record(store, 7, 14)
        flash, image = restart(flash), None
        gc.collect()
        image = {block: bytes(data) for block, data in flash.blocks.items()}
        outbox.append((7, 14, 0))

        def act(store):
            receive(store, 6, 37)

        after = (inbox[1:] + [(6, 37, 0)], outbox[1:])
        on_the_way = (inbox[1:], outbox), (inbox[1:], outbox[1:])
        free_after = 0
        """,
}


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_power_cut_at_any_operation(target: Target, scenario: str) -> None:
    source = SOURCE + SETTING_UP + dedent(SCENARIOS[scenario]) + EVERY_CUT
    quarters = [0, 1, 2, 3, 4] if target.name == "unix" else [2]  # an emulator takes its time
    assert target.run(source, args={"quarters": quarters}, timeout=240)
