"""A new family key without a phone removed (RENEW of family_wire.py).

Loaded for one request and then let go. Where the oldest key would go for it, and with it a
message that somebody waits for, it is refused: unlike a revocation, this can wait.
"""

from hushbear import container, family_wire, wire
from hushbear.keys import epochs
from hushbear.link.errors import Refused, fields
from hushbear.once import once
from hushbear.store import StoreError


def handle(services, body):
    """Carry out a request with this body. Raises Refused, OSError."""
    (above,) = fields(family_wire.RENEW_REQUEST, body)
    known = [epoch for epoch, _ in epochs(services.keys.load())]
    if len(known) == family_wire.EPOCHS_MAX and above == known[-1]:
        if services.state != wire.IDLE:  # it would not go on while all files are opened
            raise Refused(wire.BUSY)
        if any(_waits(services.store, box, known[0]) for box in (wire.INBOX, wire.OUTBOX)):
            raise Refused(wire.FULL)
    try:
        once("hushbear.family").Family(services.keys).renew(above)
    except ValueError:
        raise Refused(wire.MALFORMED)


def _waits(store, box, epoch):
    head = bytearray(container.HEADER_SIZE)
    for entry in store.entries(box):
        if not entry.done:
            try:
                with store.open(box, entry.id) as reader:
                    n = reader.readinto(head)
                if container.parse_header(head[:n])[3] == epoch:
                    return True
            except (OSError, StoreError, ValueError):
                pass  # no key makes a message of this
    return False
