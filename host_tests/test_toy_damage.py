"""A flash that is full, damaged or not the toy's own, and firmware that is not whole.

The toy says so, keeps what can be kept, and never starts over and over.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from pathlib import Path

import pytest

from host_tests.family import MakeToy, client, family, spoken
from host_tests.messages import decode, snr
from host_tests.virtual.library import compiled_library
from host_tests.virtual.radio import VirtualRadio
from host_tests.virtual.storage import BLOCK
from hushbear_companion.errors import HushbearError, ToyFull
from hushbear_companion.records import Box

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

FILL = """
with open("/junk", "wb") as file:
    piece = bytes(512)
    try:
        while True:
            file.write(piece)
            file.flush()
    except OSError as error:
        print(error.errno)
"""


async def test_a_full_flash_takes_nothing_says_so_and_loses_nothing(virtual_toy: MakeToy) -> None:
    content = spoken(1)
    async with family(virtual_toy) as (toy, radio, link):
        async with client(radio.phone(), link) as phone:
            await phone.send(content)
        assert "28" in await toy.exec_repl(FILL)
        await asyncio.sleep(1)
        async with client(radio.phone(), link) as phone:
            with pytest.raises(ToyFull):
                await phone.send(spoken(1, 2))
            settings = await phone.settings()
            with contextlib.suppress(HushbearError):  # so little may fit into a directory
                await phone.configure(settings.changed(volume=11))
            assert (await phone.settings()).volume in (11, settings.volume)
            since = toy.loop.time()
            await toy.hold("record", 1)
            await asyncio.sleep(2)
            lit = [light for light in toy.led.history if light.time > since + 0.2 and light.level]
            assert len(lit) >= 5  # six quick flashes
            await toy.hold("play", 0.1)  # heard, which takes no room
            await asyncio.sleep(2)
            (entry,) = await phone.entries(Box.INBOX)
            assert (entry.id, entry.done) == (content[16:32], True)
            assert await phone.entries(Box.OUTBOX) == []
        await toy.exec_repl("import os; os.remove('/junk')")
        await asyncio.sleep(1)
        async with client(radio.phone(), link) as phone:
            await phone.send(spoken(1, 2))
            await phone.configure(settings.changed(volume=11))
            await toy.hold("record", 1)
            await asyncio.sleep(1)
            status = await phone.status()
            assert (status.inbox, status.outbox) == (2, 1)
        assert len(toy.causes) == 7  # two for each time that something was done at its REPL


STRANGE = """
import os
names = ["x" * 200, "\\u00fc\\u20ac", "a\\nb", "00000001-" + "00" * 16 + ".old", " "]
names += ["%d.tmp" % n for n in range(1000)]
for n, name in enumerate(names):
    with open("/msg/in/" + name, "w") as file:
        file.write("not a message")
for box in ("in", "out", "part"):
    os.mkdir("/msg/" + box + "/00000009-" + "07" * 16 + ".new")
for name in ("/settings.bin.tmp", "/clock.bin.tmp", "/msg/gone.tmp"):
    os.mkdir(name)
    os.mkdir(name + "/inside")
with open("/junk", "wb") as file:
    for _ in range(600):
        file.write(bytes(1024))
"""


async def test_a_thousand_files_that_do_not_belong_there_do_no_harm(virtual_toy: MakeToy) -> None:
    content = spoken(1)
    async with family(virtual_toy) as (toy, radio, link):
        async with client(radio.phone(), link) as phone:
            await phone.send(content)
            await phone.configure((await phone.settings()).changed(volume=44))
        free, _ = await toy.memory()
        await toy.exec_repl(STRANGE, timeout=300)
        await asyncio.sleep(2)
        assert (await toy.memory())[0] > free - 1500
        async with client(radio.phone(), link) as phone:
            assert (await phone.settings()).volume == 44
            await phone.send(spoken(1, 2))
            await toy.hold("play", 0.1)
            await asyncio.sleep(2)
            await toy.hold("record", 1)
            await asyncio.sleep(1)
            assert [entry.done for entry in await phone.entries(Box.INBOX)] == [True, False]
            assert len(await phone.entries(Box.OUTBOX)) == 1
        assert len(toy.causes) == 5


async def test_a_file_system_that_does_not_mount_is_left_as_it_is(virtual_toy: MakeToy) -> None:
    async with family(virtual_toy) as (toy, radio, link):
        async with client(radio.phone(), link) as phone:
            await phone.send(spoken(1))
        toy.power_cut()
        image = bytearray(toy.flash.image())
        image[: 2 * BLOCK] = bytes(2 * BLOCK)  # both copies of the superblock
        toy.flash.path.write_bytes(image)
        await toy.restart()
        await asyncio.sleep(30)
        assert sum("filesystem appears to be corrupted" in line for line in toy.console) >= 9
        assert len(toy.causes) == 4  # it does not start over
        assert toy.flash.image() == image  # somebody may want to save what is there


async def test_an_erased_file_system_is_made_anew_and_the_phones_are_still_known(
    virtual_toy: MakeToy,
) -> None:
    async with family(virtual_toy) as (toy, radio, link):
        async with client(radio.phone(), link) as phone:
            await phone.send(spoken(1))
        toy.power_cut()
        image = bytearray(toy.flash.image())
        image[: 2 * BLOCK] = b"\xff" * (2 * BLOCK)
        toy.flash.path.write_bytes(image)
        await toy.restart()
        await asyncio.sleep(1)
        async with client(radio.phone(), link) as phone:
            assert await phone.entries(Box.INBOX) == []
            await phone.send(spoken(1))
            assert (await phone.status()).inbox == 1
            assert await phone.crashlog() == ""


@pytest.mark.parametrize(
    ("missing", "said", "blinks"),
    [
        ("app.mpy", "ImportError: no module named 'hushbear.app'", True),
        ("store/room.mpy", "ImportError: no module named 'hushbear.store.room'", True),
        ("pwm_light.mpy", "ImportError: no module named 'hushbear.pwm_light'", False),
        ("", "ImportError: no module named 'hushbear", False),
    ],
)
async def test_a_library_that_is_not_whole_is_said_and_ends_in_the_repl(
    virtual_toy: MakeToy, tmp_path: Path, missing: str, said: str, blinks: bool
) -> None:
    library = tmp_path / "lib"
    shutil.copytree(compiled_library(), library)
    if missing:
        (library / "hushbear" / missing).unlink()
    else:
        shutil.rmtree(library / "hushbear")
    async with virtual_toy(lib=library, air=VirtualRadio()) as toy:
        assert await toy.wait_stopped() == "failed"
        console = "\n".join(toy.console)
        assert said in console
        assert blinks or "run tools/flash.sh PORT --update" in console
        assert (toy.led.now.blink_hz == 2) == blinks
        await asyncio.sleep(60)
        assert len(toy.causes) == 1


async def test_a_module_for_another_micropython_is_said_and_ends_in_the_repl(
    virtual_toy: MakeToy, tmp_path: Path
) -> None:
    library = tmp_path / "lib"
    shutil.copytree(compiled_library(), library)
    module = library / "hushbear/app.mpy"
    module.write_bytes(b"M\x05" + module.read_bytes()[2:])
    async with virtual_toy(lib=library, air=VirtualRadio()) as toy:
        assert await toy.wait_stopped() == "failed"
        assert any("incompatible .mpy file" in line for line in toy.console)
        assert toy.led.now.blink_hz == 2
        await asyncio.sleep(60)
        assert len(toy.causes) == 1


async def test_a_module_cut_short_leaves_safe_mode(virtual_toy: MakeToy, tmp_path: Path) -> None:
    library = tmp_path / "lib"
    shutil.copytree(compiled_library(), library)
    module = library / "hushbear/app.mpy"
    module.write_bytes(module.read_bytes()[: module.stat().st_size // 2])  # its import never ends
    async with virtual_toy(lib=library, air=VirtualRadio(), autostart=False) as toy:
        toy.press("record")
        await toy.restart()
        assert await toy.wait_stopped() == "ended"
        assert any("safe mode" in line for line in toy.console)
        assert toy.led.now.blink_hz == 2


async def test_a_message_changed_on_flash_is_refused_from_the_changed_chunk_on(
    virtual_toy: MakeToy,
) -> None:
    content = spoken(2)
    async with family(virtual_toy) as (toy, radio, link):
        async with client(radio.phone(), link) as phone:
            await phone.send(content)
        toy.power_cut()
        image = toy.flash.image()
        found = image.index(content[48 + 8 * 1040 : 48 + 8 * 1040 + 32])  # 1 s in
        changed = image[: found + 20] + bytes([image[found + 20] ^ 1]) + image[found + 21 :]
        toy.flash.path.write_bytes(changed)
        await toy.restart()
        await asyncio.sleep(1)
        since = toy.loop.time()
        await toy.hold("play", 0.1)
        await asyncio.sleep(4)
        message, tones = (sound.pcm for sound in toy.speaker.sounds if sound.start >= since)
        assert 0.5 * 16000 < len(message) <= 32 * 505 + 2048  # with the silence it begins with
        assert snr(message[2048:], decode(content)) > 20
        assert len(tones) > 0.3 * 16000
        assert sum(light.level > 0 for light in toy.led.history if light.time > since) >= 6
        async with client(radio.phone(), link) as phone:
            assert "Broken" in await phone.crashlog()
            (entry,) = await phone.entries(Box.INBOX)
            assert entry.done
