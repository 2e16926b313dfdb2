# Runs after boot.py: the board and the app, or the hand program, joined.

import gc

import board

if board.safe_mode:
    print("Hushbear: safe mode, the app is not started")
else:
    gc.threshold(2048)  # what loading leaves behind goes at once, and the heap stays in one piece

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
