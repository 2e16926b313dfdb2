"""A locked toy on the official ESP32 image: what its console and its own NVS make of the lock."""

from __future__ import annotations

import pathlib
import time

import pytest

from host_tests.emulated_esp32 import EmulatedEsp32
from host_tests.family import GOOD_AIR, add_phone
from host_tests.targets import ROOT
from host_tests.targets.esp32_emulator import new_flash
from host_tests.test_esp32_story import Family, until
from host_tests.virtual.esp32_toy import Esp32Toy
from host_tests.virtual.radio import VirtualRadio
from hushbear_companion.link import parse_link

pytestmark = [pytest.mark.targets("qemu-esp32"), pytest.mark.timeout(900)]

# Ctrl-C, and Ctrl-A, -B and -D, which the prompt knows
KEYS = b"\r\x03\x03\r\x01\x02\x04\x03"


# In place of boot.py: locks, and leaves the real one in its place
FLAG = """
import esp32, machine, os
nvs = esp32.NVS("hushbear")
nvs.set_i32("locked", 1)
nvs.commit()
os.rename("/next.py", "/boot.py")
print("renamed")
machine.reset()
"""


async def test_the_console_of_a_locked_toy_takes_nothing(tmp_path: pathlib.Path) -> None:
    async with (
        VirtualRadio(GOOD_AIR) as radio,
        Esp32Toy(tmp_path, air=radio, autostart=False) as toy,
    ):
        link = await add_phone(toy)
        key = parse_link(link).key
        await toy.exec_repl("from hushbear import lock; lock.lock()")
        family = Family(toy, radio, link)
        await family.switch_on()
        starts = len(toy.causes)
        for _ in range(10):
            toy.type(KEYS)
            await toy.sleep(0.2)
        await toy.hold("play", 0.1)
        await until(lambda: family.sounding)  # it is well: no message
        assert not toy.prompted
        assert len(toy.causes) == starts
        assert key in (tmp_path / "flash.bin").read_bytes()

        # The paw held at power-up: safe mode, and no key.
        said = await toy.exec_repl(
            "from hushbear.keys import Keys; print(Keys().psks())", timeout=300
        )
        assert said.strip() == "[]"
        assert key not in (tmp_path / "flash.bin").read_bytes()


class Console(EmulatedEsp32):
    """A chip that keeps all that it says."""

    def __init__(self, flash: pathlib.Path) -> None:
        super().__init__(flash)
        self.heard = b""

    def said(self, data: bytes) -> bytes:
        self.heard += data
        return super().said(data)


@pytest.mark.parametrize("locked", [True, False])
def test_ctrl_c_from_the_first_moment_on_gets_no_prompt(
    tmp_path: pathlib.Path, locked: bool
) -> None:
    """Without a library: boot.py alone has to hold, and it fails at once."""
    flash = tmp_path / "flash"
    firmware = {path.name: path.read_bytes() for path in (ROOT / "firmware").glob("*.py")}
    firmware["boot.py"] = FLAG.encode() if locked else firmware["boot.py"]
    flash.write_bytes(new_flash(firmware | {"next.py": (ROOT / "firmware/boot.py").read_bytes()}))
    with Console(flash) as chip:
        if locked:
            while b"renamed" not in chip.heard:
                time.sleep(0.1)
            while chip.heard.count(b"rst:") < 2:
                time.sleep(0.1)
            at = len(chip.heard)
        else:
            at = 0
        for _ in range(1500):
            chip.type(b"\x03" * 500)
            time.sleep(0.05)
            said = chip.heard[at:]
            if (locked and b"rst:" in said) or b">>>" in said:
                break
        assert (b">>>" in said) != locked
        if locked:
            assert b"board.py or its library is not whole" in said
