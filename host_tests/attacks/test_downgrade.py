"""Downgrade: talk either side into something older or weaker. There is nothing else to be talked
into: one version, one handshake, one seal; whatever differs ends the connection."""

from __future__ import annotations

import os
import struct

import pytest
from noise.connection import NoiseConnection

from host_tests import hand
from host_tests.attacks.home import NOTHING, Home, home, tell
from host_tests.attacks.middle import Between, Man
from host_tests.family import MakeToy, spoken
from host_tests.messages import digest
from hushbear import pairing_wire, upkeep_wire, wire
from hushbear_companion import errors, sealing
from hushbear_companion.framing import frame
from hushbear_companion.link import parse_link
from hushbear_companion.noise import Initiator
from hushbear_companion.records import Box, StatusError
from hushbear_companion.session import Session, Timing

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

QUICK = Timing(scan=3, handshake=6)
LIST = struct.pack("<BBBI", upkeep_wire.LIST, 1, wire.OUTBOX, 0)


async def answer_to(here: Home, *said: bytes) -> bytes:
    """Say these to the toy's usual service; return all it says until it hangs up."""
    air = here.air()
    (sighting,) = await air.sightings(3, 0.6)
    stream = await air.open(sighting, 10)
    heard = b""
    for each in said:
        try:
            await stream.write(each)
        except errors.LinkLost:
            break
    while piece := await stream.read():
        heard += piece
    await stream.close()
    return heard


def weaker(name: bytes, key: bytes | None, prologue: bytes) -> bytes:
    """Return message 1 of another handshake."""
    noise = NoiseConnection.from_name(name)
    noise.set_as_initiator()
    if key:
        noise.set_psks(key)
    noise.set_prologue(prologue)
    noise.start_handshake()
    return bytes(noise.write_message())


async def test_another_handshake_is_no_handshake(virtual_toy: MakeToy) -> None:
    """Even with the family's key: another prologue, another cipher, one without the key, one that
    is shorter, or none at all."""
    async with home(virtual_toy) as here:
        key = parse_link(here.link).key
        nnpsk0 = b"Noise_NNpsk0_25519_%s"
        said = [
            *(
                (frame(Initiator(key, prologue).write_1()),)
                for prologue in (
                    b"",
                    b"Hushbear link 0",
                    b"Hushbear link 2",
                    pairing_wire.PROLOGUE,
                )
            ),
            (frame(weaker(nnpsk0 % b"ChaChaPoly_SHA256", key, wire.PROLOGUE)),),
            (frame(weaker(nnpsk0 % b"AESGCM_SHA512", key, wire.PROLOGUE)),),
            (frame(weaker(b"Noise_NN_25519_AESGCM_SHA256", None, wire.PROLOGUE)),),
            (frame(Initiator(key, wire.PROLOGUE).write_1()[:32]),),
            (frame(Initiator(bytes(32), wire.PROLOGUE).write_1()),),
            (frame(LIST),),
            (frame(struct.pack(pairing_wire.HELLO, 1, bytes(16), b"\x09" + bytes(31))),),
        ]
        heard = b""
        for each in said:
            heard += await answer_to(here, *each)
        assert heard == b""
        tell("who asked for another handshake", here.learned(heard))
        assert here.learned(heard) == NOTHING
        await here.is_well()


async def test_what_is_not_sealed_is_not_understood_in_a_session(virtual_toy: MakeToy) -> None:
    """After a genuine handshake: requests in the clear get the handshake's answer and no more."""
    async with home(virtual_toy) as here:
        key = parse_link(here.link).key
        plain = frame(LIST + bytes(16))
        heard = await answer_to(here, frame(Initiator(key, wire.PROLOGUE).write_1()), plain)
        assert len(heard) == 2 + wire.HANDSHAKE_SIZE
        tell("who asked in the clear", here.learned(heard))
        assert here.learned(heard) == NOTHING
        await here.is_well()


@pytest.mark.parametrize("version", [0, 2, 255])
async def test_another_version_of_pairing_gets_no_answer(
    virtual_toy: MakeToy, version: int
) -> None:
    """Asked for by a stranger, or by a man in the middle for the parent; no attempt is spent."""

    class Older(Man):
        async def from_phone(self, n: int, payload: bytes) -> None:
            await self.link.to_toy(bytes([version]) + payload[1:] if n == 0 else payload)

    async with home(virtual_toy) as here:
        code = await here.open_window()
        between = Between(here.air(), Older)
        with pytest.raises((errors.LinkLost, errors.WindowClosed)):
            await here.pair(between, code, QUICK)
        assert between.men and not between.men[0].answered
        await here.pair(here.air(), code)
        assert "wrong" not in hand.words(here.toy)
        tell("who asked for another version", here.learned(between.heard))
        assert here.learned(between.heard) == NOTHING
        await here.is_well()


async def test_pairing_cannot_be_finished_as_something_else(virtual_toy: MakeToy) -> None:
    """Who knows the code, and so has the key, still has to open the pairing session with it: the
    usual session's prologue, a request in the clear, and no CPace at all are refused."""
    async with home(virtual_toy) as here:
        code = await here.open_window()
        known = here.known()
        heard = b""
        for how in ("prologue", "clear", "no share"):
            async with hand.caller(here.radio.phone()) as this:
                if how == "no share":
                    await this.send(frame(Initiator(code.encode() * 5 + b"..", b"").write_1()))
                else:
                    key, _left = await this.agree(code)
                    prologue = Initiator(key, wire.PROLOGUE).write_1()
                    name = bytes([pairing_wire.PAIR, 1]) + b"Eve".ljust(46, b"\0")
                    await this.send(frame(prologue if how == "prologue" else name))
                assert await this.hung_up(within=8)
                heard += this.heard
        assert heard == b"" and here.known() == known
        await here.pair(here.air(), code)
        tell("who knew the code and another protocol", here.learned(heard))
        await here.is_well()


async def upload(session: Session, content: bytes) -> int:
    """Send a message as it is, whatever it is; return the status that COMMIT is answered with."""
    request = struct.pack(wire.SEND_REQUEST, content[16:32], len(content), digest(content))
    tag, _ = await session.request_tagged(wire.SEND, request, "take it")
    for at in range(0, len(content), wire.DATA_MAX):
        head = struct.pack(wire.DATA_HEAD, at)
        await session.send(wire.DATA, tag, head + content[at : at + wire.DATA_MAX])
    try:
        await session.request(wire.COMMIT, content[16:32], "keep it")
    except StatusError as refusal:
        return refusal.status
    return wire.OK


async def test_a_message_without_its_seal_is_kept_from_the_child(virtual_toy: MakeToy) -> None:
    """A phone of the family's sends what an older one would have sent: no seal, another version,
    another codec. The toy refuses it, and a phone refuses to open it."""
    async with home(virtual_toy) as here:
        async with here.parent() as phone:
            session = phone._session
            assert isinstance(session, Session)
            content = spoken(0.1, 4)
            assert len(content) < wire.WINDOW
            for at, value in ((6, 0), (6, 2), (4, 0), (4, 2), (5, 0)):
                older = bytearray(content)
                older[at] = value
                older[16:32] = os.urandom(16)
                assert await upload(session, bytes(older)) == wire.DAMAGED
                with pytest.raises(errors.BadMessage):
                    sealing.unseal(bytes(older), phone.family)
            assert await phone.entries(Box.INBOX) == []
            assert await upload(session, content) == wire.OK
        await here.is_well()
