"""`machine` as the chip has it, but for what its emulator lacks: I2S, and in some of them pins."""

from umachine import *  # noqa: F403, I001
from chip_i2s import I2S  # noqa: F401  # after the chip's own, in whose place it is

import pace  # noqa: F401
import pins

if not pins.wired:
    from chip_pins import PWM, Pin  # noqa: F401
