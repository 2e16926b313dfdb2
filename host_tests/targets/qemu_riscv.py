"""Target `qemu-riscv`: MicroPython on an emulated 32-bit RISC-V, driven through pytest-embedded.

One boot serves a session: each script begins with a soft reset, which also sets the heap's size.
Only a script that hangs or crashes the machine costs another boot.
"""

from __future__ import annotations

import os
import pathlib
import tempfile
import time
from collections.abc import Mapping

import pexpect
from mpremote.romfs import VfsRomWriter
from pytest_embedded.log import PexpectProcess
from pytest_embedded.utils import Meta
from pytest_embedded_qemu import Qemu, QemuDut

from . import BUILD, HEAP, LIB, DeviceError, Target, split_args, tool
from .mpy import compiled
from .raw_repl import RawRepl

EMULATOR = "qemu-system-riscv32"
WRAPPER = pathlib.Path(__file__).with_name("qemu-riscv")
PARAMETERS = 0x82000000  # see ports/modules/qemu_board/board.c: a seed, then the heap's size
SEED_SIZE = 32


def romfs(library: pathlib.Path) -> bytes:
    """Return a ROMFS image that has `library`, compiled for this processor, as /lib."""
    image = VfsRomWriter()

    def add(directory: pathlib.Path) -> None:
        image.opendir(directory.name)
        for path in sorted(directory.iterdir()):
            if path.is_dir() and path.name != "__pycache__":
                add(path)
            elif path.suffix == ".py":
                image.mkfile(*compiled(path, library, "rv32imc"))
        image.closedir()

    add(library)
    data: bytes = image.finalise()
    return data


class _Machine(Qemu):  # type: ignore[misc]
    """pytest-embedded's QEMU, whose console is read straight from its log."""

    REDIRECT_CLS = None


class QemuRiscv(Target):
    name = "qemu-riscv"

    @classmethod
    def firmware_path(cls) -> pathlib.Path:
        """Return where the firmware is, whether or not it is there."""
        override = os.environ.get("HUSHBEAR_QEMU_RISCV")
        return pathlib.Path(override) if override else BUILD / "qemu-riscv/firmware.elf"

    @classmethod
    def missing(cls) -> str | None:
        if tool(EMULATOR) is None:
            return f"{EMULATOR} is not installed: run tools/setup, or install qemu-system-misc"
        if not cls.firmware_path().exists():
            return "the firmware for it is not built: run tools/setup"
        return None

    def __init__(self, options: str = "") -> None:
        """`options` are more of the emulator's, such as "-icount shift=0"."""
        self._options = options
        self._dut: QemuDut | None = None

    def _boot(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="hushbear-")
        directory = pathlib.Path(self._directory.name)
        image, parameters = directory / "romfs", directory / "parameters"
        image.write_bytes(romfs(LIB))
        parameters.write_bytes(os.urandom(SEED_SIZE) + HEAP.to_bytes(4, "little"))
        meta = Meta(str(directory), {}, {})
        qemu = _Machine(
            msg_queue=None,
            qemu_prog_path=str(WRAPPER),
            qemu_image_path=str(image),
            qemu_cli_args="-machine virt -bios none -display none -monitor none -serial stdio"
            " -semihosting-config enable=on,target=native"
            f" -kernel '{self.firmware_path()}'"
            f" -device loader,file='{parameters}',addr={PARAMETERS:#x},force-raw=on"
            f" {self._options}",
            meta=meta,
        )
        self._log = open(qemu._logfile, "rb")
        console = PexpectProcess(self._log)
        console.maxread = 1 << 16
        console.delayafterread = 0.002  # the log has no end to wait for: look again after this
        self._dut = QemuDut(
            qemu=qemu,
            pexpect_proc=console,
            msg_queue=None,
            app=None,
            pexpect_logfile=qemu._logfile,
            test_case_name=self.name,
            meta=meta,
        )
        self._repl = RawRepl(self._dut.write, self._expect)
        self._heap = HEAP
        self._repl.enter()

    def _expect(self, mark: bytes, seconds: float) -> bytes:
        assert self._dut is not None
        deadline = time.monotonic() + seconds
        while True:
            left = deadline - time.monotonic()
            try:
                said: bytes = self._dut.expect_exact(
                    mark, timeout=max(0.0, min(left, 1.0)), return_what_before_match=True
                )
                return said
            except pexpect.TIMEOUT:
                said_so_far = self._dut.pexpect_proc.buffer.decode(errors="replace")
                if self._dut.qemu.poll() is not None:
                    raise DeviceError(f"the emulator ended\n{said_so_far}") from None
                if left <= 0:
                    raise TimeoutError(said_so_far) from None

    def run(
        self, source: str, *, args: Mapping[str, object] | None = None, timeout: float = 60
    ) -> object:
        _, bulk = split_args(args)
        heap = HEAP + sum(len(value) for value in bulk.values())
        try:
            if self._dut is None:
                self._boot()
            if heap != self._heap:
                self._repl.execute(
                    f"import machine\nmachine.mem32[{PARAMETERS + SEED_SIZE:#x}] = {heap}", [], 10
                )
                self._heap = heap
            self._repl.soft_reset()
            return self.read_result(self._repl.run(source, args, timeout))
        except DeviceError as error:
            if "Traceback" not in str(error):  # it hangs, or is gone
                self.close()
            raise

    def close(self) -> None:
        if self._dut is not None:
            qemu = self._dut.qemu
            qemu.kill()
            qemu.wait()
            qemu.stdin.close()
            qemu.close()
            self._log.close()
            self._directory.cleanup()
            self._dut = None
