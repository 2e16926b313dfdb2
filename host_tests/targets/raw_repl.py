"""MicroPython's raw REPL: how a script gets to a device that has a console and nothing else."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from . import PRELUDE, DeviceError, dedent, split_args

_PROMPT = b"raw REPL; CTRL-B to exit\r\n>"
_END = b"\x04"
_READY = b"<<ready>>"  # and _END, at which a script that has failed ends, too

# `take` reads bytes as they are; Ctrl-C is a byte like any other meanwhile.
_TAKE = f"""\
import gc, micropython, sys
def take(size):
    print("{_READY.decode()}\\x04", end="")
    return sys.stdin.buffer.read(size)
micropython.kbd_intr(-1)
"""

# The same in pieces, for a console that loses what comes while nobody reads. Short enough for it.
_TAKE_PIECES = """\
import gc,sys,micropython as m
def take(n):
 b=bytearray(n)
 v=memoryview(b)
 for i in range(0,n,{chunk}):
  print("{ready}\\x04",end="")
  sys.stdin.buffer.readinto(v[i:i+{chunk}])
 return bytes(b)
"""


class RawRepl:
    """`write` sends bytes to the device. `expect(mark, seconds)` returns what came before the
    bytes `mark`, or raises TimeoutError with what has come so far. `chunk`: how many bytes the
    console holds while nobody reads; default: it has flow control."""

    def __init__(
        self,
        write: Callable[[bytes], None],
        expect: Callable[[bytes, float], bytes],
        chunk: int | None = None,
    ) -> None:
        self._write = write
        self._expect = expect
        self._chunk = chunk

    def enter(self, timeout: float = 10) -> None:
        """Interrupt what runs and enter the raw REPL."""
        self._write(b"\r\x03\x03\r\x01")
        self._expect(_PROMPT, timeout)

    def soft_reset(self, timeout: float = 10) -> None:
        self._write(b"\x04")
        self._expect(_PROMPT, timeout)

    def execute(self, source: str, bulk: list[bytes], timeout: float) -> str:
        """Run `source`, feeding each of `bulk` to a take(), and return what it printed."""
        deadline = time.monotonic() + timeout

        def expect(mark: bytes) -> bytes:
            try:
                return self._expect(mark, max(deadline - time.monotonic(), 0.01))
            except TimeoutError as error:
                raise DeviceError(f"not done after {timeout:g} s\n{error}") from None

        self._write(source.encode() + _END)
        expect(b"OK")
        said = expect(_END)
        for data in bulk:
            if not said.endswith(_READY):
                break
            self._write(data)
            said = said.removesuffix(_READY) + expect(_END)
        printed = said.decode(errors="replace").replace("\r\n", "\n")
        failure = expect(_END + b">").decode(errors="replace").replace("\r\n", "\n")
        if failure:
            raise DeviceError(printed + failure)
        return printed

    def run(self, source: str, args: Mapping[str, object] | None, timeout: float) -> str:
        """Run a test's script with `args` as variables; return what it printed."""
        small, bulk = split_args(args)
        code = dedent(source).encode()
        main = [
            PRELUDE,
            f"scope = { ({'__name__': '__main__', **small})!r}",
            "scope['result'] = result",
            *(f"scope[{name!r}] = take({len(data)})" for name, data in bulk.items()),
            f"code = compile(take({len(code)}), 'test.py', 'exec')",
            "__import__('micropython').kbd_intr(3)",
            "gc.collect()",
            "exec(code, scope)",
        ]
        return self.execute_fed("\n".join(main), [*bulk.values(), code], timeout)

    def execute_fed(self, source: str, bulk: list[bytes], timeout: float) -> str:
        """Run `source`, however long, with take() defined and fed each of `bulk`."""
        size = self._chunk
        if size is None:
            return self.execute(_TAKE + source, bulk, timeout)
        self.execute(_TAKE_PIECES.format(chunk=size, ready=_READY.decode()), [], timeout)
        code = source.encode()
        pieces = [d[i : i + size] for d in (code, *bulk) for i in range(0, len(d), size)]
        return self.execute(f"m.kbd_intr(-1)\nexec(take({len(code)}))", pieces, timeout)
