# Advertises for SECONDS, as the toy does, and serves nobody.

import asyncio

from hushbear.link.radio import Radio


async def serve(peer):
    pass


async def advertise():
    try:
        await asyncio.wait_for(Radio().run(serve, lambda: None), SECONDS)
    except asyncio.TimeoutError:
        print("radio: on")


asyncio.run(advertise())
