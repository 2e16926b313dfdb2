"""From the inbox to the toy: what was approved is brought there, once; what was heard is noted."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from hushbear import family_wire

from . import sealing
from .errors import BadMessage, Damaged, HushbearError, NoSuchMessage, ToyMisbehaves
from .inbox import Inbox, Incoming, State
from .records import Box

if TYPE_CHECKING:
    from .client import Client, Progress


@dataclass
class Delivery:
    """What the toy has now, and what it has not, with the reason."""

    delivered: list[Incoming] = field(default_factory=list)
    failed: list[tuple[Incoming, HushbearError]] = field(default_factory=list)


async def deliver(client: Client, inbox: Inbox, progress: Progress | None = None) -> Delivery:
    """Bring to a connected toy what is due, and note what the child has heard.

    An error that concerns one message does not keep the others; after any other, those that were
    not tried stay as they are. Both are in what is returned. Raises FileProblem only.
    """
    result = Delivery()
    for incoming in inbox.due(client.epoch):
        try:
            if await _bring(client, inbox, incoming.id, progress):
                result.delivered.append(incoming)
        except (BadMessage, Damaged, NoSuchMessage, ToyMisbehaves) as error:
            result.failed.append((incoming, error))
        except HushbearError as error:
            result.failed.append((incoming, error))
            return result
    if inbox.messages(State.DELIVERED):
        with contextlib.suppress(HushbearError):  # another time, then
            entries = await client.entries(Box.INBOX)
            inbox.heard(entry.id for entry in entries if entry.done)
    return result


async def _bring(
    client: Client, inbox: Inbox, message_id: bytes, progress: Progress | None
) -> bool:
    """Return whether the message has been delivered, and not been refused meanwhile."""
    if message_id not in [each.id for each in inbox.due(client.epoch)]:
        return False
    content = for_toy(inbox.sealed(message_id), client.family)
    await client.send(content, progress)
    if inbox.delivered(message_id):
        return True
    await client.delete(Box.INBOX, message_id)
    return False


def for_toy(content: bytes, family: Mapping[int, bytes]) -> bytes:
    """Return a message as it is, once more found genuine; or sealed with the newest key, under its
    id, where its own is so old that the toy has it no more."""
    header, blocks = sealing.unseal(content, family)
    if header.epoch in sorted(family)[-family_wire.EPOCHS_MAX :]:
        return content
    newest = max(family)
    return sealing.seal(replace(header, epoch=newest), blocks, family[newest])
