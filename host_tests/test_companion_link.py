"""The link that carries a toy's key, its QR code, and the file in which keys are kept."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hushbear_companion import link
from hushbear_companion.errors import BadLink, FileProblem, KeysUnsafe, NoSuchToy, UsageError
from hushbear_companion.keystore import EPOCHS_MAX, KeyStore
from hushbear_companion.link import ToyLink, parse_link
from hushbear_companion.toy import Away, Member, Role

KEY = bytes(range(224, 256))
TEXT = "hushbear://toy/4OHi4-Tl5ufo6err7O3u7_Dx8vP09fb3-Pn6-_z9_v8?v=1"


@given(st.binary(min_size=32, max_size=32))
def test_a_key_survives_the_link(key: bytes) -> None:
    assert parse_link(str(ToyLink(key))).key == key


def test_the_link_is_what_set_up_prints() -> None:
    assert str(ToyLink(KEY)) == TEXT
    assert parse_link(f"  {TEXT}\r\n").key == KEY


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hushbear://toy/",
        TEXT[:-4],
        TEXT[:-1],
        TEXT + "1",
        TEXT + "&x=1",
        TEXT.replace("v=1", "v=01"),
        TEXT.replace("v=1", "v=2"),
        TEXT.replace("v=1", "v=٢"),
        TEXT.replace("hushbear", "HUSHBEAR"),
        TEXT.replace("toy", "bear"),
        TEXT.replace("4OHi", "4OH+"),
        TEXT.replace("4OHi", "4OHié"),
        TEXT.replace("4OHi", "4OH\n"),
        TEXT.replace("_v8?", "_v9?"),  # the same key in another spelling
        TEXT.replace("?", "=?"),
        TEXT.replace("4OHi", "4OH"),
        TEXT.replace("4OHi", "4OHii"),
        TEXT.replace("4OHi", "4OHi" * 100_000),
        TEXT.replace("v=1", "v=0"),
        TEXT.replace("v=1", "v=-1"),
        TEXT.replace("v=1", "v="),
        TEXT.replace("v=1", "v=99999"),
        "https://example.org/?u=" + TEXT,
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(BadLink) as raised:
        parse_link(text)
    assert raised.value.hint


@given(
    st.text(max_size=80)
    | st.text("AZaz09_-", min_size=42, max_size=44).map(lambda key: f"hushbear://toy/{key}?v=1")
)
@example(TEXT)
def test_the_parser_takes_one_spelling_or_raises(text: str) -> None:
    try:
        parsed = parse_link(text)
    except BadLink:
        return
    assert str(parsed) == text.strip()


def test_a_key_is_not_in_what_a_log_would_print(tmp_path: Path) -> None:
    toy = KeyStore(tmp_path).add("bear", KEY)
    for text in (repr(ToyLink(KEY)), repr(toy)):
        assert "4OHi" not in text and "xe0" not in text


def test_a_key_of_another_length_is_refused() -> None:
    with pytest.raises(BadLink):
        ToyLink(bytes(31))


def test_the_qr_code_goes_to_a_terminal_a_png_and_an_svg(tmp_path: Path) -> None:
    shown = io.StringIO()
    link.show(ToyLink(KEY), shown)
    assert TEXT in shown.getvalue() and "█" in shown.getvalue()
    (tmp_path / "qr.png").write_bytes(b"")  # one that others can read already
    os.chmod(tmp_path / "qr.png", 0o644)
    link.save_png(ToyLink(KEY), tmp_path / "qr.png")
    link.save_svg(ToyLink(KEY), tmp_path / "qr.svg")
    assert (tmp_path / "qr.png").read_bytes().startswith(b"\x89PNG")
    assert b"<svg" in (tmp_path / "qr.svg").read_bytes()
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


# Keys


@pytest.fixture
def store(tmp_path: Path) -> KeyStore:
    return KeyStore(tmp_path / "config" / "hushbear")


def test_toys_are_kept_in_a_private_file(store: KeyStore) -> None:
    store.add("bear", KEY)
    store.add("Grandma's rabbit", bytes(32))
    assert [toy.name for toy in KeyStore(store.directory).toys()] == ["bear", "Grandma's rabbit"]
    assert store.get("BEAR").key == KEY
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.directory.stat().st_mode) == 0o700


def test_the_environment_says_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HUSHBEAR_CONFIG", str(tmp_path / "here"))
    assert KeyStore().path == tmp_path / "here" / "toys.json"
    monkeypatch.delenv("HUSHBEAR_CONFIG")
    assert KeyStore().directory.name == "hushbear"


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660])
def test_a_file_that_others_can_read_is_refused(store: KeyStore, mode: int) -> None:
    store.add("bear", KEY)
    store.path.chmod(mode)
    with pytest.raises(KeysUnsafe, match="chmod 600"):
        store.toys()
    with pytest.raises(KeysUnsafe):
        store.add("rabbit", bytes(32))


def test_a_directory_that_others_could_enter_is_closed_to_them(store: KeyStore) -> None:
    store.directory.mkdir(mode=0o755, parents=True)
    store.add("bear", KEY)
    assert stat.S_IMODE(store.directory.stat().st_mode) == 0o700


def test_the_same_key_again_is_a_new_name(store: KeyStore) -> None:
    first = store.add("bear", KEY)
    second = store.add("Bruno", KEY)
    assert [toy.name for toy in store.toys()] == ["Bruno"]
    assert first.id == second.id


GRANDMA = Member("Grandma", Role.PHONE, 1_790_000_000)


def test_what_a_toy_tells_of_its_family_is_added_to_what_is_known(store: KeyStore) -> None:
    store.add("rabbit", bytes(32))
    assert store.add("bear", KEY).sender is None
    store.learn(KEY, None, {1: b"1" * 32}, {})
    store.learn(KEY, b"this one", {2: b"2" * 32}, {b"grandma\0": GRANDMA})
    store.learn(KEY, b"this one", {}, {})
    store.learn(b"x" * 32, b"of a toy", {1: b"3" * 32}, {})
    bear = store.add("Bruno", KEY)
    assert bear == store.get("Bruno")
    assert (bear.sender, bear.family) == (b"this one", {1: b"1" * 32, 2: b"2" * 32})
    assert bear.members == {b"grandma\0": GRANDMA}
    assert not store.get("rabbit").family and len(store.toys()) == 2
    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    for secret in (KEY, b"1" * 32):
        assert str(secret) not in repr(bear)


def test_of_many_family_keys_the_newest_are_kept(store: KeyStore) -> None:
    store.add("bear", KEY)
    store.learn(KEY, None, dict.fromkeys(range(1, EPOCHS_MAX + 3), KEY), {})
    assert list(store.get(None).family) == list(range(3, EPOCHS_MAX + 3))


def test_a_file_from_before_messages_were_sealed_is_taken_over(store: KeyStore) -> None:
    store.directory.mkdir(parents=True)
    store.path.write_text(json.dumps({"version": 1, "toys": [ROW | {"sender": "22" * 8}]}))
    store.path.chmod(0o600)
    before = store.get("bear")
    assert (before.key, before.sender, before.family) == (KEY, None, {})
    store.learn(KEY, b"this one", {1: b"1" * 32}, {})
    assert json.loads(store.path.read_text())["version"] == 4
    after = store.get("bear")
    assert after.id == before.id and after.family == {1: b"1" * 32}


@pytest.mark.parametrize("version", [2, 3])
def test_a_file_from_before_mailboxes_changed_is_taken_over(store: KeyStore, version: int) -> None:
    store.directory.mkdir(parents=True)
    row = ROW_2 | {"members": {"55" * 8: "Mama"}, "relatives": [RELATIVE | {"writer": "44"}]}
    store.path.write_text(json.dumps({"version": version, "toys": [row]}))
    store.path.chmod(0o600)
    before = store.get("bear")
    assert (before.key, before.id, before.relatives) == (KEY, b"\x11" * 8, ())
    assert before.names == {b"\x55" * 8: "Mama"}


def test_a_toy_that_is_far_away_has_no_key_and_keeps_its_relatives(store: KeyStore) -> None:
    store.directory.mkdir(parents=True)
    row = ROW_4 | {"key": None, "family": {"1": ROW["key"]}}
    store.path.write_text(json.dumps({"version": 4, "toys": [row]}))
    store.path.chmod(0o600)
    far = store.get("bear")
    assert far.key is None
    assert far.names == {b"\x22" * 8: "Grandma", b"\x55" * 8: "Mama"}
    store.learn_keys(far.id, {1: b"other" * 6 + b"xx", 2: b"2" * 32})  # what was known stays
    assert store.get("bear").family == {1: KEY, 2: b"2" * 32}
    assert store.get("bear").relatives == far.relatives
    assert str(far.relatives[0].secret) not in repr(far)
    store.add("near", bytes(32), b"this one", {2: b"2" * 32})  # paired with, at last
    near = store.unite(bytes(32), keep_name=True)
    assert (near.name, near.key, near.id) == ("bear", bytes(32), far.id)
    assert near.relatives == far.relatives and near.away == far.away != Away()
    assert len(store.toys()) == 1


def test_a_name_that_is_taken_is_refused(store: KeyStore) -> None:
    store.add("bear", KEY)
    with pytest.raises(UsageError, match="--name"):
        store.add("Bear", bytes(32))
    assert store.get("bear").key == KEY


@pytest.mark.parametrize(
    "name",
    [
        *("", " ", "-x", "a" * 41, "a" * 100_000, ".", "..", "../x", "/x", "a/b", "a\\b", "C:x"),
        *("a\nb", "a\0", "\x1b[2J", "a\x9b31m", "a\x7f", "[red]a", "\ud800"),
        *("\u202eraeb", "bear\u200f", "be\u200bar", "be\u2066ar", "\ufeffbear"),
    ],
)
def test_odd_names_are_refused(store: KeyStore, name: str) -> None:
    with pytest.raises(UsageError):
        store.add(name, KEY)
    assert not store.toys()


def test_choosing_a_toy(store: KeyStore) -> None:
    with pytest.raises(NoSuchToy, match="hushbear add"):
        store.get(None)
    store.add("bear", KEY)
    assert store.get(None).name == "bear"
    store.add("rabbit", bytes(32))
    with pytest.raises(UsageError, match="--toy"):
        store.get(None)
    with pytest.raises(NoSuchToy, match="Known: bear, rabbit"):
        store.get("mouse")
    assert store.remove("bear").key == KEY
    assert [toy.name for toy in store.toys()] == ["rabbit"]


def test_a_crash_while_writing_leaves_the_old_file(
    store: KeyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.add("bear", KEY)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", crash)
        with pytest.raises(KeyboardInterrupt):
            store.add("rabbit", bytes(32))
    assert [toy.name for toy in store.toys()] == ["bear"]
    assert sorted(p.name for p in store.directory.iterdir()) == [".lock", "toys.json"]


ROW = {"name": "bear", "key": TEXT[15:58], "sender": "00" * 8}
ROW_2 = ROW | {"id": "11" * 8, "family": {}, "members": {}}
WRONG_2: list[dict[str, object]] = [
    {"id": "00"},
    {"sender": ""},
    {"family": {"0": ROW["key"]}},
    {"family": {"-1": ROW["key"]}},
    {"family": {str(1 << 32): ROW["key"]}},
    {"family": {"1": "x"}},
    {"family": []},
    {"members": {"00": "x"}},
]
RELATIVE = {
    "name": "Grandma", "role": "relative", "sender": "22" * 8, "since": 1_790_000_000,
    "mailbox": "33" * 32, "secret": ROW["key"],
}  # fmt: skip
MEMBER = {"name": "Mama", "role": "phone", "since": 0}
AWAY = {"mailbox": 1, "closing": [0], "leaving": [], "spent": 1, "revision": 2, "told": "44"}
ROW_4 = ROW_2 | {
    "members": {"55" * 8: MEMBER}, "relatives": [RELATIVE], "away": AWAY,
}  # fmt: skip
WRONG_4: list[dict[str, object]] = [
    *WRONG_2,
    {"members": {"55" * 8: MEMBER | {"role": "friend"}}},
    {"members": {"55" * 8: MEMBER | {"since": -1}}},
    {"members": {"55" * 8: "Mama"}},
    {"away": None},
    *[dict[str, object](away=AWAY | {each: "x"}) for each in AWAY],
    {"away": AWAY | {"closing": [1 << 32]}},
    {"away": AWAY | {"spent": True}},
    {"away": AWAY | {"leaving": [RELATIVE | {"secret": "x"}]}},
    {"relatives": None},
    {"relatives": [1]},
    {"relatives": [RELATIVE | {"role": "friend"}]},
    {"relatives": [RELATIVE | {"sender": "22"}]},
    {"relatives": [RELATIVE | {"since": "now"}]},
    {"relatives": [RELATIVE | {"mailbox": "33"}]},
    {"relatives": [RELATIVE | {"secret": None}]},
]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'{"version": 5, "toys": []}',
        b'{"version": 2, "toys": [{}]}',
        b'{"version": 1, "toys": [1]}',
        b"\xff\xfe",
        b"[" * 100_000,
        b" " * (1 << 21),
        json.dumps({"version": 1, "toys": [ROW | {"key": "x"}]}).encode(),
        json.dumps({"version": 1, "toys": [ROW | {"key": 5}]}).encode(),
        json.dumps({"version": 1, "toys": [ROW | {"sender": "00"}]}).encode(),
        json.dumps({"version": 1, "toys": [ROW | {"name": "\n"}]}).encode(),
        *(json.dumps({"version": 2, "toys": [ROW_2 | wrong]}).encode() for wrong in WRONG_2),
        *(json.dumps({"version": 4, "toys": [ROW_4 | wrong]}).encode() for wrong in WRONG_4),
    ],
)
def test_a_damaged_file_is_one_clear_line(store: KeyStore, content: bytes) -> None:
    store.directory.mkdir(parents=True)
    store.path.write_bytes(content)
    store.path.chmod(0o600)
    with pytest.raises(KeysUnsafe, match="is damaged"):
        store.toys()


@pytest.mark.parametrize("kind", ["directory", "pipe", "link to nowhere", "link to itself"])
def test_what_is_no_file_is_one_clear_line_at_once(store: KeyStore, kind: str) -> None:
    store.directory.mkdir(parents=True)
    if kind == "directory":
        store.path.mkdir()
    elif kind == "pipe":
        os.mkfifo(store.path, 0o600)
    else:
        store.path.symlink_to("nowhere" if "nowhere" in kind else store.path)
    if kind == "link to nowhere":
        assert store.toys() == []
    else:
        with pytest.raises(KeysUnsafe):
            store.toys()


def test_a_configuration_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "config").write_bytes(b"")
    store = KeyStore(tmp_path / "config")
    with pytest.raises(KeysUnsafe, match="Not a directory"):
        store.toys()
    with pytest.raises(FileProblem, match="HUSHBEAR_CONFIG"):
        store.add("bear", KEY)
