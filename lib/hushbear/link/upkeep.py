"""Answers to what a phone asks about the toy itself (upkeep_wire.py).

Loaded for one request and then let go. Each answer is called with (services, session, body) and
returns the response's body after its status, or how many bytes of it lie in the frame already.
"""

import gc
import machine
import struct

from hushbear import VERSION, upkeep_wire, wire
from hushbear.link.errors import Refused, fields
from hushbear.once import once


def _status(services, session, body):
    fields("", body)
    store = services.store
    return struct.pack(
        upkeep_wire.STATUS_BODY,
        upkeep_wire.PROTOCOL,
        services.state,
        upkeep_wire.QUIET_NOW if services.settings.quiet(services.clock) else 0,
        services.clock.uptime(),
        services.clock.now(),
        store.free(),
        store.total(),
        gc.mem_free(),
        store.count(wire.INBOX),
        store.waiting(wire.INBOX),
        store.count(wire.OUTBOX),
        store.waiting(wire.OUTBOX),
        once("hushbear.crashlog_file").size(services.crashlog),
        services.battery_mv(),
        VERSION.encode(),
    )


def _time(services, session, body):
    seconds, offset = fields(upkeep_wire.TIME_BODY, body)
    try:
        once("hushbear.clock_file").set(services.clock, machine.RTC(), seconds, offset)
    except ValueError:
        raise Refused(wire.MALFORMED)
    return b""


def _list(services, session, body):
    box, after = fields(upkeep_wire.LIST_REQUEST, body)
    answer = session.frame.body  # a buffer of its own would be hard to find room for
    at = 1
    for e in services.store.entries(_box(box), after):
        flags = wire.DONE if e.done else 0
        struct.pack_into(wire.ENTRY, answer, at, e.sequence, e.id, e.sender, e.size, e.time, flags)
        at += wire.ENTRY_SIZE
        if at + wire.ENTRY_SIZE > len(answer):
            break
    return at - 1


def _delete(services, session, body):
    box, message_id = fields(upkeep_wire.DELETE_REQUEST, body)
    services.store.delete(_box(box), message_id)
    return b""


def _settings(services, session, body):
    fields("", body)
    return once("hushbear.settings_file").body(services.settings)


def _configure(services, session, body):
    try:
        once("hushbear.settings_file").change(services.settings, bytes(body))
    except ValueError:
        raise Refused(wire.MALFORMED)
    except LookupError:
        raise Refused(wire.NOT_FOUND)
    return b""


def _crashlog(services, session, body):
    (offset,) = fields(upkeep_wire.CRASHLOG_REQUEST, body)
    return once("hushbear.crashlog_file").read(services.crashlog, offset, session.frame.body[1:])


def _clear_crashlog(services, session, body):
    fields("", body)
    once("hushbear.crashlog_file").clear(services.crashlog)
    return b""


def _name(services, session, body):
    spoken_name = once("hushbear.spoken_name")
    if body:
        head = struct.calcsize(upkeep_wire.NAME_HEAD)
        size, crc, offset = fields(upkeep_wire.NAME_HEAD, body[:head])
        try:
            spoken_name.take(size, crc, offset, body[head:])
        except ValueError:
            raise Refused(wire.MALFORMED)
        except LookupError:
            raise Refused(wire.RANGE)
    return struct.pack(upkeep_wire.NAME_RESPONSE, spoken_name.size())


def _box(box):
    if box not in (wire.INBOX, wire.OUTBOX):
        raise Refused(wire.MALFORMED)
    return box


ANSWERS = {
    upkeep_wire.STATUS: _status,
    upkeep_wire.TIME: _time,
    upkeep_wire.LIST: _list,
    upkeep_wire.DELETE: _delete,
    upkeep_wire.SETTINGS: _settings,
    upkeep_wire.CONFIGURE: _configure,
    upkeep_wire.CRASHLOG: _crashlog,
    upkeep_wire.CLEAR_CRASHLOG: _clear_crashlog,
    upkeep_wire.NAME: _name,
}
