# Waits for one paw, PAW, to be pressed and let go, as the app does. With one paw, held it records
# and tapped it plays.

import time

import board
from hushbear import paws

_PATIENCE_MS = const(20000)


def pressed(wanted):
    toy = paws.Paws(board)
    start = time.ticks_ms()
    while time.ticks_diff(time.ticks_ms(), start) < _PATIENCE_MS:
        gesture = toy.next()
        if gesture is not None:
            while toy.recording:
                toy.next()
                time.sleep_ms(5)
            return "pressed" if gesture is wanted else "another paw"
        time.sleep_ms(5)
    return "nothing"


number = board.RECORD_PAW if PAW == paws.RECORD else board.PLAY_PAW or board.RECORD_PAW
print("paw:", "down" if not board.paw(number).value() else pressed(PAW))
