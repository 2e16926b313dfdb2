"""What comes out of the virtual toy's speaker when it speaks: the prompts as they were made."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from host_tests import messages
from host_tests.virtual import VirtualToy
from host_tests.virtual.i2s import Sound
from host_tests.virtual.library import compiled_library
from hushbear_companion import adpcm
from hushbear_companion.records import Box
from tools import flash, voice
from tools.ears import Ears

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

Make = Callable[..., VirtualToy]

# What tools/flash.py does over USB
COPY = """
block = bytearray(4096)
with open("/lib/{source}", "rb") as source, open("/{target}", "wb") as target:
    while n := source.readinto(block):
        target.write(memoryview(block)[:n])
"""
MAIN = """
import asyncio
import gc
import board
from hushbear.audio import Buffers
buffers = Buffers()
from hushbear.audio.speaker import Speaker
from hushbear.audio.voice import Voice

speaker = Speaker(board, buffers)
voice = Voice({path!r})

async def speak():
    for name in {names!r}:
        print(name, await voice.say(name, speaker, {volume}, lambda: False))
        print("blocks lost:", speaker.broken + speaker.starved)
        await asyncio.sleep_ms(300)

asyncio.run(speak())
"""
CODE = ("pairing", *"402719")


def spoken(language: str) -> tuple[Path, dict[str, bytes]]:
    path = voice.kept(language, flash.cache() / "voices")
    return path, voice.read(path)[1]


async def speak(
    make: Make, directory: Path, files: dict[str, Path], *names: str, volume: int = 100, path: str
) -> VirtualToy:
    """Return a toy, still on, that has these files on its flash and has said these prompts."""
    library = directory / "lib"
    shutil.copytree(compiled_library(), library)
    main = MAIN.format(names=names, path=path, volume=volume)
    async with make(autostart=False, lib=library) as toy:
        for target, source in files.items():
            shutil.copy(source, library / source.name)
            await toy.exec_repl(COPY.format(source=source.name, target=target))
    toy = make(lib=library, main=main)
    async with toy:
        assert await toy.wait_stopped() == "ended"
    return toy


def check_exact(sound: Sound, made: messages.Pcm) -> None:
    """Assert that a sound is these samples, bit for bit, and silence around them."""
    at = int(np.flatnonzero(sound.pcm)[0] - np.flatnonzero(made)[0])
    assert np.array_equal(sound.pcm[at : at + len(made)], made)
    assert not sound.pcm[at + len(made) :].any()


def said(toy: VirtualToy) -> list[str]:
    return [line for line in toy.console if line]


@pytest.mark.parametrize("language", ["de", "en", "es", "fr"])
async def test_a_code_is_said_bit_for_bit(
    virtual_toy: Make, tmp_path: Path, language: str
) -> None:
    path, prompts = spoken(language)
    toy = await speak(virtual_toy, tmp_path, {"voice": path}, *CODE, path="/voice")
    assert len(toy.speaker.sounds) == len(CODE)
    assert toy.speaker.underruns == 0
    assert said(toy) == [line for name in CODE for line in (f"{name} True", "blocks lost: 0")]
    for name, sound in zip(CODE, toy.speaker.sounds, strict=True):
        check_exact(sound, adpcm.decode(prompts[name]))
    assert Ears(prompts).code(toy.speaker.sounds) == "402719"  # no two digits sound alike


async def test_at_an_everyday_volume_it_is_softer_and_as_clear(
    virtual_toy: Make, tmp_path: Path
) -> None:
    path, prompts = spoken("en")
    toy = await speak(virtual_toy, tmp_path, {"voice": path}, *CODE, volume=70, path="/voice")
    for name, sound in zip(CODE, toy.speaker.sounds, strict=True):
        made = adpcm.decode(prompts[name])
        assert messages.snr(made, sound.pcm) > 50
        loudest = np.max(np.abs(made.astype(int)))
        assert np.max(np.abs(sound.pcm)) == pytest.approx(0.49 * loudest, abs=2)


@pytest.mark.parametrize(("asked_for", "expected"), [("fr", "fr"), ("es", "de"), ("de", "de")])
async def test_it_speaks_the_language_that_is_asked_for_or_the_first_one(
    virtual_toy: Make, tmp_path: Path, asked_for: str, expected: str
) -> None:
    files = {"voice": spoken("de")[0], "voice-fr": spoken("fr")[0]}
    toy = await speak(virtual_toy, tmp_path, files, "8", path=f"/voice-{asked_for}")
    check_exact(toy.speaker.sounds[0], adpcm.decode(spoken(expected)[1]["8"]))


async def test_a_damaged_file_is_silence_and_a_line(virtual_toy: Make, tmp_path: Path) -> None:
    path, prompts = spoken("en")
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # in the last prompt
    damaged = tmp_path / "damaged"
    damaged.write_bytes(content)
    toy = await speak(virtual_toy, tmp_path, {"voice": damaged}, "no-family", "3", path="/voice")
    assert said(toy) == [
        "voice: /voice, no-family: damaged",
        *("no-family False", "blocks lost: 0"),
        *("3 True", "blocks lost: 0"),
    ]
    (sound,) = toy.speaker.sounds
    check_exact(sound, adpcm.decode(prompts["3"]))


async def with_voice(toy: VirtualToy, library: Path) -> None:
    """Put the English voice onto the flash of a toy that loads its library from there."""
    path, _ = spoken("en")
    shutil.copy(path, library / path.name)
    await toy.exec_repl(COPY.format(source=path.name, target="voice"))


def is_said(sound: Sound, prompt: str) -> bool:
    made = adpcm.decode(spoken("en")[1][prompt])
    return len(sound.pcm) > len(made) and messages.snr(made, sound.pcm) > 30


async def test_a_message_that_was_changed_is_said_to_be_broken_and_kept(
    virtual_toy: Make, tmp_path: Path
) -> None:
    library = tmp_path / "lib"
    shutil.copytree(compiled_library(), library)
    content = messages.make(messages.speech(3), b"B" * 16)
    changed = content[:-300] + bytes([content[-300] ^ 1]) + content[-299:]
    async with virtual_toy(lib=library) as toy:
        await with_voice(toy, library)
        await messages.give(toy, changed)
        await toy.restart()
        await asyncio.sleep(1)
        since = toy.loop.time()
        await toy.hold("play", 0.1)
        await asyncio.sleep(6)
        message, prompt = (sound for sound in toy.speaker.sounds if sound.start >= since)
        assert messages.snr(message.pcm[2048:], messages.decode(content)) > 20
        assert is_said(prompt, "broken")
        assert await messages.stored(toy, Box.INBOX) == [changed]


async def test_a_toy_that_no_phone_knows_says_so_and_does_not_listen(
    virtual_toy: Make, tmp_path: Path
) -> None:
    library = tmp_path / "lib"
    shutil.copytree(compiled_library(), library)
    async with virtual_toy(lib=library, founded=False) as toy:
        await with_voice(toy, library)
        await toy.restart()
        await asyncio.sleep(1)
        await toy.hold("record", 2)
        await asyncio.sleep(5)
        (prompt,) = toy.speaker.sounds
        assert is_said(prompt, "no-family")
        assert not toy.mic.opened
