"""The commands for relatives, each phone in processes of its own, over a relay in another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from host_tests.companion_toy import FAMILY
from host_tests.far_phones import FarPhone, grandma, invite, line_of, parent, server
from host_tests.relay.running import Process
from hushbear_companion import mailboxes
from hushbear_companion.errors import KeysUnsafe, UsageError
from hushbear_companion.toy import Role

__all__ = ["grandma", "parent", "server"]


def test_a_relative_joins_by_what_is_said_on_the_telephone(
    parent: FarPhone, grandma: FarPhone
) -> None:
    joined = invite(parent, grandma, "Grandma")
    toy, (relative,) = grandma.toy, parent.toy.relatives
    assert (joined["toy"], joined["phone"], joined["name"]) == ("Bruno", "Grandma", "Papa")
    assert toy.key is None and toy.family == {max(FAMILY): FAMILY[max(FAMILY)]}
    assert (relative.role, relative.sender) == (Role.RELATIVE, toy.sender)
    members = parent.run("family")["members"]
    assert [(each["name"], each["role"]) for each in members] == [
        ("Mama", "phone"),
        ("Grandma", "relative"),
    ]
    assert members[1]["since"] and members[1]["id"] == joined_id(grandma)
    assert [each["role"] for each in grandma.run("family")["members"]] == ["parent"]
    for arguments in (("status",), ("toys", "show"), ("invite", "Grandpa")):
        assert grandma.run(*arguments, code=15)["error"]["code"] == "far-away"


def joined_id(phone: FarPhone) -> str:
    assert phone.toy.sender
    return phone.toy.sender.hex()


def test_a_wrong_code_is_said_on_both_sides_and_lets_nobody_in(
    parent: FarPhone, grandma: FarPhone
) -> None:
    inviting = parent.start("invite", "Grandma", "--json")
    number, *words = line_of(inviting.stderr).split()[-1].split("-")
    wrong = "zoo" if words[0] != "zoo" else "zone"
    assert grandma.run("join", number, wrong, words[1], code=13)["error"]["code"] == "wrong-code"
    out, _ = inviting.communicate(timeout=120)
    assert inviting.returncode == 13 and json.loads(out)["error"]["code"] == "wrong-code"
    again = grandma.run("join", number, *words, code=13)
    assert again["error"]["code"] == "invitation-over"
    assert not parent.toy.relatives and not grandma.store.toys()


def test_without_a_relay_nothing_happens(parent: FarPhone, server: Process) -> None:
    assert parent.run("relay")["relay"] == server.url
    server.kill()
    error = parent.run("relay", "http://localhost:9", code=15)["error"]
    assert error["code"] == "relay-unreachable"
    assert parent.run("relay")["relay"] == server.url
    assert parent.run("invite", "Grandma", code=15)["error"]["code"] == "relay-unreachable"
    (parent.directory / "relay.json").unlink()
    assert parent.run("invite", "Grandma", code=15)["error"]["code"] == "no-relay"
    assert parent.run("join", "123", "zoo", "aband", code=15)["error"]["code"] == "no-relay"
    assert parent.run("join", "123", "zoo", code=2)["error"]["code"] == "bad-code"


def test_a_name_that_somebody_has_is_refused_before_anybody_is_invited(parent: FarPhone) -> None:
    assert "already" in parent.run("invite", "mama", code=2)["error"]["message"]


@pytest.mark.parametrize(
    "url",
    [
        *("", "relay.example", "ftp://relay.example", "https://", "http://relay.example"),
        *("https://a:b@relay.example", "https://relay.example/?x", "https://relay.example/#x"),
        *("https://relay.example:99999", "https://[", "https://relay.example/ x", "https://ä"),
        "https://relay.example/" + "x" * 1000,
    ],
)
def test_odd_urls_are_refused(url: str) -> None:
    with pytest.raises(UsageError):
        mailboxes.check_url(url)


def test_the_secret_is_this_phones_own_and_stays(tmp_path: Path) -> None:
    first = mailboxes.use("https://one.example/", tmp_path)
    second = mailboxes.use("https://two.example/relay", tmp_path)
    assert first.secret == second.secret == mailboxes.get(tmp_path).secret
    assert (first.url, second.url) == ("https://one.example", "https://two.example/relay")
    assert mailboxes.use("https://one.example", tmp_path / "other").secret != first.secret
    path = tmp_path / "relay.json"
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(KeysUnsafe, match="read by others"):
        mailboxes.get(tmp_path)
    path.chmod(0o600)
    for content in (b"", b"[]", b"{}", b"\xff", b'{"version": 1, "relay": 1, "secret": ""}'):
        path.write_bytes(content)
        with pytest.raises(KeysUnsafe, match="is damaged"):
            mailboxes.get(tmp_path)
