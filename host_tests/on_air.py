"""A toy and phones for tests of the whole: all virtual, or a board and this computer's Bluetooth.

    @each_air
    async def test_…(home: MakeHome) -> None:
        async with home() as family:
            async with family.phone() as phone:
                await phone.send(…)

On target `unix` time is virtual. On `serial` the board at --port is a toy that tools/flash.sh has
made; it gets one more key for the test, which is taken away again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import pytest

from host_tests.family import MakeToy, family
from hushbear_companion.client import Client
from hushbear_companion.errors import NoBluetooth
from hushbear_companion.link import parse_link
from hushbear_companion.transport import Radio
from tools.flash_commands import Commands, Problem

ADD_PHONE = "from hushbear import setup; setup.add_phone()"
REMOVE_PHONE = """\
from hushbear.family import Family
from hushbear.keys import Keys
keys = Keys()
for slot, key in keys.psks():
    if key == {key!r}:
        Family(keys).remove(slot)
"""
START_S = 5  # from a reset to advertising; the phone's search bears the rest

each_air = pytest.mark.parametrize(
    "home",
    [
        pytest.param("unix", marks=[pytest.mark.targets("unix"), pytest.mark.virtual_time]),
        pytest.param("serial", marks=pytest.mark.targets("serial")),
    ],
    indirect=True,
)


@dataclass(frozen=True)
class Backends:
    """What bleak runs on; None: the system's Bluetooth."""

    scanner: Any = None
    client: Any = None


@dataclass(frozen=True)
class Home:
    """A toy that is on, and what is round it."""

    link: str
    device: Callable[[], Backends]  # one more phone
    run: Callable[[str], Awaitable[str]]  # a snippet on the toy, as over USB; it restarts then

    def phone(self, key: bytes | None = None) -> Client:
        """The phone that the toy knows, or one with another key."""
        device = self.device()
        radio = Radio(scanner=device.scanner, client=device.client)
        return Client(key or parse_link(self.link).key, radio)


MakeHome = Callable[[], AbstractAsyncContextManager[Home]]


@contextlib.asynccontextmanager
async def virtual_home(virtual_toy: MakeToy) -> AsyncIterator[Home]:
    async with family(virtual_toy) as (toy, radio, link):

        def device() -> Backends:
            phone = radio.phone()
            return Backends(phone.scanner, phone.client)

        yield Home(link, device, toy.exec_repl)


@contextlib.asynccontextmanager
async def real_home() -> AsyncIterator[Home]:
    try:
        await Radio().sightings(0.5)
    except NoBluetooth as error:
        pytest.skip(f"target serial: no Bluetooth on this computer: {error}")
    board = Commands(os.environ["HUSHBEAR_PORT"], "esp32_devkitc", dry_run=False)

    async def run(source: str) -> str:
        said = await asyncio.to_thread(board.mpremote, "exec", source, fresh=True)
        await asyncio.to_thread(board.mpremote, "reset")
        await asyncio.sleep(START_S)
        return said

    try:
        link = re.search(r"hushbear://\S+", await run(ADD_PHONE))
    except Problem as problem:
        pytest.skip(f"target serial: the board is no toy: run tools/flash.sh ({problem})")
    assert link
    try:
        yield Home(link[0], Backends, run)
    finally:
        await run(REMOVE_PHONE.format(key=parse_link(link[0]).key))


@pytest.fixture
def home(request: pytest.FixtureRequest, virtual_toy: MakeToy) -> MakeHome:
    return real_home if request.param == "serial" else lambda: virtual_home(virtual_toy)
