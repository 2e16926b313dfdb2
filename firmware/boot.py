# Runs at every start, before main.py. With the record paw held at power-up the toy starts in
# safe mode: no app, no radio, no microphone. The REPL over USB is there for recovery, and the LED
# blinks (violet on a NeoPixel) to say so.

import time

try:
    import board
except Exception:
    print("Hushbear: board.py or its library is not whole: run tools/flash.sh PORT --update")
    raise


def _held(pin):
    for _ in range(10):  # 50 ms: a spike is not a hand
        if pin.value():
            return False
        time.sleep_ms(5)
    return True


board.safe_mode = _held(board.paw(board.RECORD_PAW))
if board.safe_mode:
    board.light().blink()
