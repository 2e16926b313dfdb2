# What an image for this board has in it. board/manifest.py has what is the same on all of them.
freeze("$(PORT_DIR)/modules")
include("$(MPY_DIR)/extmod/asyncio")
require("neopixel")
include("../manifest.py")
module("board.py")
