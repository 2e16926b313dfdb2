"""Factory reset by hand: nothing of the family is left in any byte of the flash."""

from __future__ import annotations

import ast
import asyncio
import base64
import contextlib
import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from host_tests import hand
from host_tests.family import GOOD_AIR, MakeToy, client, spoken
from host_tests.hand import words
from host_tests.messages import speech
from host_tests.virtual import FlashModel, VirtualToy
from host_tests.virtual.radio import VirtualRadio
from hushbear_companion.records import Box

pytestmark = [
    pytest.mark.targets("unix"),
    pytest.mark.virtual_time,
    pytest.mark.timeout(3600),  # for --long
]

BLOCKS = 72  # of flash: enough for the messages here
WINDOW = 24  # bytes of a secret that are looked for at each place in it
OLD = b"a name that was given up"
NAME = "Großmutters Telefon".encode()
SPOKEN = b"Teddy Brumm"  # what a family writes into some file

FAMILY = f"""
from hushbear.family import Family
from hushbear.keys import Keys
family = Family(Keys())
family.found()
for n in range(3):
    family.add(bytes(range(64 + n, 96 + n)), b"sender%02d" % n, {OLD!r}, 1000)
family.rename(1, {NAME!r})
family.remove(0)
with open("/some.bin", "wb") as file:
    file.write({SPOKEN!r})
keys = Keys()
for n in "01":
    blob = bytearray(648)
    try:
        keys.nvs.get_blob("set" + n, blob)
    except OSError:
        continue
    print("blob", bytes(blob).hex())
for slot, psk in keys.psks():
    print("psk", psk.hex())
for epoch, key in family.epochs():
    print("key", key.hex())
"""

NAMES = """
import os
found = []
def look(path):
    for entry in os.ilistdir(path):
        if len(entry) < 4:  # the host's directories, mounted
            continue
        found.append(path + entry[0])
        if entry[1] == 0x4000:
            look(path + entry[0] + "/")
look("/")
print("found", found)
"""


FAILS = """
exec(open("/firmware/boot.py").read())
import board
if board.mode:
    from hushbear.hand import erase
    def fails(feed):
        raise OSError(5)
    erase.erase = fails
exec(open("/firmware/main.py").read())
"""


@dataclass
class Home:
    toy: VirtualToy
    secrets: dict[str, list[bytes]] = field(default_factory=dict)  # what nobody may find, by kind
    images: tuple[bytes, bytes] = (b"", b"")

    def found(self) -> list[str]:
        """Search every byte of the flash; return of what kind it still has something."""
        images = self.toy.nvs.image(), self.toy.flash_image()
        return [
            kind for kind, secrets in self.secrets.items()
            if any(any_of(secret, image) for secret in secrets for image in images)
        ]  # fmt: skip

    def back(self) -> None:
        """Have everything on the flash as it was before."""
        self.toy.power_cut()
        self.toy.nvs.path.write_bytes(self.images[0])
        self.toy.nvs.power_off()
        self.toy.flash.path.write_bytes(self.images[1])


def any_of(secret: bytes, image: bytes) -> bool:
    """Whether any stretch of a secret is in the image."""
    if len(secret) <= WINDOW:
        return secret in image
    stretches = [secret[at : at + WINDOW] for at in range(0, len(secret) - WINDOW + 1, 8)]
    # Silence is coded as the same few bytes in every sound; in hexadecimal there are 16 of them.
    return any(each in image for each in stretches if len(set(each)) > WINDOW // 4)


@contextlib.asynccontextmanager
async def lived_in(
    virtual_toy: MakeToy, board: str = "esp32_devkitc", main: str | None = None
) -> AsyncIterator[Home]:
    """A toy in which a family has lived for a while."""
    radio = VirtualRadio(GOOD_AIR)
    flash = FlashModel(blocks=BLOCKS)
    async with radio, virtual_toy(air=radio, board=board, flash=flash, main=main) as toy:
        home = Home(toy)
        await hand.give_voice(toy)
        for line in (await toy.exec_repl(FAMILY)).splitlines():
            kind, value = line.split()
            if kind != "blob":
                home.secrets.setdefault(kind, []).append(bytes.fromhex(value))
        home.secrets["psk"].append(bytes(range(64, 96)))  # the removed phone's
        home.secrets["name"] = [OLD, NAME, SPOKEN]
        home.secrets["sender"] = [b"sender00", b"sender01", b"sender02"]
        await asyncio.sleep(1)
        link = base64.urlsafe_b64encode(home.secrets["psk"][0]).decode().rstrip("=")
        contents = [spoken(1.5, 1), spoken(0.8, 2)]
        toy.mic.speak(speech(8))
        async with client(radio.phone(), f"hushbear://toy/{link}?v=1") as phone:
            for content in contents:
                await phone.send(content)
            settings = await phone.settings()
            await phone.configure(settings.changed(volume=61))
            await toy.hold("record", 2)
            await asyncio.sleep(1)
            (entry,) = await phone.entries(Box.OUTBOX)
            contents.append(await phone.fetch(entry, toy.directory / "part"))
            await phone.delete(Box.INBOX, contents[1][16:32])
        home.secrets["message"] = [content[256:] for content in contents]
        home.secrets["id"] = [content[16:32].hex().encode() for content in contents]
        assert home.found() == list(home.secrets), "the search finds what is there"
        home.images = toy.nvs.image(), toy.flash_image()
        yield home


async def hold_to_the_end(toy: VirtualToy) -> None:
    """Make the gesture and hold on, until the toy says that it erases."""
    since = toy.loop.time()
    gesture = asyncio.create_task(hand.call(toy, 60))
    await hand.wait_for_words(toy, "let-go", *"54321", "erasing", since=since)
    gesture.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await gesture


def let_go(toy: VirtualToy) -> None:
    for paw in toy.paws:
        toy.release(paw)


async def files(toy: VirtualToy) -> set[str]:
    output = await toy.exec_repl(NAMES)
    return set(ast.literal_eval(output[output.index("found ") + 6 :]))


@pytest.mark.parametrize("board", ["esp32_devkitc", "esp32_c3"])
async def test_nothing_of_the_family_remains(virtual_toy: MakeToy, board: str) -> None:
    async with lived_in(virtual_toy, board) as home:
        toy = home.toy
        since = toy.loop.time()
        starts = len(toy.causes)
        await hold_to_the_end(toy)
        assert toy.loop.time() - since >= 15
        toy.flash.model = dataclasses.replace(FlashModel.slow(), blocks=BLOCKS)
        await toy.flash.apply()
        await hand.wait_for_words(toy, "erasing", "erased", since=since)
        assert home.found() == []
        let_go(toy)
        await toy.wait_restart(starts + 2)
        await asyncio.sleep(2)
        assert toy.stopped is None, "it has to live on, as new"
        assert home.found() == []
        assert await files(toy) <= {"/voice", "/msg", "/msg/in", "/msg/out", "/msg/part"}
        assert toy.nvs.stored() == {}


async def test_letting_go_cancels(virtual_toy: MakeToy) -> None:
    async with lived_in(virtual_toy) as home:
        toy = home.toy
        for seconds in (11, 12.5, 15):
            since = toy.loop.time()
            starts = len(toy.causes)
            await hand.call(toy, seconds)
            await hand.wait_for_words(toy, "cancelled", since=since)
            assert "erasing" not in words(toy) and "pairing" not in words(toy)
            await toy.wait_restart(starts + 2)
            await asyncio.sleep(1)
        assert home.found() == list(home.secrets)


async def test_hands_that_stay_do_not_end_in_safe_mode(virtual_toy: MakeToy) -> None:
    async with lived_in(virtual_toy) as home:
        toy = home.toy
        starts = len(toy.causes)
        await hold_to_the_end(toy)
        await asyncio.sleep(20)
        assert len(toy.causes) == starts + 1
        let_go(toy)
        await toy.wait_restart(starts + 2)
        await asyncio.sleep(1)
        assert toy.stopped is None


async def erase(toy: VirtualToy) -> bool:
    """Let it go on at a start; return whether the power stayed on to the end."""
    since = toy.loop.time()
    await toy.restart()
    for _ in range(600):
        if toy.off.is_set():
            return False
        if "erased" in words(toy, since):
            return True
        await asyncio.sleep(0.1)
    raise AssertionError("it does not end")


async def begun(home: Home) -> None:
    """Have the countdown over, and nothing erased yet."""
    toy = home.toy
    await toy.exec_repl("from hushbear import mode; mode.erase()")
    toy.power_cut()
    home.images = toy.nvs.image(), toy.flash_image()
    assert home.found() == list(home.secrets)


async def test_it_goes_on_after_a_loss_of_power(virtual_toy: MakeToy, long: bool) -> None:
    async with lived_in(virtual_toy) as home:
        await begun(home)
        toy = home.toy
        assert await erase(toy)
        counts = await toy.flash.counts()
        operations = counts.programs + counts.erases
        few = (0, 2, 9, operations // 2, operations - 100, operations - 2)
        for n, cut in enumerate(range(operations) if long else few):
            home.back()
            toy.flash.model = FlashModel(
                blocks=BLOCKS, cut_after=cut, cut_permille=(0, 370, 1000)[n % 3]
            )
            assert not await erase(toy), f"operation {cut} was never reached"
            assert "key" not in home.found() or cut < 3, "keys go first"
            assert await erase(toy), cut
            assert home.found() == [], cut
            await toy.wait_restart(len(toy.causes) + 1)
            await asyncio.sleep(1)
            assert toy.stopped is None


@pytest.mark.parametrize("written", [False, True], ids=["before it", "after it"])
async def test_it_goes_on_after_a_loss_of_power_among_the_keys(
    virtual_toy: MakeToy, written: bool
) -> None:
    async with lived_in(virtual_toy) as home:
        await begun(home)
        toy = home.toy
        for cut in range(6):
            home.back()
            toy.nvs.cut_after, toy.nvs.cut_written = cut, written
            assert not await erase(toy), f"page {cut} was never erased"
            assert await erase(toy)
            assert home.found() == []


async def test_it_is_not_tried_for_ever(virtual_toy: MakeToy) -> None:
    async with lived_in(virtual_toy) as home:
        await begun(home)
        toy = home.toy
        toy.flash.model = FlashModel(blocks=BLOCKS)
        for _ in range(8):
            await toy.restart()
            await asyncio.sleep(0.2)
            toy.power_cut()
        since = toy.loop.time()
        await toy.restart()
        await asyncio.sleep(5)
        assert toy.stopped is None
        assert words(toy, since) == []


async def test_a_failure_gives_up_after_some_starts(virtual_toy: MakeToy) -> None:
    async with lived_in(virtual_toy, main=FAILS) as home:
        await begun(home)
        toy = home.toy
        await toy.restart()
        await asyncio.sleep(60)
        assert toy.stopped is None
        assert words(toy)[-1] != "erased"
        starts = len(toy.causes)
        await asyncio.sleep(60)
        assert len(toy.causes) == starts, "it goes on for ever"
