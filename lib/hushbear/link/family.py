"""Answers to what a phone asks about the family (family_wire.py).

Loaded for one request and then let go, as upkeep.py is.
"""

import struct

from hushbear import family_wire, wire
from hushbear.keys import epochs
from hushbear.link.errors import Refused, fields
from hushbear.once import once


def _family(services, session, body):
    (above,) = fields(family_wire.FAMILY_REQUEST, body)
    known = epochs(services.keys.load())
    return b"".join([struct.pack(family_wire.EPOCH, *each) for each in known if each[0] > above])


def _phones(services, session, body):
    fields("", body)
    answer = session.frame.body
    at = 1
    for slot, sender, paired_at, name in _changer(services).phones():
        if slot == session.slot:
            slot |= family_wire.ASKING
        struct.pack_into(family_wire.PHONE, answer, at, slot, sender, paired_at, name)
        at += family_wire.PHONE_SIZE
    return at - 1


def _rename(services, session, body):
    slot, name = fields(family_wire.RENAME_REQUEST, body)
    _change(_changer(services).rename, slot, name)
    return b""


def _revoke(services, session, body):
    (slot,) = fields(family_wire.REVOKE_REQUEST, body)
    _change(_changer(services).remove, slot)
    for each in services.sessions:
        if each.slot == slot:
            each.peer.close()
    return b""


def _renew(services, session, body):
    once("hushbear.link.renewal").handle(services, body)  # which few sessions ever need
    return _family(services, session, body)


def _changer(services):
    return once("hushbear.family").Family(services.keys)  # which most sessions never need


def _change(function, *arguments):
    try:
        function(*arguments)
    except KeyError:
        raise Refused(wire.NOT_FOUND)
    except ValueError:
        raise Refused(wire.MALFORMED)


ANSWERS = {
    family_wire.FAMILY: _family,
    family_wire.PHONES: _phones,
    family_wire.RENAME: _rename,
    family_wire.REVOKE: _revoke,
    family_wire.RENEW: _renew,
}
