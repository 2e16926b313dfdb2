"""What tools/fuzz feeds: each target takes any bytes, and raises where something is not right.

`seeds` gives inputs that are good or nearly so, to begin with. The parts of the device library
that are here run on CPython as they are, but for `const`, which means nothing there. Its kernels
in viper, its store and its session need MicroPython: host_tests/hostile_phone.py is for them.
"""

from __future__ import annotations

import builtins
import contextlib
import importlib
import struct
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hushbear import container, family_wire, settings_wire, upkeep_wire, wire
from hushbear_companion import (
    adpcm,
    audio,
    family,
    link,
    message,
    recordings,
    records,
    sealing,
    spoken_name,
)
from hushbear_companion.errors import (
    BadAudio,
    BadLink,
    BadMessage,
    FileProblem,
    HushbearError,
    KeysUnsafe,
    ToyMisbehaves,
)
from hushbear_companion.framing import PAYLOAD_MAX, FrameError, FrameReader, frame
from hushbear_companion.journal import Journal
from hushbear_companion.keystore import KeyStore
from hushbear_companion.letters import Family, Kind, News, Stage
from hushbear_companion.partfile import PartFile
from hushbear_companion.records import Box, StatusError
from hushbear_companion.taking import Places
from hushbear_companion.toy import Member, Relative, Role, Toy

vars(builtins).setdefault("const", lambda value: value)
settings_file = importlib.import_module("hushbear.settings_file")
names = importlib.import_module("hushbear.store.names")
boot = importlib.import_module("hushbear.store.boot")


@dataclass
class Target:
    """One thing to fuzz."""

    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]


TARGETS: dict[str, Target] = {}


def _target(
    seeds: Callable[[], Iterable[bytes]],
) -> Callable[[Callable[[bytes], None]], Callable[[bytes], None]]:
    def register(run: Callable[[bytes], None]) -> Callable[[bytes], None]:
        TARGETS[run.__name__.removeprefix("fuzz_")] = Target(run, seeds)
        return run

    return register


# What a toy sends


def _streams() -> Iterable[bytes]:
    yield frame(bytes(wire.HANDSHAKE_SIZE))
    yield frame(b"x") + frame(bytes(PAYLOAD_MAX)) + frame(b"y")[:2]
    yield struct.pack("<H", PAYLOAD_MAX + 1)


@_target(_streams)
def fuzz_frames(data: bytes) -> None:
    """A stream cut into pieces: the first byte says how long they are."""
    size, stream = (data[0] if data else 0) + 1, data[1:]
    reader = FrameReader()
    payloads = []
    with contextlib.suppress(FrameError):
        for at in range(0, len(stream), size):
            reader.feed(stream[at : at + size])
            while (payload := reader.next()) is not None:
                payloads.append(payload)
    assert stream.startswith(b"".join(map(frame, payloads)))


_STATUS = struct.pack(
    upkeep_wire.STATUS_BODY,
    1,
    0,
    1,
    60,
    1_790_000_000,
    9,
    10,
    50000,
    3,
    2,
    1,
    1,
    7,
    3700,
    b"0.1",
)
_SETTINGS = struct.pack(settings_wire.SETTINGS_BODY, 70, 85, 60, 1, 1170, 420, 300, 40, 30, b"de")
_ENTRY = struct.pack(wire.ENTRY, 6, bytes(range(16)), b"grandma\0", 304, 1_790_000_000, 1)
_FAMILY = {1: bytes(range(32))}
_PARSERS: tuple[tuple[Callable[[bytes], object], bytes], ...] = (
    (records.parse_record, b"\x81\x01\0"),
    (records.parse_status, _STATUS),
    (records.parse_settings, _SETTINGS),
    (spoken_name.parse_size, struct.pack(upkeep_wire.NAME_RESPONSE, 512)),
    (lambda body: records.parse_entries(body, Box.INBOX, 5), 2 * _ENTRY),
    (lambda body: records.parse_send(body, 5000), struct.pack(wire.SEND_RESPONSE, 512, 2560)),
    (records.parse_grant, struct.pack(wire.GRANT_BODY, 4096)),
    (records.parse_fetch, struct.pack(wire.FETCH_RESPONSE, 304)),
    (records.parse_data, struct.pack(wire.DATA_HEAD, 512) + bytes(wire.DATA_MAX)),
    (records.parse_end, bytes(32)),
    (lambda body: family.parse_epochs(body, 1), struct.pack(family_wire.EPOCH, 2, _FAMILY[1])),
    (family.parse_phones, struct.pack(family_wire.PHONE, 0x83, b"grandma\0", 0, b"Oma")),
    (lambda body: records.check_status(body, "do that"), b"\0ok"),
    (records.clean, "Traceback: tännä\n".encode()),
)


@_target(lambda: [bytes([at]) + seed for at, (_, seed) in enumerate(_PARSERS)])
def fuzz_records(data: bytes) -> None:
    """The first byte says which kind of record."""
    parse, _ = _PARSERS[data[0] % len(_PARSERS) if data else 0]
    try:
        parsed = parse(data[1:])
    except StatusError as refusal:
        assert isinstance(refusal.error(), HushbearError)
    except ToyMisbehaves as error:
        assert str(error).isprintable()
    else:
        if isinstance(parsed, str):
            assert all(c.isprintable() or c in "\n\t" for c in parsed)
        elif isinstance(parsed, records.Status):
            assert parsed.firmware.isprintable()


def _messages() -> Iterable[bytes]:
    header = message.Header(bytes(range(16)), b"grandma\0", 1_790_000_000, 1)
    body = adpcm.encode((8000 * np.sin(np.arange(3000) / 9)).astype(np.int16), beam=1)
    content = sealing.seal(header, body, _FAMILY[1])
    yield content
    yield sealing.seal(header, body[:256], _FAMILY[1])
    yield content[:40] + b"reserved" + content[48:]
    yield content[:-272]


@_target(_messages)
def fuzz_message(data: bytes) -> None:
    """A message that was fetched: refused, or one whose WAV another program reads."""
    try:
        header, body = sealing.unseal(data, _FAMILY)
    except BadMessage:
        return
    assert sealing.seal(header, body, _FAMILY[1]) == data
    with tempfile.TemporaryDirectory() as name:
        path = recordings.save(data, _FAMILY, Path(name))
        assert path.parent == Path(name) and [path] == list(Path(name).iterdir())
        assert recordings.save(data, _FAMILY, Path(name)) == path
    try:
        samples = adpcm.decode(body)
    except ValueError:
        return
    last = adpcm.decode(body[-container.BLOCK_ALIGN :])
    assert np.array_equal(samples[-container.BLOCK_SAMPLES :], last)  # any block decodes alone


# What a relative sends

_PAPA = Relative("Papa", Role.PARENT, b"parent 1", 1, bytes(32), bytes(range(32)))
_OMA = Relative("Oma", Role.RELATIVE, b"grandma\0", 1, bytes(32), bytes(range(1, 33)))
_AUNT = Relative("Aunt", Role.RELATIVE, b"aunt   1", 1, bytes(32), bytes(range(2, 34)))
_AT_PARENT = Toy("bear", bytes(32), b"at home ", b"parent 1", _FAMILY, {}, (_OMA, _AUNT))
_AT_OMA = Toy("bear", None, b"far away", b"grandma\0", _FAMILY, {}, (_PAPA,))


def _letters() -> Iterable[bytes]:
    members = {b"parent 1": Member("Papa", Role.PARENT, 1)}
    for at in b"\0\1":
        yield bytes((at, Kind.FAMILY)) + Family(1, bytes(32), 2, _FAMILY[1], members).pack()
        yield bytes((at, Kind.NEWS)) + News(bytes(16), bytes(8), Stage.HEARD).pack()
        for content in _messages():
            yield bytes((at, Kind.FOR_TOY)) + content
            yield bytes((at, Kind.FOR_YOU)) + content
            yield bytes((at, Kind.PASS_ON)) + b"aunt   1" + content


@_target(_letters)
def fuzz_letter(data: bytes) -> None:
    """A letter that has come to a parent, or to a relative: taken in whole, or refused."""
    toy, relative = (_AT_PARENT, _OMA) if data[:1] == b"\0" else (_AT_OMA, _PAPA)
    passed: list[bytes] = []
    with tempfile.TemporaryDirectory() as name, Journal(toy.id, Path(name)) as journal:
        store = KeyStore(Path(name))
        store.join(toy)
        places = Places(
            store, journal, Path(name), lambda to, content: passed.append(to.sender + content)
        )
        try:
            places.put(toy, relative, data[1:])
        except BadMessage:
            assert store.toys() == [toy] and not passed
            return
        after = store.get(None)
        assert after.family.items() >= _FAMILY.items() and after.key == toy.key
        assert [each.secret for each in after.relatives] == [r.secret for r in toy.relatives]
        assert toy.key is None or after == toy
        assert not passed or passed == [data[2:]]


# What a person gives


@_target(lambda: [str(link.ToyLink(bytes(range(n, n + 32)))).encode() for n in (0, 99, 224)])
def fuzz_link(data: bytes) -> None:
    """A link, pasted or from a QR code."""
    text = data.decode("utf-8", "replace")
    try:
        parsed = link.parse_link(text)
    except BadLink:
        return
    assert str(parsed) == text.strip()


def _sounds() -> Iterable[bytes]:
    for content in list(_messages())[:2]:
        yield message.to_wav(sealing.unseal(content, _FAMILY)[1])
    pcm = struct.pack("<HHIIHH", 1, 2, 44100, 176400, 4, 16)
    chunks = b"WAVEfmt " + struct.pack("<I", 16) + pcm + b"data" + struct.pack("<I", 400)
    yield b"RIFF" + struct.pack("<I", len(chunks) + 400) + chunks + bytes(range(200)) * 2
    yield b"fLaC" + bytes(60)
    yield b"OggS" + bytes(60)


@_target(_sounds)
def fuzz_sound(data: bytes) -> None:
    """A file to send."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        file.write(data)
        file.flush()
        try:
            samples = audio.load(Path(file.name))
        except BadAudio:
            return
        assert 0 < len(samples) <= message.SAMPLES_MAX


# What lies on a disk


_KEYS = (
    b'{"version": 1, "toys": [{"name": "bear", "key": "'
    + link.encode_key(bytes(32)).encode()
    + b'", "sender": "0011223344556677"}]}'
)
_KEYS_2 = _KEYS.replace(b'n": 1', b'n": 2')[:-3] + (
    b', "id": "0011223344556677", "members": {"1111111111111111": "Oma"}, "family": {"1": "'
    + link.encode_key(bytes(32)).encode()
    + b'"}}]}'
)


@_target(
    lambda: [_KEYS, _KEYS_2, b'{"version": 1, "toys": []}', b"[]", _KEYS.replace(b"bear", b"\xff")]
)
def fuzz_keys(data: bytes) -> None:
    """The file in which keys are kept."""
    with tempfile.TemporaryDirectory() as name:
        store = KeyStore(Path(name))
        store.path.write_bytes(data)
        store.path.chmod(0o600)
        try:
            toys = store.toys()
        except KeysUnsafe:
            return
        another = bytes(range(32))
        store.add("another", another)
        store.learn(another, bytes(8), {1: another}, {bytes(8): Member("Oma", Role.PHONE, 0)})
        kept = store.toys()
        assert len(kept) >= len(toys) and all(
            toy.key is None or len(toy.key) == 32 for toy in kept
        )


@_target(lambda: [b"", bytes(3) + b"beginning", bytes(300)])
def fuzz_part(data: bytes) -> None:
    """What is left of a message on its way, and what comes then."""
    size = data[0] if data else 0
    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "part"
        path.write_bytes(data[1 : 1 + size])
        with contextlib.suppress(FileProblem), PartFile(path) as part:
            part.append(data[1 + size :])
            assert part.content() == data[1:]
        assert path.read_bytes() == data[1:]


# What a phone sends, and what lies on the toy's flash


@_target(lambda: [_SETTINGS, bytes(16), b"\xff" * 16])
def fuzz_settings(data: bytes) -> None:
    """What the toy takes, the phone understands."""
    try:
        settings_file._check(data)
    except ValueError:
        return
    assert records.pack_settings(records.parse_settings(data)) == data


@_target(
    lambda: [
        names.message_name(7, bytes(range(16)), False).encode(),
        names.message_name(0x7FFFFFFF, b"\xff" * 16, True).encode(),
        names.part_name(bytes(range(16)), 304, bytes(8)).encode(),
    ]
)
def fuzz_names(data: bytes) -> None:
    """Names of files in the store: its own, or none of its business."""
    name = data.decode("latin-1")
    if parsed := boot.parse_message_name(name):
        assert names.message_name(*parsed) == name
    if parsed := boot.parse_part_name(name):
        assert names.part_name(*parsed) == name
