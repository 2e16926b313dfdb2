"""The keys of phones and family: kept in NVS, whole after any loss of power, gone when removed."""

import ast
import base64
import re
from collections.abc import Callable
from typing import Any

import pytest

from host_tests import key_set
from host_tests.targets import Target, dedent
from host_tests.virtual.toy import VirtualToy

NVS = """
import sys


class PowerCut(BaseException):
    pass


class NVS:
    # Blobs by name. What is set is there at once, as on the ESP32 (`through`), or from the commit
    # on, as its documentation says; the power can go in any change, before it or behind it.
    flash = {}
    through = False
    left = None  # changes until the power goes
    done = False  # ... which is behind that one
    changes = 0

    def __init__(self, namespace):
        assert namespace == "hushbear"
        self.blobs = dict(NVS.flash)

    def get_blob(self, name, buf):
        if name not in self.blobs:
            raise OSError(-4354, "ESP_ERR_NVS_NOT_FOUND")
        blob = self.blobs[name]
        if len(blob) > len(buf):
            raise OSError(-4364, "ESP_ERR_NVS_INVALID_LENGTH")
        buf[: len(blob)] = blob
        return len(blob)

    def set_blob(self, name, blob):
        self.change(lambda: self.blobs.__setitem__(name, bytes(blob)), self.through)

    def erase_key(self, name):
        if name not in self.blobs:
            raise OSError(-4354, "ESP_ERR_NVS_NOT_FOUND")
        self.change(lambda: self.blobs.__delitem__(name), self.through)

    def commit(self):
        self.change(lambda: None, True)

    def change(self, change, lasting):
        cut = NVS.left == NVS.changes
        NVS.changes += 1
        if not cut or NVS.done:
            change()
            if lasting:
                NVS.flash = dict(self.blobs)
        if cut:
            raise PowerCut


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
from hushbear.family import Family, KeysFull


def key(n):
    return bytes([n]) * 32


def sender(n):
    return bytes([n]) * 8


def new_family(phones):
    family = Family(Keys())
    family.found()
    for n in range(phones):
        family.add(key(n + 1), sender(n + 1), b"phone %d" % n, 1000 + n)
    return family


def all_of():
    keys = Keys()
    family = Family(keys)
    known = family.epochs()
    return (
        keys.psks(),
        [(slot, sender, at, name.rstrip(b"\\0")) for slot, sender, at, name in family.phones()],
        [epoch for epoch, _ in known],
        known == [(epoch, keys.family_key(epoch)) for epoch, _ in known],
    )
"""


def run(target: Target, source: str, **args: object) -> Any:
    return target.run(NVS + dedent(source), args=args)


def test_phones_survive_a_restart_in_their_places(target: Target) -> None:
    assert run(
        target,
        """
        family = new_family(3)
        family.remove(1)
        before = all_of()
        slot = Family(Keys()).add(key(9), sender(9), "Gr\u00fc\u00dfe".encode(), 5)
        result((before, slot, all_of()))
        """,
    ) == (
        (
            [(0, bytes([1]) * 32), (2, bytes([3]) * 32)],
            [(0, bytes([1]) * 8, 1000, b"phone 0"), (2, bytes([3]) * 8, 1002, b"phone 2")],
            [1, 2],
            True,
        ),
        1,
        (
            [(0, bytes([1]) * 32), (1, bytes([9]) * 32), (2, bytes([3]) * 32)],
            [
                (0, bytes([1]) * 8, 1000, b"phone 0"),
                (1, bytes([9]) * 8, 5, "Grüße".encode()),
                (2, bytes([3]) * 8, 1002, b"phone 2"),
            ],
            [1, 2],
            True,
        ),
    )


def test_eight_phones_and_no_more(target: Target) -> None:
    assert run(
        target,
        """
        family = new_family(8)
        before = NVS.flash
        try:
            family.add(key(9), sender(9), b"", 0)
        except KeysFull:
            full = NVS.flash == before
        family.remove(7)
        result((full, family.add(key(9), sender(9), b"", 0), len(Keys().psks())))
        """,
    ) == (True, 7, 8)


def test_a_family_is_founded_once(target: Target) -> None:
    assert run(
        target,
        """
        keys = Keys()
        before = keys.epoch(), keys.family_key(1), keys.psks()
        family = Family(keys)
        family.found()
        first = keys.family_key(1)
        family.found()
        result((before, keys.epoch(), any(first), keys.family_key(1) == first, keys.family_key(0)))
        """,
    ) == ((0, None, []), 1, True, True, None)


def test_removing_a_phone_makes_a_family_key_and_the_eight_newest_are_kept(
    target: Target,
) -> None:
    assert run(
        target,
        """
        family = new_family(1)
        first = Keys().family_key(1)
        epochs = []
        for n in range(9):
            family.remove(0)
            epochs.append((Keys().epoch(), Keys().family_key(1) == first))
            family.add(key(n + 2), sender(2), b"", 0)
        kept = family.epochs()
        result((epochs, [each for each, _ in kept], len(set(kept)), family.epochs(9) == kept[-1:]))
        """,
    ) == (
        [(n, n <= 8) for n in range(2, 11)],
        list(range(3, 11)),
        8,
        True,
    )


def test_a_family_key_is_renewed_once_for_each_epoch_and_the_eight_newest_are_kept(
    target: Target,
) -> None:
    assert run(
        target,
        """
        family = new_family(1)
        found = []
        for above in (1, 1, 0, 2, 1, 3, 4, 5, 6, 7, 8, 9):
            before = family.epochs()
            family.renew(above)
            made = [each for each in family.epochs() if each not in before]
            assert len(family.epochs(above)) == 1 or above < before[-1][0]
            found.append([epoch for epoch, _ in made])
        flash = NVS.flash
        refused = 0
        for above in (11, 12, 0xFFFFFFFF):
            try:
                family.renew(above)
            except ValueError:
                refused += 1
        kept = [epoch for epoch, _ in Family(Keys()).epochs()]
        result((found, kept, refused, NVS.flash == flash, len(Keys().psks())))
        """,
    ) == (
        [[2], [], [], [3], [], [4], [5], [6], [7], [8], [9], [10]],
        list(range(3, 11)),
        3,
        True,
        1,
    )


def test_nothing_of_a_removed_phone_is_left(target: Target) -> None:
    assert run(
        target,
        """
        family = new_family(3)
        family.remove(1)
        kept = b"".join(NVS.flash.values())
        result([each in kept for each in (key(2), sender(2), b"phone 1", key(1), b"phone 2")])
        """,
    ) == [False, False, False, True, True]


def test_what_is_no_key_no_name_and_no_phone_is_refused(target: Target) -> None:
    assert run(
        target,
        r"""
        family = new_family(1)
        before = dict(NVS.flash)
        refused = 0
        for psk, sender, name in (
            (b"", sender(2), b""),
            (bytes(31), sender(2), b""),
            (bytes(33), sender(2), b""),
            (bytes(32), sender(2), b""),
            (key(2), bytes(8), b""),
            (key(2), b"short", b""),
            (key(2), sender(2), 33 * b"a"),
            (key(2), sender(2), b"a\nb"),
            (key(2), sender(2), b"a\0b"),
            (key(2), sender(2), b"\x1b[31m"),
            (key(2), sender(2), b"\xff\xfe"),
        ):
            try:
                family.add(psk, sender, name, 0)
            except ValueError:
                refused += 1
        for name in (33 * b"a", b"\x7f", b"\xc3"):
            try:
                family.rename(0, name)
            except ValueError:
                refused += 1
        for slot in (1, 8, -1):
            for change in (lambda: family.remove(slot), lambda: family.rename(slot, b"")):
                try:
                    change()
                except KeyError:
                    refused += 1
        result((refused, NVS.flash == before))
        """,
    ) == (20, True)


def test_a_name_is_changed(target: Target) -> None:
    assert run(
        target,
        """
        family = new_family(2)
        family.rename(1, b"kitchen" + bytes(25))
        result([name.rstrip(b"\\0") for _, _, _, name in Family(Keys()).phones()])
        """,
    ) == [b"phone 0", b"kitchen"]


CHANGES = {
    "found": ("family = Family(Keys())", "family.found()"),
    "add the first": ("family = new_family(0)", "family.add(key(8), sender(8), b'new', 7)"),
    "add one more": ("family = new_family(3)", "family.add(key(8), sender(8), b'new', 7)"),
    "add where one was": (
        "family = new_family(3); family.remove(1)",
        "family.add(key(8), sender(8), b'new', 7)",
    ),
    "remove": ("family = new_family(3)", "family.remove(1)"),
    "remove the last": ("family = new_family(1)", "family.remove(0)"),
    "rename": ("family = new_family(3)", "family.rename(1, b'new')"),
    "renew": ("family = new_family(3)", "family.renew(1)"),
    "renew where a key goes for it": (
        "family = new_family(3); [family.renew(n) for n in range(1, 8)]",
        "family.renew(8)",
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_power_cut_in_any_change_leaves_the_old_set_or_the_new(
    target: Target, change: str
) -> None:
    before, after, found, again = run(
        target,
        """
        exec(given)
        start = NVS.flash
        before = all_of()
        NVS.changes = 0
        exec(change)
        count = NVS.changes
        after = all_of()
        found = []
        again = []
        for NVS.through in (False, True):
            for NVS.done in (False, True):
                for cut in range(count):
                    NVS.flash, NVS.changes, NVS.left = start, 0, cut
                    family = Family(Keys())
                    try:
                        exec(change)
                        found.append("no cut")
                    except PowerCut:
                        NVS.left = None
                        found.append(all_of())
                    if found[-1] == before:
                        family = Family(Keys())
                        exec(change)
                        again.append(all_of())
        result((before, after, found, again))
        """,
        given=CHANGES[change][0],
        change=CHANGES[change][1],
    )
    assert before != after
    assert before in found and after in found
    assert [each for each in found if each not in (before, after)] == []
    assert again and all(each == after for each in again)


@pytest.mark.parametrize("newest", ["set0", "set1"])
@pytest.mark.parametrize("damage", ["cut", "long", "empty", "bit", "gone"])
def test_a_damaged_set_leaves_the_one_before(target: Target, newest: str, damage: str) -> None:
    older = "set1" if newest == "set0" else "set0"
    good = key_set.pack(7, {0: bytes([7]) * 32}, {1: bytes([1]) * 32})
    bad = {
        "cut": good[:-1],
        "long": good + b"x",
        "empty": b"",
        "bit": good[:50] + bytes([good[50] ^ 1]) + good[51:],
        "gone": b"",
    }[damage]
    assert run(
        target,
        """
        NVS.flash = {newest: bad, older: good}
        if gone:
            del NVS.flash[newest]
        before = Keys().psks(), Keys().epoch()
        slot = Family(Keys()).add(key(2), sender(2), b"", 0)
        result((before, slot, Keys().psks(), Keys().family_key(1)))
        """,
        newest=newest,
        older=older,
        good=good,
        bad=bad,
        gone=damage == "gone",
    ) == (
        ([(0, bytes([7]) * 32)], 1),
        1,
        [(0, bytes([7]) * 32), (1, bytes([2]) * 32)],
        bytes([1]) * 32,
    )


def test_both_sets_damaged_are_no_keys_and_the_toy_starts_anew(target: Target) -> None:
    good = key_set.pack(7, {0: bytes([7]) * 32}, {1: bytes([1]) * 32})
    bad = good[:-1] + bytes([good[-1] ^ 1])
    assert run(
        target,
        """
        NVS.flash = {"set0": bad, "set1": bad}
        before = Keys().psks(), Keys().epoch()
        new_family(1)
        result((before, Keys().psks(), Keys().epoch()))
        """,
        bad=bad,
    ) == (([], 0), [(0, bytes([1]) * 32)], 1)


def test_nvs_that_cannot_be_read_is_an_error_and_no_empty_family(target: Target) -> None:
    """Else a phone that is added then would throw the others out."""
    assert run(
        target,
        """
        family = new_family(2)

        class Broken(NVS):
            def get_blob(self, name, buf):
                raise OSError(-4353, "ESP_ERR_NVS")

        keys = Keys(Broken("hushbear"))
        raised = 0
        for read in (keys.psks, keys.epoch, lambda: Family(keys).add(key(9), sender(9), b"", 0)):
            try:
                read()
            except OSError:
                raised += 1
        result((raised, len(Keys().psks())))
        """,
    ) == (3, 2)


def test_the_set_lies_in_nvs_as_it_is_described(target: Target) -> None:
    kept, known = run(
        target,
        "family = new_family(3)\nfamily.remove(0)\nresult((NVS.flash, family.epochs()))",
    )
    assert key_set.newest(kept) == (5, {1: bytes([2]) * 32, 2: bytes([3]) * 32}, dict(known))
    assert {name: len(blob) for name, blob in kept.items()} == {
        "set1": 648,
        "name1": 32,
        "name2": 32,
    }


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
        result((refused, kept, BLE.on, len(Keys().psks()), Keys().epoch()))
        """,
    ) == (19, {}, True, 1, 1)


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
