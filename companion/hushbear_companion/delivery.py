"""At the toy: what was approved is brought there, once; what was refused goes; what the child has
heard and answered is noted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hushbear import family_wire

from . import sealing
from .errors import (
    BadMessage,
    Damaged,
    FileProblem,
    HushbearError,
    NoSuchMessage,
    ToyMisbehaves,
)
from .inbox import Inbox, Incoming
from .records import Box

if TYPE_CHECKING:
    from .client import Client, Progress


@dataclass
class Delivery:
    """What the toy has now, and what it has not, with the reason."""

    delivered: list[Incoming] = field(default_factory=list)
    failed: list[tuple[Incoming, HushbearError]] = field(default_factory=list)


async def deliver(client: Client, inbox: Inbox, progress: Progress | None = None) -> Delivery:
    """Note what the child has done, as notice() does, and bring to a connected toy what is due.

    An error that concerns one message does not keep the others; after any other, those that were
    not tried stay as they are. Both are in what is returned. Raises FileProblem only.
    """
    result = Delivery()
    try:
        await notice(client, inbox)
    except FileProblem:
        raise
    except HushbearError as error:
        result.failed += [(each, error) for each in inbox.due(client.epoch)]
        return result
    for incoming in inbox.due(client.epoch):
        try:
            if await _bring(client, inbox, incoming.id, progress):
                result.delivered.append(incoming)
        except (BadMessage, Damaged, NoSuchMessage, ToyMisbehaves) as error:
            result.failed.append((incoming, error))
        except HushbearError as error:
            result.failed.append((incoming, error))
            return result
    return result


async def notice(client: Client, inbox: Inbox) -> None:
    """Note what the child has heard, and answered: what was heard by now, and after which there
    is something on the toy that nobody has fetched. Take from the toy what was refused."""
    there = await client.entries(Box.INBOX)
    recorded = [each.sequence for each in await client.entries(Box.OUTBOX) if not each.done]
    last = max(recorded, default=0)
    inbox.heard(each.id for each in there if each.done)
    inbox.answered(each.id for each in there if each.done and each.sequence < last)
    for each in there:
        if inbox.refused(each.id):
            await client.delete(Box.INBOX, each.id)


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
    header, _ = sealing.unseal(content, family)
    if header.epoch in sorted(family)[-family_wire.EPOCHS_MAX :]:
        return content
    return sealing.renewed(content, family)
