"""Radios that do whatever they like near a toy: strangers', and that of a phone gone bad."""

from __future__ import annotations

import asyncio
import contextlib
import random
import struct
from collections import Counter
from typing import Any, cast

import pytest
from bleak import BleakClient, BleakScanner
from bleak.exc import BleakError, BleakGATTProtocolError

from host_tests.family import MakeToy, client, family, spoken
from host_tests.hostile_toy import mutated
from host_tests.virtual.radio import Phone, VirtualRadio
from hushbear import wire
from hushbear_companion.errors import HushbearError
from hushbear_companion.framing import frame
from hushbear_companion.link import parse_link
from hushbear_companion.noise import Initiator
from hushbear_companion.records import Box
from hushbear_companion.session import Session

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

CONNECTIONS = 15  # of each of the three
ACTS = 12
HANDLES = 24  # more than the toy has
HUNG_UP = (BleakError, HushbearError, TimeoutError, EOFError, OSError)  # or it seems so


async def scribble(rng: random.Random, bleak: BleakClient, key: bytes, done: Counter[str]) -> None:
    """Read and write at random: any handle, any size."""
    backend = cast(Any, bleak)._backend
    hello = frame(Initiator(key, wire.PROLOGUE).write_1())
    for _ in range(ACTS):
        gatt = backend._require().gatt_client
        handle, size = rng.randrange(HANDLES), rng.choice((0, 1, 2, 20, 48, 244, 509, 512))
        act = rng.randrange(6)
        done["scribbled"] += 1
        with contextlib.suppress(BleakGATTProtocolError):  # refused
            if act == 0:
                await backend._request(gatt.read_value(handle))
            elif act == 1:
                await backend._request(gatt.write_value(handle, rng.randbytes(size), True))
            elif act == 2:
                gatt.mtu_exchange_done = False
                await backend._request(gatt.request_mtu(rng.choice((23, 24, 64, 517, 65535))))
            else:
                data = mutated(rng, hello) if act == 3 else rng.randbytes(size)
                response = rng.random() < 0.5
                await bleak.write_gatt_char(wire.TO_TOY_UUID, data[: bleak.mtu_size - 3], response)


async def stranger(rng: random.Random, phone: Phone, key: bytes, done: Counter[str]) -> None:
    """Connect, scribble, and wait to be hung up on, or leave."""
    device = await BleakScanner.find_device_by_filter(
        lambda _, seen: wire.SERVICE_UUID in seen.service_uuids, backend=phone.scanner
    )
    if device is None:  # three are connected
        return
    async with BleakClient(device, backend=phone.client) as bleak:
        await scribble(rng, bleak, key, done)
        if rng.random() < 0.5:
            await asyncio.sleep(rng.choice((0.1, 7)))


async def villain(rng: random.Random, radio: VirtualRadio, link: str, done: Counter[str]) -> None:
    """Use the family's key, and say records that are wrong inside."""
    phone = radio.phone(mtu=rng.choice((23, 185, 517)))
    async with client(phone, link, response=2, stall=2, retries=0) as toy:
        session = toy._session
        assert isinstance(session, Session)
        done["let in"] += 1
        for _ in range(ACTS):
            kind = rng.choice((*range(1, 14), wire.SEND, wire.DATA, wire.GRANT, 0x3F))
            body = rng.randbytes(rng.choice((0, 1, 5, 6, 12, 16, 17, 24, 52, 514)))
            if kind == wire.SEND and len(body) > 40:
                body = body[:16] + struct.pack("<I", 48 + 256 * rng.randrange(1, 400)) + bytes(32)
            plain = bytes([kind, rng.randrange(3)]) + body
            if rng.random() < 0.2:
                plain = mutated(rng, plain)
            stream = frame(session._tx.seal(plain[: wire.RECORD_MAX]))
            await session._stream.write(stream if rng.random() < 0.95 else mutated(rng, stream))
            done["said"] += 1
            await asyncio.sleep(rng.choice((0, 0.01, 0.1)))
            if rng.random() < 0.05:
                radio.drop(phone)


async def test_radios_that_do_as_they_like_leave_the_toy_well(virtual_toy: MakeToy) -> None:
    done: Counter[str] = Counter()

    async def again_and_again(number: int) -> None:
        rng = random.Random(number)
        for _ in range(CONNECTIONS):
            with contextlib.suppress(*HUNG_UP):
                if number == 0:
                    await villain(rng, radio, link, done)
                else:
                    phone = radio.phone(mtu=rng.choice((23, 50, 185, 517)))
                    key = parse_link(link).key if number == 1 else bytes(32)
                    await stranger(rng, phone, key, done)
            await asyncio.sleep(1)

    content = spoken(1)
    async with family(virtual_toy) as (toy, radio, link):
        async with client(radio.phone(), link) as phone:
            await phone.send(content)
        starts = len(toy.causes)
        await asyncio.gather(*map(again_and_again, range(3)))
        await asyncio.sleep(10)
        async with client(radio.phone(), link) as phone:
            await phone.send(spoken(1, seed=2))
            inbox = await phone.entries(Box.INBOX)
            assert (await phone.status()).crashlog == 0
        assert done["scribbled"] > 100 and done["let in"] > 10 and done["said"] > 80, done
        assert content[16:32] in [entry.id for entry in inbox]
        assert toy.mic.opened == []
        assert len(toy.causes) == starts, "the toy was restarted"
