"""What was done to the toy of 2017, step by step: connect, upload, play, record, listen, light and
volume, firmware. Everything about that toy was open to whoever came near it.
"""

from __future__ import annotations

import pytest
from bleak import BleakClient, BleakScanner

from host_tests.attacks.home import NOTHING, Home, home, tell
from host_tests.family import MakeToy, spoken
from hushbear import pairing_wire, wire
from tools.stranger import Stranger

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

STEPS = 8


async def hack(here: Home, service: str) -> bytes:
    """Try everything on a toy that advertises this service; return what was heard."""
    heard = b""
    tried = 0
    recordings, sounds = len(here.toy.mic.opened), len(here.toy.speaker.sounds)
    async for outcome in Stranger(here.radio.phone(), service=service).attempts():
        print(f"  {outcome.attempt:<42} {len(outcome.learned)} bytes learned")
        assert outcome.refused, outcome
        heard += outcome.learned
        tried += 1
    assert tried == STEPS
    assert len(here.toy.mic.opened) == recordings
    if service == wire.SERVICE_UUID:  # else it is speaking the code
        assert len(here.toy.speaker.sounds) == sounds
    return heard


async def services_of(here: Home, service: str) -> set[str]:
    phone = here.radio.phone()
    device = await BleakScanner.find_device_by_filter(
        lambda _, seen: service in seen.service_uuids, backend=phone.scanner
    )
    assert device
    async with BleakClient(device, backend=phone.client) as bleak:
        return {each.uuid for each in bleak.services if not each.uuid.startswith("0000")}


async def test_what_was_done_to_the_toy_of_2017_is_refused(virtual_toy: MakeToy) -> None:
    async with home(virtual_toy) as here:
        async with here.parent() as phone:
            content = spoken(1)
            here.keep_secret("the message", content)
            await phone.send(content)
            before = await phone.settings()
        assert await services_of(here, wire.SERVICE_UUID) == {wire.SERVICE_UUID}
        heard = await hack(here, wire.SERVICE_UUID)
        async with here.parent() as phone:
            assert await phone.settings() == before
            assert (await phone.status()).inbox == 1
        tell("who did what was done in 2017", here.learned(heard))
        assert heard == b"" and here.learned(heard) == NOTHING
        await here.is_well()


async def test_an_open_window_opens_nothing_of_it_either(virtual_toy: MakeToy) -> None:
    """While it is to be paired with, a toy is as deaf to all that; no attempt is spent on it."""
    async with home(virtual_toy) as here:
        code = await here.open_window()
        assert await services_of(here, pairing_wire.SERVICE_UUID) == {pairing_wire.SERVICE_UUID}
        heard = await hack(here, pairing_wire.SERVICE_UUID)
        membership = await here.pair(here.air(), code)
        assert membership.key in here.known()
        tell("who did what was done in 2017", here.learned(heard))
        assert heard == b"" and here.learned(heard) == NOTHING
        await here.is_well()
