"""`machine` as the chip has it, but for I2S, which its emulator lacks."""

from umachine import *  # noqa: F403, I001
from chip_i2s import I2S  # noqa: F401  # after the chip's own, in whose place it is

import pace  # noqa: F401
import pins  # noqa: F401
