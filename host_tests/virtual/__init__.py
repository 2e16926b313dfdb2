"""The virtual toy: the unmodified firmware in a MicroPython process, its hardware in this one.

    @pytest.mark.targets("unix")
    @pytest.mark.virtual_time  # an hour takes a second; leave it out for real time
    async def test_the_light_is_on_while_the_mic_is(virtual_toy):
        async with virtual_toy(board="esp32_s3") as toy:
            await asyncio.sleep(3)
            toy.press("record")
            await asyncio.sleep(0.5)
            assert toy.mic.running and toy.led.on

toy.py says what can be done to a toy, gpio.py and i2s.py what can be seen and heard of it,
storage.py how its flash can be slow, fail, or lose its power.
"""

from .storage import FlashModel
from .toy import Cause, ToyError, VirtualToy

__all__ = ["Cause", "FlashModel", "ToyError", "VirtualToy"]
