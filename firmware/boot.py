# Runs at every start, before main.py. With the record paw held at power-up the toy starts in
# safe mode: no app, no radio, no microphone. The REPL over USB is there for recovery, and the LED
# blinks (violet on a NeoPixel) to say so. A hand that asked for the hand program still holds it.

import time

try:
    import board
    from hushbear.once import once

    board.mode = once("hushbear.mode").take()
except Exception:
    print("Hushbear: board.py or its library is not whole: run tools/flash.sh PORT --update")
    raise


def _held(pin):
    for _ in range(10):  # 50 ms: a spike is not a hand
        if pin.value():
            return False
        time.sleep_ms(5)
    return True


board.safe_mode = not board.mode and _held(board.paw(board.RECORD_PAW))
if board.safe_mode:
    board.light().blink()
