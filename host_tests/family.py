"""A toy and a phone that belongs to it, on one virtual air: where whole-system tests begin."""

from __future__ import annotations

import contextlib
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

from host_tests.messages import FAMILY, speech
from host_tests.virtual.body import Body
from host_tests.virtual.radio import AirModel, Phone, VirtualRadio
from host_tests.virtual.toy import VirtualToy
from hushbear_companion import message, sealing
from hushbear_companion.adpcm import encode
from hushbear_companion.client import Client
from hushbear_companion.link import parse_link
from hushbear_companion.session import Timing
from hushbear_companion.transport import Radio

MakeToy = Callable[..., VirtualToy]

GOOD_AIR = AirModel(interval=0.015, packets=6)


@contextlib.asynccontextmanager
async def family(
    virtual_toy: MakeToy, air: AirModel = GOOD_AIR, **options: Any
) -> AsyncIterator[tuple[VirtualToy, VirtualRadio, str]]:
    """A toy that is on and advertises, its radio, and the link that its set-up printed.

    `options` are those of VirtualToy.
    """
    radio = VirtualRadio(air)
    async with radio, virtual_toy(air=radio, **options) as toy:
        yield toy, radio, await add_phone(toy)


async def add_phone(toy: Body) -> str:
    """Give the toy another key; return the link that its set-up printed."""
    output = await toy.exec_repl("from hushbear import setup; setup.add_phone()")
    link = re.search(r"hushbear://\S+", output)
    assert link
    return link[0]


def client(phone: Phone, link: str, **timing: float) -> Client:
    radio = Radio(scanner=phone.scanner, client=phone.client)
    return Client(parse_link(link).key, radio, timing=Timing(**timing))  # type: ignore[arg-type]


def spoken(seconds: float, seed: int = 1, phone: Client | None = None) -> bytes:
    """Return a message for a new virtual toy, or for the one that `phone` was connected to."""
    keys = phone.family if phone else FAMILY
    header = message.Header(message.new_id(), b"grandma\0", 1_790_000_000, max(keys))
    return sealing.seal(header, encode(speech(seconds, seed)), keys[header.epoch])


def firmware_with(defect: str) -> str:
    """Return a main.py that is the firmware's, with a defect put in before it runs."""
    return f"""
import gc
import machine
import board
board.safe_mode = board.mode = board.locked = False
gc.threshold(2048)
{defect}
exec(open("/firmware/main.py").read())
"""
