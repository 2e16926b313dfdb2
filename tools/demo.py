"""The story: a phone is paired by voice, two spoken messages go, and a stranger gets nowhere.

The toy is the unmodified firmware with a virtual body, the phone is the real `hushbear` command on
a virtual radio. The toy is a process here, in real time, or an emulated ESP32 with its official
image, as fast as this computer can. Leaves WAVs and a picture in demo-out/.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import tempfile
import wave
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import soundfile
import soxr
from rich.console import Console

from host_tests.targets import Target
from host_tests.targets.qemu_esp32 import QemuEsp32
from host_tests.targets.unix import Unix
from host_tests.virtual.air import AirModel
from host_tests.virtual.body import Body, ToyError
from host_tests.virtual.esp32_toy import Esp32Toy
from host_tests.virtual.i2s import Sound
from host_tests.virtual.radio import VirtualRadio
from host_tests.virtual.toy import VirtualToy
from tools import voice
from tools.ears import Ears
from tools.flash import cache
from tools.picture import Comparison, Samples, compare, draw
from tools.stranger import Stranger

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "demo-out"
RATE = 16000
GOODNIGHT = "Good night, my little bear. Grandma has found your red mitten."
ANSWER = "Good night, grandma! I lost the other one today."
TARGETS: dict[str, type[Target]] = {"unix": Unix, "qemu-esp32": QemuEsp32}
COPY = """
block = bytearray(4096)
with open({path!r}, "rb") as source, open("/voice", "wb") as target:
    while n := source.readinto(block):
        target.write(memoryview(block)[:n])
"""
PATIENCE = 120.0  # s for what takes an emulated chip on a busy computer long

console = Console(highlight=False)


class DemoFailed(Exception):
    """A step of the story did not come out as it should."""


def say(text: str) -> None:
    console.print(f"[bold]{text}[/bold]")


def speak(text: str, voice: str, path: Path) -> None:
    """Let espeak-ng say `text` into a WAV."""
    subprocess.run(["espeak-ng", "-v", voice, "-s", "150", "-w", path, text], check=True)


def load(path: Path) -> Samples:
    """Return a sound file as mono at the toy's rate, full scale 1."""
    samples, rate = soundfile.read(path)
    return np.asarray(soxr.resample(samples, rate, RATE), np.float64)


def save(path: Path, pcm: np.ndarray) -> None:
    """Write int16 samples at the toy's rate as a WAV."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(pcm.astype("<i2").tobytes())


class Phone:
    """The parent's phone: the `hushbear` command in processes of its own."""

    def __init__(self, config: Path, port: int) -> None:
        self._environment = os.environ | {
            "HUSHBEAR_CONFIG": str(config),
            "HUSHBEAR_RADIO": f"tcp-client:127.0.0.1:{port}",
            "COLUMNS": "100",
        }

    async def run(self, *arguments: str | Path) -> None:
        """Run one command as the parent would, and show it."""
        shown = [str(a).removeprefix(f"{ROOT}/") for a in arguments]
        console.print("  [green]$[/green] hushbear " + " ".join(shown), soft_wrap=True)
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "hushbear_companion", *map(str, arguments),
            env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        for line in output.decode().splitlines():
            console.print(f"    [dim]{line}[/dim]", soft_wrap=True, markup=True)
        if process.returncode:
            raise DemoFailed(f"hushbear {shown[0]} ended with exit code {process.returncode}")


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
    say("A parent holds both paws for five seconds: the toy opens its pairing window.")
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
    console.print(f"  The toy says: “pairing, {', '.join(code)}”.")
    await phone.run("pair", "--code", code, "--name", "bear", "--as", "Mama")
    await until(lambda: "paired" in ears.words(ended(toy)), "the toy does not say “paired”")
    console.print("  The toy says: “paired”, and nobody can pair any more.")
    await until(lambda: len(toy.causes) > starts + 1, "the toy does not restart")
    await until(lambda: radio.ble(toy).advertising, "the toy does not advertise")


def ended(toy: Body) -> list[Sound]:
    """Return the sounds that came out of the speaker and are over."""
    now = toy.clock.time() - 0.2
    return [sound for sound in toy.speaker.sounds if sound.start + sound.seconds < now]


async def until(condition: Callable[[], bool], otherwise: str) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise DemoFailed(otherwise) from None


async def message_to_child(toy: Body, phone: Phone) -> Comparison:
    say("\nThe phone sends a spoken message.")
    spoken = OUT / "goodnight.wav"
    speak(GOODNIGHT, "en", spoken)
    await phone.run("send", spoken)
    try:
        for _ in range(2):
            await toy.led.wait_for(lambda light: light.level > 0.2, PATIENCE)
            await toy.led.wait_for(lambda light: light.level < 0.05, PATIENCE)
    except TimeoutError:
        raise DemoFailed("the toy's LED does not pulse") from None
    console.print("  The toy's LED pulses.")

    say("\nThe child presses the play paw.")
    pressed = toy.clock.time()
    await toy.hold("play", 0.1)
    sent = load(spoken)
    await toy.sleep(len(sent) / RATE + 1.5)
    sound = next(s for s in toy.speaker.sounds if s.start >= pressed)
    console.print(
        f"  The speaker plays {sound.seconds:.1f} s, the first sample"
        f" {1000 * (sound.start - pressed):.0f} ms after the press."
    )
    save(OUT / "speaker.wav", sound.pcm)
    return compare("Phone to child", sent, sound.pcm / 32768, RATE)


async def answer(toy: Body, phone: Phone) -> Comparison:
    say("\nThe child holds the record paw and answers.")
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "answer.wav"
        speak(ANSWER, "en-us+f4", path)
        sent = load(path)
    toy.press("record")
    await toy.sleep(1.0)  # the beep that says "speak now"
    lit = toy.led.on and toy.mic.running
    await toy.sleep(toy.mic.speak(sent * 32767) + 0.3)
    toy.release("record")
    await toy.sleep(1.0)
    if not lit or toy.mic.running:
        raise DemoFailed("the microphone did not listen just while the paw was held")
    console.print("  The LED was on for as long as the microphone was.")
    await phone.run("list")
    await phone.run("fetch", OUT / "answers")
    fetched = max((OUT / "answers").glob("*.wav"), key=lambda p: p.stat().st_mtime)
    fetched = fetched.replace(OUT / "answer.wav")
    (OUT / "answers").rmdir()
    return compare("Child to phone", sent, load(fetched), RATE)


async def stranger(toy: Body, radio: VirtualRadio) -> None:
    say("\nA stranger's phone tries what was done to the toy of 2017.")
    recordings = len(toy.mic.opened)
    async for outcome in Stranger(radio.phone(), PATIENCE).attempts():
        refused = outcome.refused and len(toy.mic.opened) == recordings
        verdict = "[green]refused[/green]" if refused else "[red]NOT REFUSED[/red]"
        console.print(f"  {outcome.attempt:<42} {verdict}: {len(outcome.learned)} bytes learned")
        if not refused:
            raise DemoFailed(f"the stranger could {outcome.attempt}")


async def story(target: str) -> None:
    OUT.mkdir(exist_ok=True)
    said = voice.kept("en", cache() / "voices")
    with tempfile.TemporaryDirectory() as directory:
        async with (
            VirtualRadio(AirModel(interval=0.015, packets=6, loss=0.01)) as radio,
            talking_toy(target, Path(directory) / "toy", radio, said) as toy,
        ):
            phone = Phone(Path(directory) / "phone", await radio.serve_hci())
            await pair(toy, radio, phone, Ears(voice.read(said)[1]))
            comparisons = [await message_to_child(toy, phone), await answer(toy, phone)]
            await stranger(toy, radio)
            say("\nThe parent's phone still gets through.")
            await phone.run("status")
            if gaps := toy.speaker.underruns + toy.mic.overruns + toy.mic.skips:
                console.print(
                    f"[yellow]This computer was too busy to keep time with the sound: {gaps} gaps."
                    " Close what else is running and start the demo again.[/yellow]"
                )
    draw(comparisons, OUT / "story.png")
    say("\nWhat went in, what came out:")
    for comparison, name in zip(comparisons, ("speaker.wav", "answer.wav"), strict=True):
        console.print(f"  {OUT / name}   {comparison.title}, SNR {comparison.snr:.1f} dB")
    console.print(f"  {OUT / 'story.png'}")


def main() -> int:
    parser = argparse.ArgumentParser("tools/demo", description="Play the story.")
    parser.add_argument(
        "--target", choices=TARGETS, default="unix",
        help="what the toy runs on: a MicroPython process (unix), or the official ESP32 image of"
        " MicroPython under Espressif's QEMU, which takes a few minutes",
    )  # fmt: skip
    target = parser.parse_args().target
    if reason := TARGETS[target].missing():
        parser.exit(2, f"tools/demo: --target {target}: {reason}\n")
    logging.getLogger("bumble").setLevel(logging.ERROR)  # it warns of packets cut off by a drop
    try:
        asyncio.run(story(target))
    except (DemoFailed, ToyError, TimeoutError) as failure:
        console.print(f"[red]The demo failed:[/red] {failure}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
