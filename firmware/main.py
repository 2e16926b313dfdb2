# Runs after boot.py: the board and the app, joined.

import board

if board.safe_mode:
    print("Hushbear: safe mode, the app is not started")
else:
    from hushbear import app

    app.run(board)
