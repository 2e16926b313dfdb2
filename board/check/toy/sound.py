# Two notes, the second lower, quietly.

import asyncio

import board
from hushbear.audio import Buffers
from hushbear.audio.speaker import Speaker

asyncio.run(Speaker(board, Buffers()).sound(((880, 500), (0, 200), (587, 500)), 30))
