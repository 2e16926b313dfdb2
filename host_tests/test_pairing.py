"""Pairing by voice with the whole toy: hands on its paws, its voice, its light, and its radio."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator

import numpy as np
import pytest

from host_tests import hand
from host_tests.family import GOOD_AIR, MakeToy, client
from host_tests.hand import words
from host_tests.key_set import KeySet, newest
from host_tests.messages import configure
from host_tests.targets.unix import Unix
from host_tests.virtual.radio import VirtualRadio
from host_tests.virtual.toy import VirtualToy
from hushbear import pairing_wire, wire
from hushbear_companion.adpcm import encode
from hushbear_companion.errors import LinkLost, NoOpenWindow, WindowClosed, WrongCode
from hushbear_companion.records import Box

pytestmark = [pytest.mark.targets("unix"), pytest.mark.virtual_time]

HEAP = 96 * 1024
REFUSED = (NoOpenWindow, WindowClosed, LinkLost)  # the last one while it closes


@contextlib.asynccontextmanager
async def home(
    virtual_toy: MakeToy, board: str = "esp32_devkitc", main: str | None = None
) -> AsyncIterator[tuple[VirtualToy, VirtualRadio]]:
    """A toy that knows nobody, with a voice, and its radio."""
    radio = VirtualRadio(GOOD_AIR)
    heap = HEAP if main is None else 2 * HEAP  # a defect is loaded before all else
    async with radio, virtual_toy(air=radio, board=board, heap=heap, main=main) as toy:
        await hand.give_voice(toy)
        await asyncio.sleep(1)
        yield toy, radio


def keys_of(toy: VirtualToy) -> KeySet:
    prefix = "hushbear/1/"
    stored = toy.nvs.stored().items()
    return newest({k.removeprefix(prefix): v for k, v in stored if k.startswith(prefix)})


def link(psk: bytes) -> str:
    return f"hushbear://toy/{base64.urlsafe_b64encode(psk).decode().rstrip('=')}?v=1"


async def crashlog(toy: VirtualToy) -> str:
    return await toy.exec_repl(
        "for n in '01':\n    try:\n        print(open('/crash.' + n).read())\n"
        "    except OSError:\n        pass\n"
    )


@pytest.mark.parametrize("board", ["esp32_devkitc", "esp32_s3", "esp32_c3"])
async def test_a_phone_pairs_by_the_spoken_code(virtual_toy: MakeToy, board: str) -> None:
    async with home(virtual_toy, board) as (toy, radio):
        starts = len(toy.causes)
        await hand.call(toy)
        code = await hand.code_of(toy)
        paired = await hand.pair(radio.phone(), code)
        await hand.wait_for_words(toy, "paired")
        assert await toy.wait_restart(starts + 2)
        await asyncio.sleep(1)
        assert keys_of(toy) == (keys_of(toy).generation, {0: paired.key}, paired.family)
        assert list(paired.family) == [1]
        async with client(radio.phone(), link(paired.key)) as phone:  # it is the app again
            assert await phone.entries(Box.OUTBOX) == []  # what the paw recorded was not meant
            assert await phone.crashlog() == ""
        with pytest.raises(REFUSED):
            await hand.pair(radio.phone(), code)


async def test_the_code_is_said_twice_and_again_on_a_tap(virtual_toy: MakeToy) -> None:
    async with home(virtual_toy) as (toy, _):
        await hand.call(toy)
        code = await hand.code_of(toy)
        await hand.wait_for_words(toy, "pairing", *code, "pairing", *code)
        await asyncio.sleep(3)
        since = toy.loop.time()
        assert since - toy.speaker.sounds[-1].start > 2
        await toy.hold("play", 0.1)
        await hand.wait_for_words(toy, "pairing", *code, since=since)
        await asyncio.sleep(3)
        assert words(toy, since) == ["pairing", *code]


async def test_an_open_window_can_be_seen(virtual_toy: MakeToy) -> None:
    async with home(virtual_toy) as (toy, _):
        await hand.call(toy)
        await hand.code_of(toy)
        for _ in range(5):
            since = toy.loop.time()
            await asyncio.sleep(2)
            changes = [light for light in toy.led.history if light.time >= since]
            assert 18 <= len(changes) <= 22
            assert 0.4 < toy.led.lit(since, toy.loop.time()) < 0.6


async def test_three_wrong_codes_close_the_window(virtual_toy: MakeToy) -> None:
    async with home(virtual_toy) as (toy, radio):
        starts = len(toy.causes)
        await hand.call(toy)
        code = await hand.code_of(toy)
        wrong = f"{(int(code) + 1) % 1000000:06}"
        for left in (2, 1, 0):
            with pytest.raises(WrongCode) as raised:
                await hand.pair(radio.phone(), wrong)
            assert raised.value.left == left
        await hand.wait_for_words(toy, "closed")
        assert words(toy).count("wrong") >= 1
        await toy.wait_restart(starts + 2)
        await asyncio.sleep(1)
        with pytest.raises(REFUSED):
            await hand.pair(radio.phone(), code)
        assert keys_of(toy).psks == {}
        assert await crashlog(toy) == ""


async def test_the_right_code_counts_up_to_the_third_attempt(virtual_toy: MakeToy) -> None:
    async with home(virtual_toy) as (toy, radio):
        await hand.call(toy)
        code = await hand.code_of(toy)
        for _ in range(2):
            with pytest.raises(WrongCode):
                await hand.pair(radio.phone(), code[::-1] if code != code[::-1] else "102030")
        paired = await hand.pair(radio.phone(), code)
        await hand.wait_for_words(toy, "paired")
        assert keys_of(toy).psks == {0: paired.key}


async def test_the_window_closes_after_two_minutes(virtual_toy: MakeToy) -> None:
    async with home(virtual_toy) as (toy, radio):
        starts = len(toy.causes)
        await hand.call(toy)
        code = await hand.code_of(toy)
        opened = toy.loop.time()
        for _ in range(9):  # taps do not lengthen it
            await asyncio.sleep(12)
            await toy.hold("record", 0.1)
        await hand.wait_for_words(toy, "closed")
        assert 105 < toy.loop.time() - opened < 121
        await toy.wait_restart(starts + 2)
        with pytest.raises(REFUSED):
            await hand.pair(radio.phone(), code)
        assert len(toy.mic.opened) == 1  # in the gesture, by the app


async def test_a_power_cut_closes_the_window(virtual_toy: MakeToy) -> None:
    async with home(virtual_toy) as (toy, radio):
        await hand.call(toy)
        code = await hand.code_of(toy)
        toy.power_cut()
        await toy.restart()
        await asyncio.sleep(2)
        with pytest.raises(REFUSED):
            await hand.pair(radio.phone(), code)
        assert toy.stopped is None


async def test_each_window_has_a_new_code(virtual_toy: MakeToy) -> None:
    async with home(virtual_toy) as (toy, _radio):
        codes = set()
        for _ in range(3):
            since = toy.loop.time()
            await hand.call(toy)
            codes.add(await hand.code_of(toy, since))
            await toy.restart()
            await asyncio.sleep(1)
        assert len(codes) == 3


async def test_breaking_off_spends_an_attempt(virtual_toy: MakeToy) -> None:
    """A guesser learns from the toy's answer whether the guess was right: each answer counts."""
    async with home(virtual_toy) as (toy, radio):
        await hand.call(toy)
        code = await hand.code_of(toy)
        for left in (2, 1, 0):
            async with hand.caller(radio.phone()) as this:
                assert (await this.agree("111222"))[1] == left
        await hand.wait_for_words(toy, "closed")
        with pytest.raises(REFUSED):
            await hand.pair(radio.phone(), code)


async def test_a_phone_that_leaves_before_paired_is_not_kept(virtual_toy: MakeToy) -> None:
    async with home(virtual_toy) as (toy, radio):
        await hand.call(toy)
        code = await hand.code_of(toy)
        async with hand.caller(radio.phone()) as this:
            assert await this.open((await this.agree(code))[0])
            lost = await this.keys(b"lost")
        await asyncio.sleep(1)
        assert keys_of(toy).psks == {}
        paired = await hand.pair(radio.phone(), code)  # one attempt is spent, two are left
        await hand.wait_for_words(toy, "paired")
        assert keys_of(toy).psks == {0: paired.key}
        assert paired.key != lost.key and paired.family == lost.family


async def test_eight_phones_are_enough(virtual_toy: MakeToy) -> None:
    async with home(virtual_toy) as (toy, _radio):
        await toy.exec_repl(
            "from hushbear.family import Family\nfrom hushbear.keys import Keys\n"
            "family = Family(Keys())\nfamily.found()\n"
            "for n in range(8):\n    family.add(bytes([n + 1]) * 32, b'12345678', b'', 0)\n"
        )
        await asyncio.sleep(1)
        starts = len(toy.causes)
        await hand.call(toy)
        await hand.wait_for_words(toy, "full")
        await toy.wait_restart(starts + 2)
        assert "pairing" not in words(toy)
        assert len(keys_of(toy).psks) == 8


async def test_the_volume_does_not_silence_the_code(virtual_toy: MakeToy) -> None:
    async with home(virtual_toy) as (toy, _):
        await configure(toy, volume=0)
        await toy.restart()
        await asyncio.sleep(1)
        await hand.call(toy)
        await hand.code_of(toy)


async def test_without_a_voice_no_window_opens(virtual_toy: MakeToy) -> None:
    async with home(virtual_toy) as (toy, radio):
        await toy.exec_repl("import os; os.remove('/voice')")
        await asyncio.sleep(1)
        starts = len(toy.causes)
        await hand.call(toy)
        await toy.wait_restart(starts + 2)
        with pytest.raises(REFUSED):
            await hand.pair(radio.phone(), "123123")
        assert "voice" in await crashlog(toy)


async def test_strangers_without_a_guess_do_not_hold_the_window(virtual_toy: MakeToy) -> None:
    async def sit(radio: VirtualRadio, words: bytes) -> None:
        phone = radio.phone()
        while True:
            with contextlib.suppress(Exception):
                async with hand.caller(phone) as this:
                    await this.send(words)
                    await this.hung_up(within=60)

    async with home(virtual_toy) as (toy, radio):
        await hand.call(toy)
        code = await hand.code_of(toy)
        strangers = [
            asyncio.create_task(sit(radio, words)) for words in (b"", b"\x31\0\x01 half of it")
        ]
        await asyncio.sleep(15)
        paired = await hand.pair(radio.phone(), code)
        for stranger in strangers:
            stranger.cancel()
        await asyncio.gather(*strangers, return_exceptions=True)
        await hand.wait_for_words(toy, "paired")
        assert "wrong" not in words(toy)
        assert keys_of(toy).psks == {0: paired.key}
        assert await crashlog(toy) == ""


@pytest.mark.parametrize(
    "said",
    [
        b"\x30\0" + bytes(48),  # as a session begins elsewhere
        b"\x31\0\x02" + bytes(48),  # another version
        b"\xff\xff" + bytes(20),
        b"\0\0",
        bytes(150),
        b"\x31\0\x01" + bytes(48),  # a point of small order
        b"\x31\0\x01" + bytes(16) + b"\x01" + bytes(31),
    ],
    ids=["session", "version", "long", "empty", "zeros", "zero point", "small order"],
)
async def test_what_is_no_greeting_costs_the_window_nothing(
    virtual_toy: MakeToy, said: bytes
) -> None:
    async with home(virtual_toy) as (toy, radio):
        await hand.call(toy)
        code = await hand.code_of(toy)
        for _ in range(5):
            async with hand.caller(radio.phone()) as this:
                await this.send(said)
                assert await this.hung_up(within=7)
                assert this.heard == b""
        await hand.pair(radio.phone(), code)
        await hand.wait_for_words(toy, "paired")
        assert "wrong" not in words(toy)
        assert await crashlog(toy) == ""


async def test_a_hostile_phone_that_knows_the_code_gets_one_place_at_most(
    virtual_toy: MakeToy,
) -> None:
    async with home(virtual_toy) as (toy, radio):
        await hand.call(toy)
        code = await hand.code_of(toy)
        async with hand.caller(radio.phone()) as this:
            assert await this.open((await this.agree(code))[0])
            assert await this.ask(pairing_wire.PAIRED) == (wire.MALFORMED, b"")
            assert await this.ask(wire.FETCH, bytes(24)) == (wire.UNKNOWN, b"")
            assert await this.ask(pairing_wire.PAIR, b"short") == (wire.MALFORMED, b"")
            assert await this.ask(pairing_wire.PAIR, b"\xff" * 32) == (wire.MALFORMED, b"")
            assert await this.ask(pairing_wire.PAIR, b"\x01" * 32) == (wire.MALFORMED, b"")
            assert await this.ask(pairing_wire.PAIRED) == (wire.MALFORMED, b"")
            first = await this.keys(b"one")
            second = await this.keys(b"two")
            assert await this.ask(pairing_wire.PAIRED, b"!") == (wire.MALFORMED, b"")
            assert await this.ask(pairing_wire.PAIRED) == (wire.OK, b"")
            assert await this.hung_up(within=5)
        await hand.wait_for_words(toy, "paired")
        assert first.key != second.key
        assert keys_of(toy).psks == {0: second.key}
        assert await crashlog(toy) == ""


async def test_a_phone_that_opens_the_session_and_waits_is_cut_off(virtual_toy: MakeToy) -> None:
    async with home(virtual_toy) as (toy, radio):
        await hand.call(toy)
        code = await hand.code_of(toy)
        async with hand.caller(radio.phone()) as this:
            assert await this.open((await this.agree(code))[0])
            assert await this.hung_up(within=25)
        await hand.pair(radio.phone(), code)
        await hand.wait_for_words(toy, "paired")


# The firmware, with a defect in the hand program only
WITH = """
exec(open("/firmware/boot.py").read())
import board
if board.mode:
    import hushbear.link
    import hushbear.{module} as module
    def fails(*args):
        raise ValueError("defect")
    module.{name} = fails
exec(open("/firmware/main.py").read())
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("hand.program", "Program"),
        ("hand.program", "Family"),
        ("hand.program", "new_code"),
        ("hand.window", "Window.over"),
        ("link.radio", "Radio.run"),
    ],
)
async def test_a_failure_ends_in_the_app(virtual_toy: MakeToy, module: str, name: str) -> None:
    async with home(virtual_toy, main=WITH.format(module=module, name=name)) as (toy, radio):
        starts = len(toy.causes)
        await hand.call(toy)
        await toy.wait_restart(starts + 2)
        await asyncio.sleep(30)
        assert len(toy.causes) == starts + 2
        assert toy.stopped is None
        with pytest.raises(REFUSED):
            await hand.pair(radio.phone(), "123123")
        assert "defect" in await crashlog(toy)


async def test_a_defect_in_a_session_costs_that_session(virtual_toy: MakeToy) -> None:
    main = WITH.format(module="hand.pairing", name="kdf.extract")
    async with home(virtual_toy, main=main) as (toy, radio):
        await hand.call(toy)
        code = await hand.code_of(toy)
        for _ in range(3):
            with pytest.raises(REFUSED):
                await hand.pair(radio.phone(), code)
        await hand.wait_for_words(toy, "pairing", *code, "pairing", *code)
        assert "wrong" not in words(toy)
        assert "defect" in await crashlog(toy)


CODES = """
from hushbear.hand import code
numbers = iter({numbers})
code.urandom = lambda n: next(numbers).to_bytes(n, "big")
result([code.new_code() for _ in range(3)])
"""
TRIVIAL = [
    *(n * 111111 for n in range(10)),
    *(12345, 123456, 234567, 345678, 456789),
    *(543210, 654321, 765432, 876543, 987654),
]


async def test_codes_are_uniform_and_not_trivial() -> None:
    unfair = [16000000, 16777215]  # some codes would have one number more than the others
    numbers = [*unfair, *TRIVIAL, 15999999, 12346, 7, 1012345, 1000010]
    found = Unix().run(CODES.format(numbers=numbers))
    assert found == [b"012346", b"000007", b"000010"]


async def test_a_toy_with_a_name_says_it_before_the_code(virtual_toy: MakeToy) -> None:
    t = np.arange(8 * 505) / hand.RATE
    name = encode(np.asarray(9000 * np.sin(2 * np.pi * 6000 * t), np.int16))  # no prompt's note
    async with home(virtual_toy) as (toy, _):
        text = base64.b64encode(name)
        await toy.exec_repl(
            "import binascii\nwith open('/name.ima', 'wb') as file:\n"
            f"    file.write(binascii.a2b_base64({text!r}))\n"
        )
        await asyncio.sleep(1)
        await hand.call(toy)
        await asyncio.sleep(10)
        said = words(toy)
        at = said.index("pairing")
        assert said[at + 1] == "-"
        assert all(word.isdigit() for word in said[at + 2 : at + 8])
