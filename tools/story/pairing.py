"""A parent's phone and the toy become acquainted, by a code that the toy speaks."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from host_tests.virtual.body import Body
from host_tests.virtual.esp32_toy import Esp32Toy
from host_tests.virtual.i2s import Sound
from host_tests.virtual.radio import VirtualRadio
from host_tests.virtual.toy import VirtualToy
from tools.ears import Ears

from .phone import Phone
from .telling import chapter, tell, until

TOY = "Bruno"
COPY = """
block = bytearray(4096)
with open({path!r}, "rb") as source, open("/voice", "wb") as target:
    while n := source.readinto(block):
        target.write(memoryview(block)[:n])
"""


@contextlib.asynccontextmanager
async def talking_toy(
    target: str, directory: Path, radio: VirtualRadio, said: Path
) -> AsyncIterator[Body]:
    """Give a toy, without power yet, that has the voice in the file `said`, as tools/flash.sh
    brings it over USB."""
    if target == "unix":
        async with VirtualToy(directory, air=radio, autostart=False) as toy:
            toy.lend(said)
            await toy.exec_repl(COPY.format(path=f"/lent/{said.name}"))
            yield toy
    else:
        voices = {"voice": said.read_bytes()}
        async with Esp32Toy(directory, air=radio, autostart=False, files=voices) as chip:
            yield chip


async def pair(toy: Body, radio: VirtualRadio, phone: Phone, ears: Ears) -> None:
    chapter(f"{phone.owner} holds both paws for five seconds: the toy opens its pairing window.")
    await toy.restart()
    await until(lambda: radio.ble(toy).advertising, "the toy does not advertise")
    starts = len(toy.causes)
    toy.press("record")
    toy.press("play")
    await until(lambda: len(toy.causes) > starts, "the toy does not understand the gesture")
    toy.release("play")
    toy.release("record")
    await until(lambda: ears.code(ended(toy)) is not None, "the toy says no code")
    code = ears.code(ended(toy))
    assert code is not None
    tell(f"The toy says: “pairing, {', '.join(code)}”.")
    await phone.run("pair", "--code", code, "--name", TOY, "--as", phone.owner)
    await until(lambda: "paired" in ears.words(ended(toy)), "the toy does not say “paired”")
    tell("The toy says: “paired”, and nobody can pair any more.")
    await until(lambda: len(toy.causes) > starts + 1, "the toy does not restart")
    await until(lambda: radio.ble(toy).advertising, "the toy does not advertise")


def ended(toy: Body) -> list[Sound]:
    """Return the sounds that came out of the speaker and are over."""
    now = toy.clock.time() - 0.2
    return [sound for sound in toy.speaker.sounds if sound.start + sound.seconds < now]
