"""The story: a grandmother far away and a child speak with each other, by a relay, a parent's
phone and a toy; a thief who has the relay and a stranger with a radio get nowhere.

The toy is the unmodified firmware with a virtual body, the phones are the real `hushbear` command,
one of them on a virtual radio, the relay is the real `hushbear-relay`. The toy is a process here,
in real time, or an emulated ESP32 with its official image, as fast as this computer can. Leaves
WAVs and a picture in demo-out/.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
from pathlib import Path

from rich.table import Table

from host_tests.targets import Target
from host_tests.targets.qemu_esp32 import QemuEsp32
from host_tests.targets.unix import Unix
from host_tests.virtual.air import AirModel
from host_tests.virtual.body import Body, ToyError
from host_tests.virtual.radio import VirtualRadio
from tools import voice
from tools.ears import Ears
from tools.flash import cache
from tools.picture import draw
from tools.story import acts, pairing, theft
from tools.story.phone import Phone
from tools.story.relay import line, running_relay
from tools.story.telling import OUT, DemoFailed, chapter, console, tell, warn

TARGETS: dict[str, type[Target]] = {"unix": Unix, "qemu-esp32": QemuEsp32}
HERE, THERE = "127.0.83.17", "127.0.83.18"  # where the relay sees the phones


async def story(target: str) -> None:
    OUT.mkdir(exist_ok=True)
    said = voice.kept("en", cache() / "voices")
    with tempfile.TemporaryDirectory() as place:
        directory = Path(place)
        async with (
            VirtualRadio(AirModel(interval=0.015, packets=6, loss=0.01)) as radio,
            pairing.talking_toy(target, directory / "toy", radio, said) as toy,
            running_relay(directory / "relay") as port,
            line(HERE, port) as here,
            line(THERE, port) as there,
        ):
            near = f"tcp-client:127.0.0.1:{await radio.serve_hci()}"
            parent = Phone("Johanna", directory / "johanna", near)
            grandma = Phone("Grandma", directory / "grandma")
            thief, valuables = theft.Thief(directory / "relay"), theft.Valuables()
            valuables.add_names(parent.owner, grandma.owner, pairing.TOY)
            valuables.add_addresses(HERE, THERE)

            await pairing.pair(toy, radio, parent, Ears(voice.read(said)[1]))
            await acts.invite(parent, grandma, (here, there), thief, valuables)
            await acts.send(grandma, thief, valuables)
            await acts.approve(parent, thief, valuables)
            to_child = await acts.hear(toy, valuables)
            await acts.answer(toy, parent, thief, valuables)
            to_grandma = await acts.hear_answer(parent, grandma, valuables)

            chapter("The thief has copied all that the relay had. What is in it?")
            thief.steal("at the end")
            for phone in (parent, grandma):
                valuables.add_phone(phone)
            tried = theft.tell_of(thief, valuables, [parent, grandma])
            attempts, learned = await acts.stranger(toy, radio)

            chapter(f"{parent.owner}'s phone still gets through.")
            await parent.run("status")
            check_gaps(toy)
    draw([to_child, to_grandma], OUT / "story.png")
    sum_up(
        ("Grandma to child", "grandma.wav", "child-hears.wav", f"SNR {to_child.snr:.1f} dB"),
        ("Child to Grandma", "child.wav", "grandma-hears.wav", f"SNR {to_grandma.snr:.1f} dB"),
        (
            "Thief at the relay",
            f"{len(thief.loot)} copies of all",
            f"{tried.envelopes} sealed",
            f"{len(tried.opened)} opened",
        ),
        ("Stranger with a radio", f"{attempts} attempts", f"{learned} bytes", "all refused"),
    )


def check_gaps(toy: Body) -> None:
    if gaps := toy.speaker.underruns + toy.mic.overruns + toy.mic.skips:
        warn(
            f"This computer was too busy to keep time with the sound ({gaps} times)."
            " Close what else is running and start the demo again."
        )


def sum_up(*rows: tuple[str, str, str, str]) -> None:
    chapter("In short:")
    table = Table("", "went in", "came out", "", box=None, header_style="bold")
    for row in rows:
        table.add_row(*row)
    console.print(table)
    tell(f"The WAVs, and a picture of them (story.png), are in {OUT}.")


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
        console.print("[red]The demo failed:[/red]", end=" ")
        console.print(str(failure), markup=False)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
