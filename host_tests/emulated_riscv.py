"""MicroPython's RISC-V board, emulated, as something that is plugged into a serial port.

It has a flash for its file system, in the machine's memory, which survives soft resets.
"""

from __future__ import annotations

import os
import pathlib

from mpremote.romfs import VfsRomWriter

from host_tests.emulated_port import EmulatedBoard
from host_tests.targets.qemu_riscv import EMULATOR, PARAMETERS, SEED_SIZE, QemuRiscv

# On the board, as /rom/lib/chip.py: mounts a littlefs at /, and has NVS in files.
CHIP = """\
import os, sys, uctypes, vfs

class Memory:
    def __init__(self):
        self._flash = uctypes.bytearray_at(0x83000000, 1 << 20)
    def readblocks(self, block, buffer, offset=0):
        start = block * 4096 + offset
        buffer[:] = self._flash[start : start + len(buffer)]
    def writeblocks(self, block, buffer, offset=0):
        start = block * 4096 + offset
        self._flash[start : start + len(buffer)] = buffer
    def ioctl(self, op, arg):
        if op == 4:
            return 256
        if op == 5:
            return 4096
        return 0

memory = Memory()
try:
    vfs.mount(vfs.VfsLfs2(memory), "/")
except OSError:
    vfs.VfsLfs2.mkfs(memory)
    vfs.mount(vfs.VfsLfs2(memory), "/")
    os.mkdir("/nvs")
os.chdir("/")
sys.path[:] = ["", ".frozen", "/lib"]

class NVS:
    def __init__(self, namespace):
        self._path = "/nvs/" + namespace + "."
    def get_blob(self, key, buffer):
        try:
            with open(self._path + key, "rb") as file:
                return file.readinto(buffer)
        except OSError:
            raise OSError(-0x1102, "ESP_ERR_NVS_NOT_FOUND")
    def set_blob(self, key, value):
        with open(self._path + key, "wb") as file:
            file.write(value)
    def set_i32(self, key, value):
        self.set_blob(key, b"%d" % value)
    def commit(self):
        pass

class Partition:
    pass

class esp32:
    NVS = NVS
    Partition = Partition

class BLE:
    def active(self, on):
        pass

class bluetooth:
    BLE = BLE

sys.modules["esp32"] = esp32
sys.modules["bluetooth"] = bluetooth
"""
READY = "import sys; sys.path.append('/rom/lib'); import chip"
HEAP = 200 * 1024

REBOOT = b"MPY: soft reboot\r\n"
PROMPT = b"raw REPL; CTRL-B to exit\r\n>"
DONE = b"OK\x04\x04>"


def command(directory: pathlib.Path, serial: str) -> list[str]:
    """Return the command that is the board; what it starts with is put into `directory`."""
    rom = VfsRomWriter()
    rom.opendir("lib")
    rom.mkfile("chip.py", CHIP.encode())
    rom.closedir()
    (directory / "romfs").write_bytes(rom.finalise())
    (directory / "parameters").write_bytes(os.urandom(SEED_SIZE) + HEAP.to_bytes(4, "little"))
    return [
        *(EMULATOR, "-machine", "virt", "-bios", "none", "-display", "none"),
        *("-monitor", "none", "-serial", serial, "-semihosting-config", "enable=on"),
        *("-kernel", str(QemuRiscv.firmware_path())),
        *("-device", f"loader,file={directory}/romfs,addr=0x81000000,force-raw=on"),
        *("-device", f"loader,file={directory}/parameters,addr={PARAMETERS:#x},force-raw=on"),
    ]


class EmulatedRiscv(EmulatedBoard):
    """It makes its chip ready at each soft reset, as boot.py does. What is in its flash stays."""

    def __init__(self, directory: pathlib.Path) -> None:
        super().__init__()
        memory = f"memory-backend-file,id=ram,size=128M,mem-path={directory}/memory,share=on"
        self._command = [
            *command(directory, "stdio"),
            *("-object", memory, "-machine", "memory-backend=ram"),
        ]
        self._held = self._tail = self._awaited = b""

    def command(self, io0: bool) -> list[str]:
        return self._command

    def said(self, data: bytes) -> bytes:
        self._held += data
        self._tail = self._tail[-len(REBOOT) :] + data
        if not self._awaited and REBOOT in self._tail:
            self._awaited = PROMPT
        if not self._held.endswith(self._awaited):
            return b""
        said, self._held = self._held, b""
        if self._awaited == PROMPT:
            self._tail, self._awaited = b"", DONE
            self.type(READY.encode() + b"\x04")
            return said.removesuffix(PROMPT)
        if self._awaited == DONE:
            self._awaited = b""
            return PROMPT
        return said
