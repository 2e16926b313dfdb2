"""A family key that is made without a phone removed: what the toy answers to RENEW, and does."""

from __future__ import annotations

import struct
from typing import cast

import pytest

from host_tests import key_set
from host_tests.link_peer import Phone, run
from host_tests.targets import Target
from hushbear import family_wire, wire

SERVICES = """
from hushbear.keys import Keys


class Nvs:
    def __init__(self):
        self.blobs = {"set1": key_set}

    def get_blob(self, name, buf):
        if name not in self.blobs:
            raise OSError(-4354)
        buf[: len(self.blobs[name])] = self.blobs[name]
        return len(self.blobs[name])

    def set_blob(self, name, blob):
        if self.full:
            raise OSError(-4357)  # ESP_ERR_NVS_NOT_ENOUGH_SPACE
        self.blobs[name] = bytes(blob)

    def commit(self):
        pass


nvs = Nvs()
nvs.full = full


new_flash(512)
services = new_services()
services.keys = Keys(nvs)
"""


def keys(*epochs: int) -> bytes:
    return key_set.pack(7, {1: bytes(range(1, 33))}, {n: bytes([n]) * 32 for n in epochs})


def answers(phone: Phone, sent: object) -> list[tuple[int, list[int]]]:
    """Return of each response its status, and the epochs in it."""
    found = []
    for kind, _, body in phone.read(cast(list[bytes], sent)):
        assert kind == family_wire.RENEW | wire.RESPONSE
        epochs = [epoch for epoch, _ in struct.iter_unpack(family_wire.EPOCH, body[1:])]
        found.append((body[0], epochs))
    return found


def asks(*above: int) -> Phone:
    phone = Phone()
    for tag, each in enumerate(above):
        phone.record(family_wire.RENEW, tag, struct.pack(family_wire.RENEW_REQUEST, each))
    return phone


def converse(
    target: Target, phone: Phone, source: str = "", *, epochs: range, full: bool = False
) -> tuple[list[tuple[int, list[int]]], key_set.KeySet, str]:
    """Return the answers, the toy's keys after them, and its crash log; `source` runs before."""
    sent, blobs, log = cast(
        tuple[object, dict[str, bytes], bytes],
        run(
            target,
            SERVICES
            + source
            + """
sent = serve(services, arrivals)[0]
log = bytearray(2000)
from hushbear import crashlog_file
n = crashlog_file.read(services.crashlog, 0, log)
result((sent, nvs.blobs, bytes(log[:n])))
""",
            arrivals=phone.arrivals,
            key_set=keys(*epochs),
            full=full,
        ),
    )
    return answers(phone, sent), key_set.newest(blobs), log.decode()


def test_a_key_is_made_where_none_is_above_and_asking_again_makes_no_other(
    target: Target,
) -> None:
    phone = asks(2, 2, 0, 3)
    said, known, log = converse(target, phone, epochs=range(1, 3))
    assert said == [(wire.OK, [3]), (wire.OK, [3]), (wire.OK, [1, 2, 3]), (wire.OK, [4])]
    assert list(known.epochs) == [1, 2, 3, 4] and len(set(known.epochs.values())) == 4
    assert known.psks == {1: bytes(range(1, 33))} and log == ""


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", wire.MALFORMED),
        (bytes(3), wire.MALFORMED),
        (bytes(5), wire.MALFORMED),
        (bytes(wire.RECORD_MAX - 2), wire.MALFORMED),
        (struct.pack("<I", 3), wire.MALFORMED),
        (struct.pack("<I", 0x80000000), wire.MALFORMED),
        (struct.pack("<I", 0xFFFFFFFF), wire.MALFORMED),
    ],
)
def test_an_odd_request_changes_nothing(target: Target, body: bytes, status: int) -> None:
    phone = Phone()
    phone.record(family_wire.RENEW, 1, body)
    said, known, log = converse(target, phone, epochs=range(1, 3))
    assert (said, known.generation, log) == ([(status, [])], 7, "")


def test_a_key_that_cannot_be_kept_is_not_given(target: Target) -> None:
    said, known, log = converse(target, asks(2), epochs=range(1, 3), full=True)
    assert (said, list(known.epochs)) == ([(wire.FAILED, [])], [1, 2])
    assert "-4357" in log


WAITING = {  # what lies on the toy is of epoch 1
    "unheard": ("receive(services.store, 3, 2)", wire.FULL),
    "heard": (
        "receive(services.store, 3, 2); services.store.mark_done(INBOX, make_id(3))",
        wire.OK,
    ),
    "not fetched": ("record(services.store, 3, 2)", wire.FULL),
    "fetched": (
        "record(services.store, 3, 2); services.store.mark_done(OUTBOX, make_id(3))",
        wire.OK,
    ),
    "behind others": (
        "for n in range(3): record(services.store, n, 2); "
        "services.store.mark_done(OUTBOX, make_id(n))\n"
        "receive(services.store, 4, 2)",
        wire.FULL,
    ),
    "of no use": (
        "receive(services.store, 3, 2)\n"
        "name = '/flash/msg/in/' + os.listdir('/flash/msg/in')[0]\n"
        "open(name, 'wb').write(b'short')",
        wire.OK,
    ),
    "a file that is gone": (
        "receive(services.store, 3, 2)\n"
        "os.remove('/flash/msg/in/' + os.listdir('/flash/msg/in')[0])",
        wire.OK,
    ),
    "while it plays": ("services.state = wire.PLAYING", wire.BUSY),
    "while it records": ("services.state = wire.RECORDING", wire.BUSY),
}  # fmt: skip


@pytest.mark.parametrize("waiting", WAITING)
def test_no_key_is_made_in_the_place_of_one_that_a_message_waits_for(
    target: Target, waiting: str
) -> None:
    source, status = WAITING[waiting]
    said, known, _ = converse(target, asks(8), source, epochs=range(1, 9))
    made = [9] if status == wire.OK else []
    assert said == [(status, made)]
    assert list(known.epochs) == (list(range(2, 10)) if made else list(range(1, 9)))


@pytest.mark.parametrize("epochs", [range(1, 8), range(2, 10)], ids=["not full", "not needed"])
def test_a_message_that_keeps_its_key_is_in_nobodys_way(target: Target, epochs: range) -> None:
    said, known, _ = converse(
        target, asks(epochs[-1]), "receive(services.store, 3, 2)", epochs=epochs
    )
    assert said == [(wire.OK, [epochs[-1] + 1])]
    assert epochs[-1] + 1 in known.epochs


def test_what_needs_no_new_key_is_answered_while_it_plays(target: Target) -> None:
    said, known, _ = converse(target, asks(7), "services.state = wire.PLAYING", epochs=range(1, 9))
    assert (said, known.generation) == ([(wire.OK, [8])], 7)
