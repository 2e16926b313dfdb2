"""`hushbear pair`, and what it says of the family's phones."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from host_tests.companion_command import Command, command_near, error_of, one_line
from host_tests.companion_toy import FAMILY, Refused
from host_tests.pairing_toy import CODE, OpenToy, PairingAir
from hushbear import wire
from hushbear_companion import link
from hushbear_companion.keystore import KeyStore

KEY = bytes(range(32))
LINK = str(link.ToyLink(KEY))
RIGHT, WRONG = CODE.decode(), "493026"


@pytest.fixture
def toy() -> OpenToy:
    return OpenToy(KEY)


@pytest.fixture
def air(toy: OpenToy) -> PairingAir:
    return PairingAir(toy)


@pytest.fixture
def hushbear(air: PairingAir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    return command_near(air, tmp_path, monkeypatch)


@pytest.fixture
def known(hushbear: Command, toy: OpenToy) -> Command:
    """The command, with the toy added and its window closed."""
    toy.code = None
    assert hushbear("add", LINK).exit_code == 0
    return hushbear


# Pairing


def test_pair_then_send(hushbear: Command, toy: OpenToy, tmp_path: Path) -> None:
    result = hushbear("pair", "--as", "Papa", text=f"{RIGHT}\n")
    assert result.exit_code == 0, result.stderr
    assert "knows this phone now, as Papa" in result.stdout
    assert "hushbear send" in result.stdout and "speaks" in result.stderr
    (known,) = KeyStore().toys()
    assert toy.paired == (known.key, known.sender, b"Papa" + bytes(28))
    assert known.name == "bear" and known.family == FAMILY
    path = tmp_path / "hello.wav"
    soundfile.write(path, 0.3 * np.sin(np.arange(16000) / 8), 16000)
    assert hushbear("send", path).exit_code == 0 and len(toy.inbox()) == 1


def test_pair_for_programs(hushbear: Command, toy: OpenToy) -> None:
    arguments = ("pair", "--code", RIGHT, "--name", "Bruno", "--as", "Oma", "--json")
    assert json.loads(hushbear(*arguments).stdout) == {"toy": "Bruno", "phone": "Oma", "epoch": 2}
    assert KeyStore().get("Bruno").key == toy.key


def test_without_a_name_the_phone_is_called_as_its_host(hushbear: Command, toy: OpenToy) -> None:
    assert hushbear("pair", "--code", RIGHT).exit_code == 0
    assert toy.paired and toy.paired[2].rstrip(b"\0")


def test_a_wrong_code_says_how_many_attempts_are_left_and_may_be_typed_again(
    hushbear: Command, toy: OpenToy
) -> None:
    result = hushbear("pair", text=f"{WRONG}\n49302\n{RIGHT}\n")
    assert result.exit_code == 0
    assert "2 attempts left" in result.stderr and "6 digits" in result.stderr
    assert toy.attempts == 1  # what has too few digits is not one


def test_a_wrong_code_that_was_given_is_not_asked_for(hushbear: Command, toy: OpenToy) -> None:
    result = hushbear("pair", "--code", WRONG, "--json", text=f"{RIGHT}\n")
    assert result.exit_code == 13 and error_of(result)["code"] == "wrong-code"
    assert "Tap a paw" in error_of(result)["hint"] and toy.attempts == 2
    assert not KeyStore().toys()


def test_after_three_wrong_codes_a_new_window_is_needed(hushbear: Command, toy: OpenToy) -> None:
    result = hushbear("pair", text=f"{WRONG}\n" * 5)
    assert result.exit_code == 13
    assert "no attempts left" in result.stderr.splitlines()[-1]
    assert "Hold both paws" in result.stderr.splitlines()[-1]
    assert toy.attempts == 0
    result = hushbear("pair", text=f"{RIGHT}\n")
    assert result.exit_code == 3 and "Hold both paws" in one_line(result)
    assert error_of(hushbear("pair", "--json"))["code"] == "no-window"


@pytest.mark.parametrize("text", ["", "\n"])
def test_nothing_typed(hushbear: Command, toy: OpenToy, text: str) -> None:
    result = hushbear("pair", text=text)
    assert result.exit_code == 2 and toy.attempts == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["--code", "12345"],
        ["--code", "12345a"],
        ["--code", RIGHT, "--as", ""],
        ["--code", RIGHT, "--as", "n" * 33],
        ["--code", RIGHT, "--as", "a\x1b[2J"],
        ["--code", RIGHT, "--name", "a/b"],
    ],
)
def test_what_cannot_be_is_refused_before_an_attempt_is_spent(
    hushbear: Command, toy: OpenToy, arguments: list[str]
) -> None:
    result = hushbear("pair", *arguments)
    assert result.exit_code == 2 and one_line(result).isprintable()
    assert toy.attempts == 3


def test_a_name_that_is_taken_is_refused_before_an_attempt_is_spent(
    hushbear: Command, toy: OpenToy
) -> None:
    hushbear("add", str(link.ToyLink(os.urandom(32))), "--name", "Bruno")
    assert hushbear("pair", "--code", RIGHT, "--name", "bruno").exit_code == 2
    assert toy.attempts == 3
    assert hushbear("pair", "--code", RIGHT).exit_code == 0
    assert [each.name for each in KeyStore().toys()] == ["Bruno", "bear"]


def test_several_windows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toys = OpenToy(KEY), OpenToy(os.urandom(32))
    hushbear = command_near(PairingAir(*toys), tmp_path, monkeypatch)
    result = hushbear("pair", "--code", RIGHT)
    assert result.exit_code == 13 and "--nearest" in one_line(result)
    assert hushbear("pair", "--code", RIGHT, "--nearest").exit_code == 0
    assert toys[0].paired and not toys[1].paired


def test_out_of_range(hushbear: Command, air: PairingAir) -> None:
    air.failing_connects = 9
    result = hushbear("pair", "--code", RIGHT)
    assert result.exit_code == 5 and "nearer" in one_line(result)
    air.failing_connects, air.lost = 0, {5}
    result = hushbear("pair", "--code", RIGHT)
    assert result.exit_code == 5 and "2 attempts left" in one_line(result)
    assert not KeyStore().toys()


def test_a_link_lost_at_the_last_moment_is_made_sure_of(
    hushbear: Command, toy: OpenToy, air: PairingAir
) -> None:
    air.lost = {8}  # the toy's last answer
    result = hushbear("pair", "--code", RIGHT)
    assert result.exit_code == 0 and "Asking the toy" in result.stderr
    assert toy.paired and KeyStore().get(None).key == toy.key


def test_a_phone_that_stays_in_doubt_keeps_its_key(
    hushbear: Command, toy: OpenToy, air: PairingAir
) -> None:
    air.lost = {7, *range(9, 200)}
    result = hushbear("pair", "--code", RIGHT, "--json")
    assert result.exit_code == 5 and error_of(result)["code"] == "unsure"
    assert "toys forget" in error_of(result)["hint"]
    assert len(KeyStore().toys()) == 1


def test_a_toy_that_cannot_remember_the_phone_is_not_known_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing(OpenToy):
        def remember(self) -> None:
            raise Refused(wire.FAILED)

    hushbear = command_near(PairingAir(Failing(KEY)), tmp_path, monkeypatch)
    assert hushbear("pair", "--code", RIGHT).exit_code == 10
    assert not KeyStore().toys()


def test_a_toy_that_is_paired_with_again_is_still_one_toy(hushbear: Command, toy: OpenToy) -> None:
    toy.code = None
    hushbear("add", LINK, "--name", "Bruno")
    assert hushbear("status").exit_code == 0
    old = KeyStore().get("Bruno")
    toy.code = CODE
    result = hushbear("pair", "--code", RIGHT)
    assert "Bruno knows this phone" in result.stdout and "revoked" in result.stdout
    (new,) = KeyStore().toys()
    assert (new.name, new.id, new.key) == ("Bruno", old.id, toy.key)
    assert hushbear("status").exit_code == 0


# Phones


def test_phones_are_shown(known: Command) -> None:
    values = json.loads(known("phones", "--json").stdout)
    assert values["toy"] == "bear"
    assert values["phones"][0]["here"] and values["phones"][0]["name"] == "parent"
    assert values["phones"][1] == {
        "slot": 3,
        "id": b"grandma\0".hex(),
        "name": "Grandma",
        "paired": None,
        "here": False,
    }
    assert "this phone" in known("phones").stdout and "Grandma" in known("phones").stdout


@pytest.mark.parametrize("phone", ["grandma", "3", " Grandma "])
def test_a_phone_is_revoked_by_name_or_slot(known: Command, toy: OpenToy, phone: str) -> None:
    result = known("revoke", phone, "--json")
    assert json.loads(result.stdout) == {
        "toy": "bear",
        "revoked": {"slot": 3, "id": b"grandma\0".hex(), "name": "Grandma"},
        "epoch": 3,
    }
    assert list(toy.phones) == [0]
    here = KeyStore().get(None)
    assert here.family == toy.family and [each.name for each in here.members.values()] == [
        "parent"
    ]


def test_revoking_says_what_it_means(known: Command) -> None:
    assert "new key, number 3" in known("revoke", "Grandma").stdout


def test_this_phone_is_not_revoked_by_mistake(known: Command, toy: OpenToy) -> None:
    result = known("revoke", "parent")
    assert result.exit_code == 2 and "toys forget" in one_line(result)
    assert len(toy.phones) == 2


@pytest.mark.parametrize("phone", ["nobody", "5", ""])
def test_a_phone_that_is_not_there(known: Command, phone: str) -> None:
    result = known("revoke", phone)
    assert result.exit_code == 8 and "hushbear phones" in one_line(result)
    assert error_of(known("rename", phone, "x", "--json"))["code"] == "no-such-phone"


def test_a_phone_that_takes_another_ones_name_is_told_apart_by_slot(
    known: Command, toy: OpenToy
) -> None:
    toy.phones[0] = (*toy.phones[0][:2], b"Grandma")
    toy.phones[5] = (b"stranger", 0, b"3")  # a name that looks like a slot
    result = known("revoke", "Grandma")
    assert result.exit_code == 8 and "0, 3" in one_line(result)
    assert known("revoke", "3").exit_code == 0 and sorted(toy.phones) == [0, 5]


def test_phones_are_renamed(known: Command, toy: OpenToy) -> None:
    assert json.loads(known("rename", "Papa", "--json").stdout)["slot"] == 0
    assert toy.phones[0][2] == b"Papa"
    assert "Grandma is called Oma now" in known("rename", "Grandma", "Oma").stdout
    assert toy.phones[3][2] == b"Oma" and KeyStore().get(None).members[b"grandma\0"].name == "Oma"


@pytest.mark.parametrize("names", [["n" * 33], ["a", "\x1b"], ["a", "b", "c"]])
def test_names_that_cannot_be_are_refused_before_anything_is_sent(
    known: Command, toy: OpenToy, names: list[str]
) -> None:
    assert known("rename", *names).exit_code == 2
    assert not toy.asked


def test_names_do_not_steer_a_terminal(known: Command, toy: OpenToy) -> None:
    toy.phones[3] = (b"grandma\0", 0, b"\x1b[2J[red]\x07")
    for result in (known("phones"), known("phones", "--json"), known("revoke", "3")):
        assert result.exit_code == 0
        assert not [c for c in result.stdout if not c.isprintable() and c != "\n"]


def test_a_phone_that_the_toy_has_forgotten_is_told_to_pair_again(
    known: Command, toy: OpenToy
) -> None:
    toy.key = os.urandom(32)
    result = known("phones")
    assert result.exit_code == 4 and "hushbear pair" in one_line(result)
