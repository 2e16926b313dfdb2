"""Where the attacks take place: a toy, the phone that belongs to it, and air that is everybody's.

async with home(virtual_toy) as here:
    code = await here.open_window()
    ...                                 # what is tried, with here.radio.phone()
    assert here.learned(heard) == NOTHING
    await here.is_well()
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from host_tests import hand
from host_tests.family import MakeToy, client, family, spoken
from host_tests.key_set import newest
from host_tests.messages import FAMILY, snr, speech
from host_tests.virtual.radio import Phone, VirtualRadio
from host_tests.virtual.toy import VirtualToy
from hushbear_companion import pairing
from hushbear_companion.client import Air, Client
from hushbear_companion.link import parse_link
from hushbear_companion.pairing import Membership
from hushbear_companion.session import Timing
from hushbear_companion.transport import Radio

NAME = "Papa's telephone"
HEAP = 96 * 1024
_PIECE = 12  # bytes of a secret that count as some of it
_VOICE = 77  # seed of the message that a child hears in the end
_LOUD_AND_CLEAR = 20  # dB


@dataclass(frozen=True)
class Learned:
    """What somebody came away with."""

    secrets: tuple[str, ...] = ()  # of which he heard some, by name
    places: int = 0  # in the family, for keys that are none of its own

    def __str__(self) -> str:
        found = [*self.secrets, *[f"{self.places} places in the family"] * bool(self.places)]
        return ", ".join(found) or "nothing"


NOTHING = Learned()


@dataclass
class Home:
    toy: VirtualToy
    radio: VirtualRadio
    link: str

    def __post_init__(self) -> None:
        self.keys = {parse_link(self.link).key}  # of the family's phones
        self.secrets = {f"family key {epoch}": key for epoch, key in FAMILY.items()}
        self.secrets["the phone's name"] = NAME.encode()
        self.windows = 0
        self._starts = len(self.toy.causes)

    # The family

    def parent(self, phone: Phone | None = None, **timing: float) -> Client:
        """The phone that belongs to the toy."""
        return client(phone or self.radio.phone(), self.link, **timing)

    def air(self, phone: Phone | None = None) -> Radio:
        """The air as the companion sees it, on one more phone."""
        phone = phone or self.radio.phone()
        return Radio(scanner=phone.scanner, client=phone.client)

    async def open_window(self) -> str:
        """Make the gesture and listen; return the code."""
        since = self.toy.loop.time()
        self.windows += 1
        await hand.call(self.toy)
        code = await hand.code_of(self.toy, since)
        self.secrets[f"code {self.windows}"] = code.encode()
        return code

    async def window_closes(self) -> None:
        """Wait until the toy is back at its usual service."""
        await self.toy.wait_restart(self._starts + 2 * self.windows, timeout=180)
        await asyncio.sleep(1)

    async def pair(self, air: Air, code: str, timing: Timing | None = None) -> Membership:
        """Pair another phone of the family's, with the companion. Raises what it raises."""
        timing = timing or Timing(scan=3)
        sighting = pairing.choose(await pairing.open_windows(air, timing))
        typed = pairing.check_code(code)
        return await pairing.pair(air, sighting, typed, NAME, self._keep, timing)

    def _keep(self, membership: Membership) -> None:
        self.keys.add(membership.key)

    def keep_secret(self, name: str, secret: bytes) -> None:
        """Add to what nobody is to learn."""
        self.secrets[name] = secret

    def known(self) -> set[bytes]:
        """Return the keys of the phones that the toy knows."""
        prefix = "hushbear/1/"
        stored = self.toy.nvs.stored().items()
        keys = newest({k.removeprefix(prefix): v for k, v in stored if k.startswith(prefix)})
        return set(keys.psks.values())

    # What came of it

    def learned(self, heard: bytes | bytearray) -> Learned:
        """Return what somebody knows who has heard these bytes."""
        secrets = self.secrets | {f"key {key.hex()}": key for key in self.keys | self.known()}
        found = [name for name, secret in secrets.items() if _some_of(secret, heard)]
        return Learned(tuple(found), len(self.known() - self.keys))

    async def is_well(self) -> None:
        """The family's phone is served, no failure was noted, a message is heard, nothing but
        hands started the toy anew or opened the microphone."""
        if len(self.toy.causes) < self._starts + 2 * self.windows:
            await self.window_closes()
        async with self.parent() as phone:
            assert await phone.crashlog() == ""
            await phone.send(spoken(1.2, _VOICE, phone))
            waiting = (await phone.status()).inbox
        for _ in range(waiting):
            since = self.toy.loop.time()
            await self.toy.hold("play", 0.1)
            await asyncio.sleep(14)
            pcm = self.toy.speaker.pcm(since)
            if len(pcm) and snr(pcm, speech(1.2, _VOICE)) > _LOUD_AND_CLEAR:
                break
        else:
            raise AssertionError("the message is not heard")
        assert self.keys >= self.known() and parse_link(self.link).key in self.known()
        assert len(self.toy.causes) == self._starts + 2 * self.windows, "the toy was restarted"
        assert len(self.toy.mic.opened) <= self.windows, "the microphone was opened by no hand"


def tell(who: str, learned: Learned) -> None:
    """Print the statement of what an attacker learned."""
    print(f"{who}: {learned} learned")


def _some_of(secret: bytes, heard: bytes | bytearray) -> bool:
    if len(secret) <= _PIECE:
        return secret in heard
    pieces = (secret[at : at + _PIECE] for at in range(0, len(secret) - _PIECE + 1, _PIECE))
    return any(piece in heard for piece in pieces if len(set(piece)) > 3)


@contextlib.asynccontextmanager
async def home(virtual_toy: MakeToy) -> AsyncIterator[Home]:
    async with family(virtual_toy, heap=HEAP) as (toy, radio, link):
        await hand.give_voice(toy)
        await asyncio.sleep(1)
        yield Home(toy, radio, link)
