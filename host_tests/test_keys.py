"""The keys of the phones: kept in NVS, printed once as a link, gone when removed."""

import ast
import base64
import re
from collections.abc import Callable
from typing import Any

import pytest

from host_tests.targets import Target, dedent
from host_tests.virtual.toy import VirtualToy

NVS = """
import sys


class NVS:
    # As on the ESP32: blobs by name, gone with the power unless they were committed.
    flash = {}

    def __init__(self, namespace):
        assert namespace == "hushbear"
        self.blobs = dict(self.flash)

    def get_blob(self, name, buf):
        if name not in self.blobs:
            raise OSError(-4354, "ESP_ERR_NVS_NOT_FOUND")
        blob = self.blobs[name]
        if len(blob) > len(buf):
            raise OSError(-4364, "ESP_ERR_NVS_INVALID_LENGTH")
        buf[: len(blob)] = blob
        return len(blob)

    def set_blob(self, name, blob):
        self.blobs[name] = bytes(blob)

    def erase_key(self, name):
        del self.blobs[name]

    def commit(self):
        NVS.flash = dict(self.blobs)


class esp32:
    NVS = NVS


class BLE:
    # As on the ESP32: one radio, and random numbers worth the name only while it is on.
    on = False
    broken = False

    def active(self, on):
        if self.broken:
            raise OSError(19)
        BLE.on = on


class bluetooth:
    BLE = BLE


sys.modules["esp32"] = esp32
sys.modules["bluetooth"] = bluetooth
from hushbear.keys import Keys
from hushbear.pairing import KeysFull, Pairing


def key(n):
    return bytes([n]) * 32
"""


def run(target: Target, source: str, **args: object) -> Any:
    return target.run(NVS + dedent(source), args=args)


def test_keys_survive_a_restart_in_their_slots(target: Target) -> None:
    assert run(
        target,
        """
        keys = Pairing()
        slots = [keys.add(key(n)) for n in (1, 2, 3)]
        keys.remove(1)
        before = keys.psks()
        again = Pairing()
        result((slots, before, again.psks(), again.add(key(4)), again.psks()))
        """,
    ) == (
        [0, 1, 2],
        [(0, bytes([1]) * 32), (2, bytes([3]) * 32)],
        [(0, bytes([1]) * 32), (2, bytes([3]) * 32)],
        1,
        [(0, bytes([1]) * 32), (1, bytes([4]) * 32), (2, bytes([3]) * 32)],
    )


def test_eight_phones_and_no_more(target: Target) -> None:
    assert run(
        target,
        """
        keys = Pairing()
        for n in range(1, 9):
            keys.add(key(n))
        try:
            keys.add(key(9))
        except KeysFull:
            full = len(keys.psks())
        again = keys.add(key(5))  # one that is there needs no slot
        keys.remove(7)
        result((full, again, keys.add(key(9)), len(Keys().psks())))
        """,
    ) == (8, 4, 7, 8)


def test_what_is_no_key_is_refused(target: Target) -> None:
    assert run(
        target,
        """
        keys = Pairing()
        refused = 0
        for wrong in (b"", bytes(31), bytes(33), bytes(32)):
            try:
                keys.add(wrong)
            except ValueError:
                refused += 1
        for slot in (0, 8, -1):
            try:
                keys.remove(slot)
            except KeyError:
                refused += 1
        result((refused, keys.psks(), NVS.flash))
        """,
    ) == (7, [], {})


@pytest.mark.parametrize("blob", [b"", b"\x01" * 31, b"\x01" * 33, bytes(32)])
def test_a_damaged_blob_is_no_key(target: Target, blob: bytes) -> None:
    assert run(
        target,
        """
        NVS.flash = {"psk0": blob, "psk1": key(1)}
        keys = Pairing()
        result((keys.psks(), keys.add(key(2)), Keys().psks()))
        """,
        blob=blob,
    ) == (
        [(1, bytes([1]) * 32)],
        0,
        [(0, bytes([2]) * 32), (1, bytes([1]) * 32)],
    )


def test_set_up_prints_one_link_with_a_new_key(target: Target) -> None:
    keys = run(
        target,
        """
        from hushbear import setup

        setup.add_phone()
        setup.add_phone()
        result([key for _, key in Keys().psks()])
        """,
    )
    assert isinstance(keys, list)
    links = re.findall(
        r"^hushbear://toy/([A-Za-z0-9_-]{43})\?v=1\r?$", target.output, re.MULTILINE
    )
    assert [base64.urlsafe_b64decode(link + "=") for link in links] == keys
    assert keys[0] != keys[1]
    assert len(target.output.split("<<result>>")[0].split()) == 2


def test_no_key_is_made_without_the_noise_of_the_radio(target: Target) -> None:
    assert run(
        target,
        """
        from hushbear import setup

        BLE.broken = True
        try:
            setup.add_phone()
        except OSError as error:
            refused = error.errno
        kept = dict(NVS.flash)
        BLE.broken = False
        setup.add_phone()
        result((refused, kept, BLE.on, len(NVS.flash)))
        """,
    ) == (19, {}, True, 1)


@pytest.mark.targets("unix")
@pytest.mark.virtual_time
async def test_set_up_on_a_whole_toy(virtual_toy: Callable[..., VirtualToy]) -> None:
    async with virtual_toy(main="") as toy:
        printed = await toy.exec_repl("from hushbear import setup\nsetup.add_phone()")
    async with virtual_toy(main="from hushbear.keys import Keys\nprint(Keys().psks())") as toy:
        await toy.wait_stopped()
        ((slot, key),) = ast.literal_eval(toy.console[-1])
    assert slot == 0
    link = re.fullmatch(r"hushbear://toy/([A-Za-z0-9_-]{43})\?v=1", printed.strip())
    assert link
    assert base64.urlsafe_b64decode(link[1] + "=") == key
