"""An emulated board on a serial port, with the circuit by which a DevKitC's port resets its chip.

    with EmulatedEsp32(flash) as board:
        subprocess.run(["esptool", "--port", board.port, …])

The port is pyserial's `rfc2217://…`, the one kind without hardware that has control lines. RTS
pulls the chip's EN to ground and DTR its IO0, unless both are set.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from serial.rfc2217 import PortManager

BOOT_S = 30


class EmulatedBoard(ABC):
    # What PortManager asks of a port besides `rts` and `dtr`
    baudrate = 115200
    bytesize, parity, stopbits = 8, "N", 1
    xonxoff = rtscts = break_condition = False
    cts = dsr = ri = cd = False

    def __init__(self) -> None:
        self.starts = 0
        self._closed = False
        self._rts = self._dtr = False
        self._process: subprocess.Popen[bytes] | None = None
        self._client: socket.socket | None = None
        self._manager: PortManager | None = None
        self._sending = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        number = self._listener.getsockname()[1]
        self.port = f"rfc2217://127.0.0.1:{number}?timeout={BOOT_S}"

    @abstractmethod
    def command(self, io0: bool) -> list[str]:
        """Return the emulator's command for a start while IO0 is high or low, console on stdio."""

    def booted(self, io0: bool) -> None:  # noqa: B027 - not every board is waited for
        """Wait until it can be spoken to: a chip takes a moment, an emulator more."""

    def said(self, data: bytes) -> bytes:
        """Return what of the console's output the port gets."""
        return data

    def __enter__(self) -> Self:
        self._start(True)
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed = True
        self._listener.close()
        self.unplug()
        self._stop()

    def unplug(self) -> None:
        """The port is gone, for the client that has it open; the next one finds it again."""
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.shutdown(socket.SHUT_RDWR)

    # The chip

    def _start(self, io0: bool) -> None:
        if self._closed:
            return
        self.starts += 1
        self._process = subprocess.Popen(
            self.command(io0),
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        threading.Thread(target=self._forward, args=(self._process,), daemon=True).start()

    def _stop(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.terminate()  # what is on its way to the flash gets there
            process.wait()

    def _forward(self, process: subprocess.Popen[bytes]) -> None:
        """Send what the chip says to whoever has the port open."""
        assert process.stdin and process.stdout
        with process.stdin, process.stdout:
            while data := os.read(process.stdout.fileno(), 1 << 16):
                data = self.said(data)
                if data and self._manager:
                    self.write(b"".join(self._manager.escape(data)))
        if process is self._process and process.wait() == 0:  # it has reset itself
            self._start(True)

    def type(self, data: bytes) -> None:
        """Write to the chip's console."""
        process = self._process
        with contextlib.suppress(ValueError, BrokenPipeError):  # it is being reset
            while process and process.stdin and data:
                data = data[os.write(process.stdin.fileno(), data) :]

    # The port

    @property
    def rts(self) -> bool:
        return self._rts

    @rts.setter
    def rts(self, on: bool) -> None:
        self._set_lines(on, self._dtr)

    @property
    def dtr(self) -> bool:
        return self._dtr

    @dtr.setter
    def dtr(self, on: bool) -> None:
        self._set_lines(self._rts, on)

    def _set_lines(self, rts: bool, dtr: bool) -> None:
        was_reset = self._rts and not self._dtr
        self._rts, self._dtr = rts, dtr
        if rts and not dtr:
            self._stop()
        elif was_reset:  # EN rises slowly: what pulls IO0 by then is DTR
            self._start(not dtr)
            self.booted(not dtr)

    def reset_input_buffer(self) -> None:  # noqa: B027
        pass  # nothing is kept here

    reset_output_buffer = reset_input_buffer

    def write(self, data: bytes) -> None:
        """Send to whoever has the port open."""
        with self._sending, contextlib.suppress(OSError):
            if self._client is not None:
                self._client.sendall(data)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._client = client
                self._manager = PortManager(self, self)
                with contextlib.suppress(OSError):
                    while data := client.recv(1 << 14):
                        self.type(b"".join(self._manager.filter(data)))
                self._manager = self._client = None
            self._set_lines(False, False)
