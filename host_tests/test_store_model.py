"""Long random sequences of everything that happens to a store, against a plain list of messages.

The sequence includes restarts, lost links, and power cuts at random operations; it is decided by
the seed alone. The model knows what was confirmed: only what nobody waits for may ever be missing.
"""

import pytest

from host_tests.ram_flash import SOURCE
from host_tests.targets import Target

SEQUENCE = """
import random

random.seed(seed)
flash = new_flash(64)
store = boot()
model = {INBOX: [], OUTBOX: []}  # [n, blocks, done] in order
deleted = []
unfinished = {}  # n: blocks
next_n = 1
pending = None  # what was under way when the power failed
making_room = False
counts = {}


def count(what):
    counts[what] = counts.get(what, 0) + 1


def matches(box, expected):
    # Only what is done may be missing, when room was needed; it counts as deleted then.
    found = [list(message) for message in contents(store, box)]
    for message in list(expected):
        if message not in found and message[2] and making_room:
            expected.remove(message)
            count("made room")
            if box == INBOX:
                deleted.append(message[0])
    return found == expected


def check():
    for box in (INBOX, OUTBOX):
        expected = model[box]
        if matches(box, expected):
            continue
        # Otherwise the power failed in this very step, and it has been taken after all.
        step, changed_box, n, blocks = pending
        assert changed_box == box, (pending, contents(store, box), expected)
        apply(step, box, n, blocks)
        assert matches(box, model[box]), (pending, contents(store, box), model[box])


def apply(step, box, n, blocks):
    messages = model[box]
    if step == "add":
        messages.append([n, blocks, 0])
        unfinished.pop(n, None)
    elif step == "done":
        [m for m in messages if m[0] == n][0][2] = 1
    elif step == "delete":
        messages[:] = [m for m in messages if m[0] != n]
        if box == INBOX:
            deleted.append(n)


def do(step, box, n, blocks, act):
    global pending
    pending = step, box, n, blocks
    act()
    apply(step, box, n, blocks)
    pending = None


def one_step():
    global next_n, making_room
    what = random.choice(
        ("receive", "receive", "part", "part", "again", "record", "record", "discard",
         "done", "done", "done", "delete", "lost link")
    )
    making_room = what in ("receive", "part", "record", "discard")
    box = random.choice((INBOX, OUTBOX))
    blocks = random.randint(1, 24)
    if what in ("receive", "part"):
        n = next_n
        next_n += 1
        if unfinished and random.random() < 0.5:
            n = random.choice(list(unfinished))
            blocks = unfinished[n]
        message = Message(n, blocks)
        store.suspend()
        offset = message.offer_to(store)
        assert 0 <= offset < message.size and not (offset and n not in unfinished)
        unfinished[n] = blocks
        if what == "part":
            message.feed(store, offset, random.randint(offset, message.size))
        else:
            message.feed(store, offset, message.size)
            do("add", INBOX, n, blocks, lambda: asyncio.run(store.commit(message.id)))
    elif what == "again" and (deleted or model[INBOX]):
        n = random.choice([m[0] for m in model[INBOX]] + deleted[-20:])
        assert store.offer(make_id(n), 560, bytes(32)) == 560, n
        asyncio.run(store.commit(make_id(n)))
    elif what in ("record", "discard"):
        n = next_n
        next_n += 1
        recording = store.record(
            container.pack_header(make_id(n), container.TOY, 0, 1), 48 + 256 * blocks
        )
        buf = bytearray(256)
        for i in range(blocks):
            fill(buf, n * 31 + i & 255)
            recording.write(buf, 256)
        if what == "record":
            do("add", OUTBOX, n, blocks, recording.keep)
        else:
            recording.discard()
    elif what == "done" and model[box]:
        n = random.choice(model[box])[0]
        do("done", box, n, 0, lambda: store.mark_done(box, make_id(n)))
    elif what == "delete" and model[box]:
        n = random.choice(model[box])[0]
        do("delete", box, n, 0, lambda: store.delete(box, make_id(n)))
    elif what == "lost link":
        store.suspend()
    count(what)


for step in range(steps):
    if random.random() < 0.15:  # the power will fail soon
        flash.torn = random.randint(0, 4)
        flash.cut_at = flash.operations + random.randint(0, 30)
    try:
        one_step()
    except StoreFull:
        count("full")
    except StoreError:
        assert flash.dead, "failed with the power on"
    if flash.dead or random.random() < 0.05:
        store = None
        count("power failed" if flash.dead else "restart")
        flash = restart(flash)
        store = boot()
    check()
    pending = None
assert not RamFlash.overwritten
assert not log, log
result(counts)
"""


@pytest.mark.parametrize("seed", range(6))
def test_a_random_life(target: Target, seed: int) -> None:
    steps = 250 if target.name == "unix" else 50
    counts = target.run(SOURCE + SEQUENCE, args={"seed": seed, "steps": steps}, timeout=240)
    print(counts)
    assert isinstance(counts, dict)
    assert counts["power failed"] >= steps // 40
