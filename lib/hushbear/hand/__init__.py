"""The hand program: what only hands on the toy can do, pairing a phone and erasing everything.

It runs in the app's place (mode.py), with all the memory, and for minutes at most; whatever it
comes to, the next start is the app's. What it does, and when, is in program.py.
"""

import asyncio
import machine
import time

from hushbear.crashlog import CrashLog
from hushbear.pairing_wire import SERVICE_UUID

_HOUR_MS = const(3600000)
_REST_MS = const(60000)


def run(board, buffers):
    """Run the program, then restart the board. Ctrl-C ends it, to the REPL."""
    crashlog = CrashLog()
    try:
        # One after the other: nested imports take much of the stack, and the radio's buffer the
        # largest piece of memory, which there is before the rest is loaded.
        from hushbear.link.radio import Radio

        radio = Radio(SERVICE_UUID)
        from hushbear.hand.program import Program

        asyncio.run(Program(board, buffers, radio, crashlog).run())
    except KeyboardInterrupt:
        machine.WDT(timeout=_HOUR_MS)  # it cannot be stopped: leave the flash tool time
        return
    except Exception as error:
        crashlog.write(error)
    # Held at a start, the record paw asks for safe mode, and these hands did not.
    machine.WDT(timeout=_REST_MS)
    while not board.paw(board.RECORD_PAW).value():
        time.sleep_ms(50)
    machine.reset()
