# Runs at every start, before main.py. With the record paw held at power-up the toy starts in
# safe mode: no app, no radio, no microphone. The REPL over USB is there for recovery, and the LED
# blinks (violet on a NeoPixel) to say so. A hand that asked for the hand program still holds it.
#
# A locked toy has no REPL: Ctrl-C is off, and whatever ends the program restarts the board. There
# the paw erases the keys, and with them the lock (hushbear.lock).

import micropython

micropython.kbd_intr(-1)  # until it is known that there is no lock
try:
    import time

    time.sleep_ms(1)
    pending = False
except KeyboardInterrupt:  # it came before Ctrl-C was off, and no other does
    pending = True

locked = True


def start(pending):
    global locked
    # The lock comes before all that may be damaged. What erases its flag has a file in the root
    # directory until it is done.
    import machine
    import os
    from esp32 import NVS

    root = os.listdir("/")
    unlocking = "unlocking" in root
    try:
        locked = NVS("hushbear").get_i32("locked") != 0
    except OSError as error:
        locked = error.errno != -0x1102  # ESP_ERR_NVS_NOT_FOUND
    locked = locked or unlocking or "erasing" in root
    if not locked:
        micropython.kbd_intr(3)
        if pending:
            raise KeyboardInterrupt

    import board
    from hushbear.once import once

    if unlocking:
        once("hushbear.lock").unlock()
    paw = board.paw(board.RECORD_PAW)
    down = not paw.value()
    for _ in range(10 if down else 0):  # 50 ms: a spike is not a hand
        time.sleep_ms(5)
        down = down and not paw.value()
    if down and locked and machine.reset_cause() == machine.PWRON_RESET:
        once("hushbear.lock").hold(board)
    board.mode = once("hushbear.mode").take()
    board.locked = locked
    board.safe_mode = down and not locked and not board.mode
    if board.safe_mode:
        board.light().blink()


try:
    start(pending)
except BaseException as error:
    if not isinstance(error, KeyboardInterrupt):
        print("Hushbear: board.py or its library is not whole: run tools/flash.sh PORT --update")
    if not locked:
        raise
    import machine
    import sys

    sys.print_exception(error)
    time.sleep_ms(30000)
    machine.reset()

del start, pending, locked  # what is left here stays in memory
