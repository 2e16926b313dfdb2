"""The toy's spoken name comes in pieces, and is there whole: the old one or the new one."""

from __future__ import annotations

import struct
import zlib
from typing import Any, cast

import pytest

from host_tests.link_peer import Phone, run
from host_tests.targets import Target
from hushbear import upkeep_wire, wire

NAME = bytes(i * 7 & 255 for i in range(9 * 256))
OTHER = bytes(i * 11 & 255 for i in range(8 * 256))
PIECE = wire.RECORD_MAX - 2 - struct.calcsize(upkeep_wire.NAME_HEAD)  # more than any radio takes

SOURCE = """
from hushbear import spoken_name

spoken_name.PATH = "/flash/name.ima"


def stored():
    try:
        with open(spoken_name.PATH, "rb") as file:
            return file.read()
    except OSError:
        return None


def converse(arrivals):
    return serve(new_services(), arrivals)[0]


flash = new_flash(128)
"""


def on_toy(target: Target, source: str, **args: object) -> Any:
    return run(target, SOURCE + source.replace("\n        ", "\n"), **args)


def pieces(name: bytes, size: int = PIECE) -> list[bytes]:
    head = (len(name), zlib.crc32(name))
    return [
        struct.pack(upkeep_wire.NAME_HEAD, *head, at) + name[at : at + size]
        for at in range(0, len(name), size)
    ] or [struct.pack(upkeep_wire.NAME_HEAD, 0, 0, 0)]


def says(*bodies: bytes) -> Phone:
    phone = Phone()
    for body in bodies:
        phone.record(upkeep_wire.NAME, 1, body)
    return phone


def answers(phone: Phone, sent: object) -> list[bytes]:
    return [body for _, _, body in phone.read(cast(list[bytes], sent))]


def size(number: int) -> bytes:
    return bytes([wire.OK]) + struct.pack(upkeep_wire.NAME_RESPONSE, number)


def test_a_name_is_given_changed_and_taken_away(target: Target) -> None:
    give, change = says(b"", *pieces(NAME)), says(*pieces(OTHER), b"")
    take = says(*pieces(b""), *pieces(b""), b"")
    given, name, changed, other, taken, left = on_toy(
        target,
        """
        found = []
        for arrivals in (give, change, take):
            found += [converse(arrivals), stored()]
        found[-1] = os.listdir("/flash")
        result(found)
        """,
        give=give.arrivals,
        change=change.arrivals,
        take=take.arrivals,
    )
    assert answers(give, given) == [size(0)] * 4 + [size(len(NAME))]
    assert name == NAME
    assert answers(change, changed) == [size(len(NAME))] * 2 + [size(len(OTHER))] * 2
    assert other == OTHER
    assert answers(take, taken) == [size(0)] * 3
    assert left == ["msg"]


def test_a_piece_that_comes_again_changes_nothing(target: Target) -> None:
    twice = [piece for piece in pieces(NAME, 500) for _ in range(2)]
    phone = says(*twice)
    sent, name = on_toy(target, "result((converse(arrivals), stored()))", arrivals=phone.arrivals)
    assert answers(phone, sent) == [size(0)] * (len(twice) - 2) + [size(len(NAME))] * 2
    assert name == NAME


def test_two_phones_at_once_make_no_mixture(target: Target) -> None:
    ours, theirs = pieces(NAME, 700), pieces(OTHER[:1024] + NAME[1024:], 700)
    phone = says(ours[0], theirs[0], *ours[1:], *ours)
    sent, name = on_toy(target, "result((converse(arrivals), stored()))", arrivals=phone.arrivals)
    refused = bytes([wire.RANGE])
    done = size(len(NAME))
    assert answers(phone, sent) == [*[size(0)] * 4, refused, *[size(0)] * 3, done]
    assert name == NAME


HEAD = upkeep_wire.NAME_HEAD


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x", wire.MALFORMED),
        (struct.pack(HEAD, 256, 0, 0), wire.MALFORMED),
        (struct.pack(HEAD, 255, 0, 0) + bytes(255), wire.MALFORMED),
        (struct.pack(HEAD, upkeep_wire.NAME_SIZE_MAX + 256, 0, 0) + bytes(9), wire.MALFORMED),
        (struct.pack(HEAD, 0, 0, 0) + b"x", wire.MALFORMED),
        (struct.pack(HEAD, 0, 0, 1), wire.MALFORMED),
        (struct.pack(HEAD, 256, 0, 250) + bytes(7), wire.MALFORMED),
        (struct.pack(HEAD, 0xFFFF, 0xFFFFFFFF, 0xFFFF) + bytes(700), wire.MALFORMED),
        (struct.pack(HEAD, 512, 0, 256) + bytes(256), wire.RANGE),
        (struct.pack(HEAD, 256, 0, 0) + bytes(256), wire.RANGE),  # another CRC
    ],
)
def test_what_is_no_name_leaves_the_old_one(target: Target, body: bytes, status: int) -> None:
    phone = says(*pieces(OTHER), body, b"")
    sent, name, left = on_toy(
        target,
        """
        sent = converse(arrivals)
        result((sent, stored(), os.listdir("/flash")))
        """,
        arrivals=phone.arrivals,
    )
    assert answers(phone, sent)[-2:] == [bytes([status]), size(len(OTHER))]
    assert name == OTHER
    assert sorted(left) == ["msg", "name.ima"]


def test_a_power_cut_leaves_the_old_name_or_the_new(target: Target) -> None:
    assert on_toy(
        target,
        """
        import struct
        from binascii import crc32


        def give(name):
            for at in range(0, len(name), 600):
                spoken_name.take(len(name), crc32(name), at, name[at : at + 600])


        give(old)
        image = {block: bytes(data) for block, data in flash.blocks.items()}
        seen = set()
        for torn in range(3):
            cut_at, failed = 0, True
            while failed:
                blocks = {block: bytearray(data) for block, data in image.items()}
                flash = RamFlash(128, 512, blocks, cut_at, torn)
                try:
                    mount(flash)
                    give(new)
                except OSError:
                    assert flash.dead
                failed = flash.dead
                flash = restart(flash)
                assert spoken_name.size() in (len(old), len(new))
                assert stored() in (old, new)
                seen.add(len(stored()))
                cut_at += 7
            give(new)
            assert stored() == new and os.listdir("/flash") == ["name.ima"]
        result((sorted(seen), cut_at > 30))
        """,
        old=OTHER,
        new=NAME,
    ) == ([len(OTHER), len(NAME)], True)


@pytest.mark.parametrize("damage", ["data = data[:-1]", "data = bytes(65 * 256)", "data = b''"])
def test_a_damaged_name_is_none(target: Target, damage: str) -> None:
    assert (
        on_toy(
            target,
            f"""
        data = bytes(512)
        {damage}
        with open("/flash/name.ima", "wb") as file:
            file.write(data)
        result(spoken_name.size())
        """,
        )
        == 0
    )
