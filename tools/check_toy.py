"""Go through a toy's parts with the human who has built it. See tools/check-toy.

What runs on the board is in board/check/toy, and uses the library's own drivers. The app is
stopped meanwhile: nothing but this, over USB, starts the microphone then, and the LED is on for as
long as it is.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from hushbear_companion.errors import NoBluetooth
from hushbear_companion.transport import Radio

from .flash_commands import Commands, Problem

SCRIPTS = Path(__file__).resolve().parents[1] / "board/check/toy"
FACTS = "import board; print('board:', board.NAME, board.PLAY_PAW is None)"
ADVERTISED = 25  # seconds for which the toy advertises
SCANNED = 20  # ... of which this computer listens
QUIET = 200  # the loudest sample of a voice is above it, that of a quiet room below

RIGHT, WRONG, UNKNOWN = "right", "WRONG", "not checked"

ADVICE = {
    "light": "LED the wrong way round, or not at its GPIO; a dark NeoPixel: `LED` in board.py",
    "record paw": "one leg of the switch to its GPIO, the other to GND, and not two legs that are"
    " always joined",
    "play paw": "one leg of the switch to its GPIO, the other to GND, and not two legs that are"
    " always joined",
    "speaker": "nothing: SD of the amplifier not at its GPIO, VIN not at 5V, a lead at GND;"
    " clicks: BCLK or LRC swapped; hiss: DIN loose, supply too weak",
    "microphone": "no level: SD not at its GPIO, VDD not at 3V3, L/R not at GND; always loud:"
    " SCK or WS swapped",
    "recording": "if the level moved with your voice, it is the speaker: see there",
    "flash": "run tools/flash.sh again, without --update; if that does not help, the board is bad",
    "radio": "another board to be sure; the aerial's end must be clear of metal and wires",
}


@dataclass(frozen=True)
class Result:
    part: str
    verdict: str
    seen: str = ""


class Human(Protocol):
    """Who has the toy in hand."""

    async def told(self, what: str) -> None: ...

    async def ready(self, what: str) -> None:
        """Return when they are."""

    async def says_yes(self, question: str) -> bool: ...


class Board(Protocol):
    async def run(self, script: str, **values: object) -> str:
        """Run a file of board/check/toy after a soft reset, with `values` as variables; return
        what it printed. Raises Problem."""

    async def one_paw(self) -> bool: ...


class Check:
    def __init__(self, board: Board, human: Human, radio: Radio) -> None:
        self._board = board
        self._human = human
        self._radio = radio
        self.results: list[Result] = []

    async def all(self) -> None:
        one_paw = await self._board.one_paw()
        hold = "Hold the paw" if one_paw else "Press the record paw"
        tap = "Tap the paw" if one_paw else "Press the play paw"
        steps: dict[str, Callable[[], Awaitable[None]]] = {
            "light": self._light,
            "record paw": partial(self._paw, "record", hold),
            "play paw": partial(self._paw, "play", tap),
            "speaker": self._speaker,
            "microphone": self._microphone,
            "flash": self._flash,
            "radio": self._advertising,
        }
        for part, step in steps.items():
            try:
                await step()
            except Problem as problem:
                self._note(part, WRONG, str(problem))

    def _note(self, part: str, verdict: str | bool, seen: str = "") -> None:
        if isinstance(verdict, bool):
            verdict = RIGHT if verdict else WRONG
        self.results.append(Result(part, verdict, seen))

    async def _light(self) -> None:
        await self._human.ready("Look at the light.")
        await self._board.run("light")
        self._note(
            "light",
            await self._human.says_yes(
                "Was it dim, then bright, four times (a NeoPixel: red, green, blue, white)?"
            ),
        )

    async def _paw(self, paw: str, what: str) -> None:
        await self._human.told(f"{what}, and let it go, within 20 seconds.")
        said = (await self._board.run("paw", PAW=paw)).partition("paw: ")[2].strip()
        seen = {
            "pressed": "",
            "down": "it is down, or its wire touches GND",
            "nothing": "no press came",
        }
        self._note(f"{paw} paw", said == "pressed", seen.get(said, said))

    async def _speaker(self) -> None:
        await self._human.ready("Listen.")
        await self._board.run("sound")
        self._note("speaker", await self._human.says_yes("Were there two notes, high then low?"))

    async def _microphone(self) -> None:
        await self._human.ready(
            "The microphone will be on for three seconds, with the light. Speak while it is on."
        )
        said = await self._board.run("voice")
        levels = re.findall(r"^level: +(\d+) (#*)", said, re.MULTILINE)
        await self._human.told("\n".join(f"    {bar}" for _, bar in levels))
        loudest = max((int(level) for level, _ in levels), default=0)
        lit = await self._human.says_yes("Was the light on while it listened, and is it off now?")
        self._note(
            "microphone",
            loudest > QUIET and lit,
            "" if loudest > QUIET else f"nothing came: the loudest sample is {loudest}",
        )
        self._note("recording", await self._human.says_yes("Did the toy play what you said?"))

    async def _flash(self) -> None:
        said = await self._board.run("flash")
        found = re.search(r"flash: (\d+) wrong, (\d+) ms, (\d+) kB free", said)
        self._note("flash", bool(found and found[1] == "0"), found[0][7:] if found else said)

    async def _advertising(self) -> None:
        await self._human.told("The toy advertises, and this computer looks for it.")
        advertising = asyncio.create_task(self._board.run("radio", SECONDS=ADVERTISED))
        try:
            toys = await self._radio.sightings(SCANNED, settle=1)
        except NoBluetooth:
            await advertising
            self._note("radio", UNKNOWN, "this computer has no Bluetooth")
            return
        finally:
            said = await advertising
        self._note(
            "radio",
            bool(toys) and "radio: on" in said,
            f"heard at {toys[0].rssi} dBm" if toys else "nothing was heard",
        )


def table(results: list[Result]) -> str:
    lines = [f"    {r.part:<12}{r.verdict:<13}{r.seen}".rstrip() for r in results]
    wrong = [result.part for result in results if result.verdict == WRONG]
    lines += ["", "    see docs/hardware.md, When there is none:"] if wrong else []
    lines += [f"    {part}: {ADVICE[part]}" for part in wrong]
    return "\n".join(lines)


class Plugged:
    """A board on a port, by mpremote."""

    def __init__(self, port: str) -> None:
        self._commands = Commands(port, "esp32_devkitc", dry_run=False)

    async def run(self, script: str, **values: object) -> str:
        given = "; ".join(f"{name} = {value!r}" for name, value in values.items()) or "pass"
        path = str(SCRIPTS / f"{script}.py")
        return await asyncio.to_thread(
            self._commands.mpremote, "exec", given, "run", path, fresh=True
        )

    async def one_paw(self) -> bool:
        try:
            said = await asyncio.to_thread(self._commands.mpremote, "exec", FACTS, fresh=True)
        except Problem as problem:
            if "failed: " in str(problem):
                raise Problem("the board has no Hushbear on it: run tools/flash.sh") from None
            raise
        return "True" in said

    def restart(self) -> None:
        self._commands.mpremote("reset")


class Terminal:
    async def told(self, what: str) -> None:
        print(what, flush=True)

    async def ready(self, what: str) -> None:
        await asyncio.to_thread(input, f"{what} Press Enter. ")

    async def says_yes(self, question: str) -> bool:
        while True:
            answer = await asyncio.to_thread(input, f"{question} [y/n] ")
            if answer.strip().lower() in ("y", "yes", "n", "no"):
                return answer.strip().lower().startswith("y")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="tools/check-toy",
        description="Go through a toy's parts, with you.",
        allow_abbrev=False,
    )
    parser.add_argument("port", metavar="PORT", help="the board's serial port: /dev/ttyUSB0, COM3")
    options = parser.parse_args(arguments)
    board = Plugged(options.port)
    check = Check(board, Terminal(), Radio())
    print("The toy's app is stopped while this runs, and starts again at the end.")
    try:
        asyncio.run(check.all())
        board.restart()
    except Problem as problem:
        print(f"check-toy: {problem}", file=sys.stderr)
        return 1
    except (EOFError, KeyboardInterrupt):
        print("\ncheck-toy: stopped", file=sys.stderr)
        board.restart()
        return 130
    print()
    print(table(check.results))
    return int(any(result.verdict == WRONG for result in check.results))


if __name__ == "__main__":
    sys.exit(main())
