# Runs after boot.py: the board and the app, or the hand program, joined. A locked toy never leaves
# it for the REPL.

import micropython

micropython.kbd_intr(-1)  # each file begins with Ctrl-C on
try:
    import board

    if not board.locked:
        micropython.kbd_intr(3)

    if board.safe_mode:
        print("Hushbear: safe mode, the app is not started")
    else:
        import gc

        # What loading leaves behind goes at once, and the heap stays in one piece.
        gc.threshold(2048)

        try:
            from hushbear.audio import Buffers

            buffers = Buffers()

            if board.mode:
                from hushbear import hand as program
            else:
                from hushbear import app as program
        except Exception:
            board.light().blink()  # a module is missing, or for another MicroPython
            raise

        program.run(board, buffers)
except BaseException as error:
    if not board.locked:
        raise
    import time

    print(repr(error))
    time.sleep_ms(30000)

if board.locked:
    import machine

    machine.reset()
