"""The toy's side of the link, on every target: what a phone says, and what the toy answers."""

from __future__ import annotations

import hashlib
import struct
from typing import Any, cast

import pytest

from host_tests.link_peer import Phone, run
from host_tests.targets import Target
from hushbear import container, settings_wire, upkeep_wire, wire

Records = list[tuple[int, int, bytes]]

ONE_SESSION = """
flash = new_flash(256)
services = new_services()
record(services.store, 5, 9)
sent, why = serve(services, arrivals)
result((sent, why, contents(services.store, INBOX), contents(services.store, OUTBOX)))
"""


def message(n: int, blocks: int) -> bytes:
    """Return the container that `contents` in ram_flash.SOURCE recognises as (n, blocks)."""
    head: bytes = container.pack_header(b"%016d" % n, b"grandma\0", 1000, 1)
    return head + b"".join(bytes([(n * 31 + i) & 255]) * 256 for i in range(blocks))


def send_request(data: bytes) -> bytes:
    return struct.pack(wire.SEND_REQUEST, data[16:32], len(data), hashlib.sha256(data).digest())


def converse(target: Target, phone: Phone) -> tuple[Records, str, list[object], list[object]]:
    sent, why, inbox, outbox = cast(
        tuple[list[bytes], str, list[object], list[object]],
        run(target, ONE_SESSION, arrivals=phone.arrivals),
    )
    return phone.read(sent), why, inbox, outbox


def test_a_message_is_sent_and_another_fetched(target: Target) -> None:
    phone = Phone()
    data = message(7, 14)
    phone.record(upkeep_wire.STATUS, 1)
    phone.record(upkeep_wire.TIME, 2, struct.pack(upkeep_wire.TIME_BODY, 1_800_000_000, 60))
    phone.record(wire.SEND, 3, send_request(data))
    for at in range(0, len(data), wire.DATA_MAX):
        piece = data[at : at + wire.DATA_MAX]
        phone.record(wire.DATA, 3, struct.pack(wire.DATA_HEAD, at) + piece)
    phone.record(wire.COMMIT, 4, data[16:32])
    phone.record(upkeep_wire.LIST, 5, struct.pack(upkeep_wire.LIST_REQUEST, wire.OUTBOX, 0))
    phone.record(wire.FETCH, 6, struct.pack(wire.FETCH_REQUEST, b"%016d" % 5, 0, 1500))
    phone.record(wire.GRANT, 6, struct.pack(wire.GRANT_BODY, 1 << 20))
    phone.record(wire.FETCHED, 7, b"%016d" % 5)
    records, why, inbox, outbox = converse(target, phone)
    assert why == "the phone left"
    assert inbox == [(7, 14, 0)]
    assert outbox == [(5, 9, 1)]

    answers = {tag: body for kind, tag, body in records if kind & wire.RESPONSE}
    status = struct.unpack(upkeep_wire.STATUS_BODY, answers[1][1:])
    assert (status[0], status[1], status[8:12], status[13]) == (1, wire.IDLE, (0, 0, 1, 1), 3700)
    assert answers[2] == answers[4] == answers[7] == bytes([wire.OK])
    assert struct.unpack(wire.SEND_RESPONSE, answers[3][1:]) == (0, wire.WINDOW)
    assert struct.unpack(wire.ENTRY, answers[5][1:])[1] == b"%016d" % 5

    own = container.pack_header(b"%016d" % 5, container.TOY, 0, 1) + message(5, 9)[48:]
    fetched = [body for kind, tag, body in records if kind == wire.DATA and tag == 6]
    assert [struct.unpack_from(wire.DATA_HEAD, piece)[0] for piece in fetched] == [
        0,
        708,
        1416,
        1500,
        2208,
    ]
    assert b"".join(piece[4:] for piece in fetched) == own
    assert (wire.END, 6, hashlib.sha256(own).digest()) in records


def test_a_fetch_goes_on_where_the_last_one_ended(target: Target) -> None:
    phone = Phone()
    phone.record(wire.FETCH, 1, struct.pack(wire.FETCH_REQUEST, b"%016d" % 5, 2000, 1 << 30))
    records, _, _, _ = converse(target, phone)
    own = container.pack_header(b"%016d" % 5, container.TOY, 0, 1) + message(5, 9)[48:]
    assert records == [
        (wire.FETCH | wire.RESPONSE, 1, bytes([wire.OK]) + struct.pack("<I", len(own))),
        (wire.DATA, 1, struct.pack(wire.DATA_HEAD, 2000) + own[2000:]),
        (wire.END, 1, hashlib.sha256(own).digest()),
    ]


def test_an_upload_goes_on_in_the_next_session_and_arrives_once(target: Target) -> None:
    data = message(3, 20)
    first = Phone()
    first.record(wire.SEND, 1, send_request(data))
    first.record(wire.DATA, 1, struct.pack(wire.DATA_HEAD, 0) + data[:500])
    second = Phone()
    second.record(wire.SEND, 9, send_request(data))
    for at in range(500, len(data), wire.DATA_MAX):
        piece = data[at : at + wire.DATA_MAX]
        second.record(wire.DATA, 9, struct.pack(wire.DATA_HEAD, at) + piece)
    second.record(wire.COMMIT, 10, data[16:32])
    again = Phone()
    again.record(wire.SEND, 1, send_request(data))
    again.record(wire.COMMIT, 2, data[16:32])
    sent = run(
        target,
        """
        flash = new_flash(256)
        sent = [serve(new_services(), arrivals)[0] for arrivals in sessions]
        result((sent, contents(new_services().store, INBOX)))
        """,
        sessions=[first.arrivals, second.arrivals, again.arrivals],
    )
    (_, second_sent, again_sent), inbox = cast(tuple[list[list[bytes]], object], sent)
    assert inbox == [(3, 20, 0)]
    offer = second.read(second_sent)[0][2]
    assert struct.unpack(wire.SEND_RESPONSE, offer[1:]) == (500, 500 + wire.WINDOW)
    offer, commit = [body for _, _, body in again.read(again_sent)]
    assert struct.unpack(wire.SEND_RESPONSE, offer[1:]) == (len(data), len(data))
    assert commit == bytes([wire.OK])


def test_a_commit_of_another_message_keeps_what_came_of_this_one(target: Target) -> None:
    data = message(3, 20)
    first = Phone()
    first.record(wire.SEND, 1, send_request(data))
    first.record(wire.DATA, 1, struct.pack(wire.DATA_HEAD, 0) + data[:500])
    first.record(wire.COMMIT, 2, bytes(16))
    second = Phone()
    second.record(wire.SEND, 1, send_request(data))
    sent = run(
        target,
        """
        flash = new_flash(256)
        serve(new_services(), first)
        restart(flash)  # the power fails
        result(serve(new_services(), second)[0])
        """,
        first=first.arrivals,
        second=second.arrivals,
    )
    ((_, _, offer),) = second.read(cast(list[bytes], sent))
    assert struct.unpack(wire.SEND_RESPONSE, offer[1:]) == (500, 500 + wire.WINDOW)


def test_what_the_flash_fails_at_is_answered_and_in_the_crash_log(target: Target) -> None:
    phone = Phone()
    phone.record(
        upkeep_wire.DELETE,
        1,
        struct.pack(upkeep_wire.DELETE_REQUEST, wire.OUTBOX, b"%016d" % 5),
    )
    phone.record(upkeep_wire.CRASHLOG, 2, bytes(4))
    sent = run(
        target,
        """
        new_flash(256)
        services = new_services()
        record(services.store, 5, 9)
        for name in os.listdir("/flash/msg/out"):
            os.remove("/flash/msg/out/" + name)
        result(serve(services, arrivals)[0])
        """,
        arrivals=phone.arrivals,
    )
    delete, crashlog = [body for _, _, body in phone.read(cast(list[bytes], sent))]
    assert delete == bytes([wire.FAILED])
    assert b"flash error" in crashlog


@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        (0x3F, b"", wire.UNKNOWN),
        (upkeep_wire.STATUS, b"x", wire.MALFORMED),
        (upkeep_wire.TIME, bytes(6), wire.MALFORMED),
        (upkeep_wire.TIME, bytes(wire.RECORD_MAX - 2), wire.MALFORMED),
        (upkeep_wire.LIST, b"\x02" + bytes(4), wire.MALFORMED),
        (wire.SEND, b"", wire.MALFORMED),
        (wire.SEND, bytes(16) + struct.pack("<I", 1 << 31) + bytes(32), wire.MALFORMED),
        *(
            (wire.SEND, bytes(16) + struct.pack("<I", size) + bytes(32), wire.MALFORMED)
            for size in (0, 1, 48, container.SIZE_MAX + 1, 0xFFFFFFFF)
        ),
        (wire.SEND, bytes(16) + struct.pack("<I", container.SIZE_MAX) + bytes(32), wire.FULL),
        (upkeep_wire.TIME, struct.pack(upkeep_wire.TIME_BODY, 0, 0), wire.MALFORMED),
        (
            upkeep_wire.TIME,
            struct.pack(upkeep_wire.TIME_BODY, 0xFFFFFFFF, 0),
            wire.MALFORMED,
        ),
        (
            upkeep_wire.TIME,
            struct.pack(upkeep_wire.TIME_BODY, 1_800_000_000, -32768),
            wire.MALFORMED,
        ),
        (
            upkeep_wire.LIST,
            struct.pack(upkeep_wire.LIST_REQUEST, wire.OUTBOX, 0xFFFFFFFF),
            wire.OK,
        ),
        (wire.COMMIT, bytes(16), wire.NOT_FOUND),
        (wire.FETCH, bytes(24), wire.NOT_FOUND),
        (wire.FETCH, b"%016d" % 5 + struct.pack("<II", 9999, 0), wire.RANGE),
        (wire.FETCHED, bytes(16), wire.NOT_FOUND),
        (upkeep_wire.DELETE, bytes(17), wire.NOT_FOUND),
        (upkeep_wire.DELETE, b"\x07" + bytes(16), wire.MALFORMED),
        (upkeep_wire.CONFIGURE, b"\xff" * 16, wire.MALFORMED),
        (upkeep_wire.CONFIGURE, b"", wire.MALFORMED),
        (upkeep_wire.CRASHLOG, struct.pack("<I", 0xFFFFFFFF), wire.OK),
        (wire.CANCEL, b"", wire.OK),
    ],
)
def test_an_odd_request_is_answered_and_the_session_goes_on(
    target: Target, kind: int, body: bytes, status: int
) -> None:
    phone = Phone()
    phone.record(kind, 1, body)
    phone.record(upkeep_wire.SETTINGS, 2)
    records, why, inbox, outbox = converse(target, phone)
    assert records[0] == (kind | wire.RESPONSE, 1, bytes([status]))
    assert records[1][2][0] == wire.OK
    assert (why, inbox, outbox) == ("the phone left", [], [(5, 9, 0)])


def test_an_offer_of_less_than_a_block_is_no_fault_of_the_toys(target: Target) -> None:
    phone = Phone()
    phone.record(wire.SEND, 1, struct.pack(wire.SEND_REQUEST, bytes(16), 49, bytes(32)))
    (record,), *_ = converse(target, phone)
    assert record[2] == bytes([wire.OK]) + struct.pack(wire.SEND_RESPONSE, 0, 49)


def test_a_download_that_ends_while_it_waits_its_turn_sends_nothing_more(target: Target) -> None:
    # What it sent would go to whoever has the connection's slot by then.
    source = """
    from hushbear.link.transfer import Download
    flash = new_flash(256)
    services = new_services()
    entry = record(services.store, 5, 9)
    peer = Peer([])
    session = Session(peer, Frame())
    session._tx = noise.CipherState(bytes(32))
    download = Download(session, 1, services.store.open(OUTBOX, entry.id), 0, 1 << 20)

    async def run():
        async with session.frame.lock:
            task = asyncio.create_task(download.run())
            await asyncio.sleep_ms(10)
            download.stop()
        await task

    asyncio.run(run())
    result(peer.sent)
    """
    assert run(target, source) == []


@pytest.mark.parametrize("size", [49, 255, 256])
def test_a_message_shorter_than_a_block_is_begun_as_any_other(target: Target, size: int) -> None:
    phone = Phone()
    phone.record(wire.SEND, 1, send_request(message(3, 1)[:size]))
    records, _, _, _ = converse(target, phone)
    assert records[0][2][0] == wire.OK
    assert struct.unpack(wire.SEND_RESPONSE, records[0][2][1:]) == (0, size)


@pytest.mark.parametrize(
    ("offset", "size", "status"),
    [
        (0, 0, wire.MALFORMED),
        (1, 100, wire.RANGE),
        (0xFFFFFFFF, 100, wire.RANGE),
    ],
)
@pytest.mark.targets("unix")
def test_data_that_does_not_continue_ends_the_upload(
    target: Target, offset: int, size: int, status: int
) -> None:
    data = message(3, 10)
    phone = Phone()
    phone.record(wire.SEND, 1, send_request(data))
    phone.record(wire.DATA, 1, struct.pack(wire.DATA_HEAD, offset) + bytes(size))
    phone.record(wire.DATA, 1, struct.pack(wire.DATA_HEAD, 0) + data[:500])  # no answer any more
    phone.record(wire.COMMIT, 2, data[16:32])
    records, _, inbox, _ = converse(target, phone)
    assert records[1:] == [
        (wire.SEND | wire.RESPONSE, 1, bytes([status])),
        (wire.COMMIT | wire.RESPONSE, 2, bytes([wire.NOT_FOUND])),
    ]
    assert inbox == []


def test_what_no_phone_would_send_ends_the_session_without_an_answer(target: Target) -> None:
    good = Phone()
    good.record(upkeep_wire.STATUS, 1)
    stranger = Phone(psk=bytes(range(2, 34)))
    stranger.record(upkeep_wire.STATUS, 1)
    hello, status = good.arrivals
    flipped = hello[:20] + bytes([hello[20] ^ 1]) + hello[21:]
    sessions = {
        "nothing at all": ([], "the phone left", 0),
        "a wrong key": (stranger.arrivals, "no paired phone's handshake", 0),
        "a bit flipped": ([flipped, status], "no paired phone's handshake", 0),
        "zero length": ([b"\0\0"], "frame of impossible size", 0),
        "a handshake of 47 bytes": ([b"\x2f\0"], "frame of impossible size", 0),
        "a huge length": ([b"\xff\xff"], "frame of impossible size", 0),
        "the 2017 command": ([b"\x02"], "the phone left", 0),
        "a request without a handshake": ([status], "frame of impossible size", 0),
        "cut in the middle": ([hello, status[:-1]], "the phone left", 1),
        "a recorded handshake": ([hello], "the phone left", 1),
        "a record altered": (
            [hello, status[:-1] + bytes([status[-1] ^ 1])],
            "record does not open",
            1,
        ),
        "a record of 17 bytes": ([hello, b"\x11\0"], "frame of impossible size", 1),
        "a record of 1047 bytes": ([hello, b"\x17\x04"], "frame of impossible size", 1),
        "a record replayed": ([hello, status, status], "record does not open", 2),
        "too much at once": ([hello, bytes(5000)], "more sent than was allowed", 1),
    }
    assert run(
        target,
        """
        new_flash(64)
        services = new_services()
        ends = []
        for arrivals in sessions:
            sent, why = serve(services, arrivals)
            ends.append((why, len(sent)))
        result(ends)
        """,
        sessions=[arrivals for arrivals, _, _ in sessions.values()],
    ) == [(why, sent) for _, why, sent in sessions.values()]


@pytest.mark.targets("unix")
def test_handshakes_wait_longer_after_each_failure_and_not_at_all_after_a_success(
    target: Target,
) -> None:
    good = Phone()
    good.record(upkeep_wire.STATUS, 1)
    assert run(
        target,
        """
        from hushbear.link import gate

        pauses, now = [], 0

        class Time:
            ticks_ms = staticmethod(lambda: now)
            ticks_diff = staticmethod(lambda a, b: a - b)

        class Asyncio:
            Lock = asyncio.Lock
            CancelledError = asyncio.CancelledError

            @staticmethod
            async def sleep_ms(ms):
                pauses.append(ms)

        gate.time, gate.asyncio = Time, Asyncio
        doorkeeper = gate.Gate()
        new_flash(64)
        services = new_services()
        for _ in range(8):
            serve(services, [arrivals[0]], doorkeeper)  # a recording of a phone's first message
        now = 700
        serve(services, arrivals, doorkeeper)
        serve(services, arrivals, doorkeeper)
        result(pauses)
        """,
        arrivals=good.arrivals,
    ) == [100, 200, 400, 800, 1600, 2000, 2000, 1300]


def test_an_id_used_twice_does_not_replace_the_first_message(target: Target) -> None:
    data = message(3, 1)
    other = data[:-1] + b"?"
    phone = Phone()
    phone.record(wire.SEND, 1, send_request(data))
    phone.record(wire.DATA, 1, struct.pack(wire.DATA_HEAD, 0) + data)
    phone.record(wire.COMMIT, 2, data[16:32])
    phone.record(wire.SEND, 3, send_request(other))
    phone.record(wire.DATA, 3, struct.pack(wire.DATA_HEAD, 0) + other)
    phone.record(wire.COMMIT, 4, data[16:32])
    records, _, inbox, _ = converse(target, phone)
    offer = next(body for _, tag, body in records if tag == 3)
    assert struct.unpack(wire.SEND_RESPONSE, offer[1:])[0] == len(other)  # "I have it"
    assert inbox == [(3, 1, 0)]  # its bytes were compared


def test_every_setting_is_taken_at_its_edges_and_refused_beyond(target: Target) -> None:
    good = (50, 50, 50, 1, 400, 500, 1000, 30, 7, b"")
    edges: list[tuple[Any, ...]] = [(0, 100)] * 3 + [(0, 3)] + [(0, 1439)] * 2
    edges += [(300, 5000), (1, 60), (0, 365), (b"",)]
    beyond: list[tuple[Any, ...]] = [(101, 255)] * 3 + [(4, 255)] + [(1440, 65535)] * 2
    beyond += [(299, 5001), (0, 61), (366, 65535), (b"D", b"DE", b"d\0", b"\0d", b"`{")]
    phone = Phone()
    expected = []
    for field, (inside, outside) in enumerate(zip(edges, beyond, strict=True)):
        for values, status in ((inside, wire.OK), (outside, wire.MALFORMED)):
            for value in values:
                body = struct.pack(
                    settings_wire.SETTINGS_BODY, *good[:field], value, *good[field + 1 :]
                )
                phone.record(upkeep_wire.CONFIGURE, field, body)
                expected.append((upkeep_wire.CONFIGURE | wire.RESPONSE, field, bytes([status])))
    records, _, _, _ = converse(target, phone)
    assert records == expected


def test_messages_of_any_time_are_listed(target: Target) -> None:
    phone = Phone()
    phone.record(upkeep_wire.LIST, 1, struct.pack(upkeep_wire.LIST_REQUEST, wire.OUTBOX, 0))
    times = [0, 1, 1_800_000_000, 0x7FFFFFFF, 0xFFFFFFFF]
    sent = run(
        target,
        """
        new_flash(256)
        services = new_services()
        for n, time in enumerate(times):
            head = container.pack_header(make_id(n), container.TOY, time, 1)
            recording = services.store.record(head, container.HEADER_SIZE + 256)
            recording.write(bytes(256), 256)
            recording.keep()
        services = new_services()  # after a restart
        result(serve(services, arrivals)[0])
        """,
        arrivals=phone.arrivals,
        times=times,
    )
    ((_, _, answer),) = phone.read(cast(list[bytes], sent))
    assert [row[4] for row in struct.iter_unpack(wire.ENTRY, answer[1:])] == times


def test_settings_come_back_as_they_were_set(target: Target) -> None:
    phone = Phone()
    flags = settings_wire.QUIET_HOURS | settings_wire.UNTIL_HEARD
    settings = struct.pack(
        settings_wire.SETTINGS_BODY, 33, 44, 55, flags, 1200, 420, 500, 20, 30, b""
    )
    phone.record(upkeep_wire.CONFIGURE, 1, settings)
    phone.record(upkeep_wire.SETTINGS, 2)
    records, _, _, _ = converse(target, phone)
    assert [body for _, _, body in records] == [bytes([wire.OK]), bytes([wire.OK]) + settings]
