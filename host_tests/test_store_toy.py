"""The store on a whole virtual toy: 2 MB of flash in 4 kB blocks, messages of a minute."""

from __future__ import annotations

import ast
from collections.abc import Callable

import pytest

from host_tests.virtual.storage import FlashModel
from host_tests.virtual.toy import VirtualToy
from hushbear import container

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

Make = Callable[..., VirtualToy]

# A message of a minute comes in while another of a minute is recorded, in small pieces.
MINUTE = """
import asyncio, gc, os
from hashlib import sha256
from hushbear import container
from hushbear.store import Store
from hushbear.wire import INBOX, OUTBOX

store = Store()
store.boot()
print("boxes", [[(e.id[0], e.size) for e in store.entries(box)] for box in (INBOX, OUTBOX)])
size = container.SIZE_MAX
head = container.pack_header(b"I" + bytes(15), container.TOY, 1, 1)
block = bytearray(256)
digest = sha256(head)
for i in range((size - 48) // 256):
    block[0] = i & 255
    digest.update(block)
digest = digest.digest()


async def main():
    offset = store.offer(b"I" + bytes(15), size, digest)
    print("offset", offset)
    recording = store.record(container.pack_header(b"O" + bytes(15), container.TOY, 1, 1))
    if offset == 0:
        store.append(0, head, 0, 48)
        offset = 48
    while offset < size:
        block[0] = (offset - 48) // 256 & 255
        at = (offset - 48) % 256
        n = min(256 - at, 200)
        store.append(offset, block, at, n)
        offset += n
        if at == 0 and recording.size < recording.limit:
            recording.write(block, 256)
    await store.commit(b"I" + bytes(15))
    kept = recording.keep().size if recording.size > 48 else 0
    print("kept", kept, "free", store.free(), "of", store.total())


asyncio.run(main())
"""


def boxes(toy: VirtualToy) -> list[list[tuple[int, int]]]:
    line = [line for line in toy.console if line.startswith("boxes")][-1]
    return list(ast.literal_eval(line.removeprefix("boxes ")))


async def test_two_minutes_at_once_fit_and_survive_power_cuts(virtual_toy: Make) -> None:
    whole = int(container.SIZE_MAX)
    async with virtual_toy("whole", main=MINUTE) as toy:
        assert await toy.wait_stopped() == "ended"
        counts = await toy.flash.counts()
        assert counts.violations == 0
        total = counts.programs + counts.erases
        last = toy.console[-1].split()
        assert int(last[1]) == whole
        assert int(last[5]) - int(last[3]) <= 2 * whole + 4 * 4096
        await toy.restart()
        await toy.wait_console(r"boxes \[\[\(73,")
        assert boxes(toy) == [[(ord("I"), whole)], [(ord("O"), whole)]]

    for share in (0.1, 0.5, 0.9, 0.999):
        flash = FlashModel(cut_after=int(total * share))
        async with virtual_toy(f"cut {share}", main=MINUTE, flash=flash) as toy:
            await toy.off.wait()
            await toy.restart()
            assert await toy.wait_stopped() == "ended"
            assert boxes(toy)[1] == []  # the recording that was cut short never was
            offset = int(
                [line for line in toy.console if line.startswith("offset")][-1].split()[1]
            )
            # Never more than the last 16 kB have to be sent again.
            assert offset >= whole * (share - 0.05) - 16 * 1024 - 4096
            await toy.restart()
            await toy.wait_console(r"boxes \[\[\(73,")
            inbox, outbox = boxes(toy)
            assert inbox == [(ord("I"), whole)]
            assert len(outbox) == 1


FILL = """
import gc
from hushbear import container
from hushbear.store import Store
from hushbear.wire import INBOX, OUTBOX

store = Store()
store.boot()
for i in range(200):
    with open("/msg/out/holiday %d.txt" % i, "w") as file:
        file.write("not ours")
for i in range(64):
    recording = store.record(container.pack_header(bytes([i]) * 16, container.TOY, i, 1), 1072)
    recording.write(bytes(256), 256)
    recording.keep()
    if i % 3 == 0:
        store.mark_done(OUTBOX, bytes([i]) * 16)
"""
BOOT = """
import gc, time
from hushbear.store import Store
from hushbear.wire import OUTBOX

gc.collect()
before = gc.mem_alloc()
store = Store()
store.boot()
gc.collect()
print("heap", gc.mem_alloc() - before)
entries = list(store.entries(OUTBOX))
assert [e.id[0] for e in entries] == list(range(64))
assert [e.done for e in entries] == [i % 3 == 0 for i in range(64)]
assert [e.sequence for e in entries] == list(range(1, 65))
"""


async def test_a_full_box_among_hundreds_of_other_files(virtual_toy: Make) -> None:
    async with virtual_toy(main=FILL) as toy:
        assert await toy.wait_stopped() == "ended"
    async with virtual_toy(main=BOOT) as toy:
        assert await toy.wait_stopped() == "ended"
        counts = await toy.flash.counts()
        print(counts, toy.console[-1])
        assert counts.programs == counts.erases == 0  # a start writes nothing
        assert int(toy.console[-1].split()[1]) < 10000
