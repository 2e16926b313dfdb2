"""Mailboxes over HTTP: the owner's and the members' requests."""

from __future__ import annotations

import hashlib
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from .. import names, signing
from ..problems import Problem
from . import bodies, guard, mailboxes
from .description import answered_octets, octets, problems
from .errors import Refused
from .incoming import OCTETS, arrival, body, declared_length, service, signed, source, upload
from .settings import BODY_MAX

router = APIRouter(prefix="/v1/mailboxes/{mailbox}")

_JSON = "application/json"
_JSON_MAX = 80_000  # a thousand members
_LIST_MAX = 1000

Mailbox = Annotated[str, Path(pattern=names.MAILBOX_PATTERN, description="Its name, in hex.")]
MessageId = Annotated[str, Path(pattern=names.MESSAGE_PATTERN, description="Random, in hex.")]
Member = Annotated[str, Field(pattern=names.MEMBER_PATTERN)]


class Members(BaseModel):
    """Who may write to a mailbox."""

    model_config = ConfigDict(extra="forbid")
    members: list[Member] = Field(max_length=1000)


class MailboxState(BaseModel):
    """A mailbox as its owner sees it."""

    messages: int = Field(description="Messages in it.")
    bytes: int = Field(description="Bytes of their bodies.")
    members: list[str] = Field(description="Who may write to it.")


class Message(BaseModel):
    """A message as it is listed. Times are Unix seconds."""

    id: str
    member: str = Field(description="Who wrote it.")
    size: int
    position: int = Field(description="Ascends in the order of arrival.")
    received: int
    expires: int


class Listing(BaseModel):
    """What is in a mailbox."""

    messages: list[Message]
    more: bool = Field(description="There are more above the last position.")
    members: str = Field(
        description="SHA-256 of the members' names in order: when it is not what the owner "
        "expects, the relay was restored from a backup, and the members are to be put again."
    )


class Stored(BaseModel):
    """A message that was stored."""

    expires: int = Field(description="Unix seconds until when it is kept, at the least.")


@router.put(
    "",
    status_code=200,
    response_model=MailboxState,
    responses={
        201: {"description": "A new mailbox", "model": MailboxState},
        **problems(Problem.TOO_MANY, body=True),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {_JSON: {"schema": Members.model_json_schema()}},
        }
    },
)
async def put_mailbox(request: Request, response: Response, mailbox: Mailbox) -> MailboxState:
    """Make a mailbox, or change its members. The key that signs has to be the owner's.

    What a member that is left out has written, and the owner has not fetched, is deleted.
    """
    here, who, name = service(request), signed(request), bytes.fromhex(mailbox)
    if who.mailbox != name:
        raise Refused(Problem.NOT_FOUND)
    content = await body(request, declared_length(request, _JSON_MAX, _JSON), who)
    try:
        wanted = Members.model_validate_json(content).members
    except ValidationError:
        raise Refused(Problem.MALFORMED) from None
    if len(wanted) > here.settings.members_max:
        raise Refused(Problem.TOO_LARGE)
    now, settings = here.now(), here.settings

    def work(connection: sa.Connection) -> tuple[bool, mailboxes.State]:
        new = not mailboxes.exists(connection, name)
        if new:
            limit = settings.mailboxes_per_minute
            guard.count(connection, guard.What.MAILBOX, source(request), limit, now)
        guard.once(connection, who, now, settings.skew)
        mailboxes.set_members(connection, name, [bytes.fromhex(each) for each in wanted], now)
        return new, mailboxes.state(connection, name)

    new, state = await here.write(work)
    response.status_code = 201 if new else 200
    return _state(state)


@router.get("", response_model=MailboxState, responses=problems())
async def get_mailbox(request: Request, mailbox: Mailbox) -> MailboxState:
    """Say what is in a mailbox, and who may write to it. For the owner."""
    here, who, name = service(request), signed(request), bytes.fromhex(mailbox)
    now = here.now()

    def work(connection: sa.Connection) -> mailboxes.State:
        mailboxes.check_owner(connection, name, who, now)
        guard.once(connection, who, now, here.settings.skew)
        return mailboxes.state(connection, name)

    return _state(await here.write(work, lazily=True))


@router.delete("", status_code=204, responses=problems())
async def delete_mailbox(request: Request, mailbox: Mailbox) -> None:
    """Delete a mailbox with all that is in it. For the owner."""
    here, who, name = service(request), signed(request), bytes.fromhex(mailbox)
    now = here.now()

    def work(connection: sa.Connection) -> None:
        mailboxes.check_owner(connection, name, who, now)
        guard.once(connection, who, now, here.settings.skew)
        mailboxes.drop(connection, name)

    await here.write(work)


@router.get("/messages", response_model=Listing, responses=problems(Problem.BUSY))
async def list_messages(
    request: Request,
    mailbox: Mailbox,
    after: Annotated[int, Query(ge=0, le=2**62, description="Only above this position.")] = 0,
    limit: Annotated[int, Query(ge=1, le=_LIST_MAX)] = 100,
    wait: Annotated[
        int, Query(ge=0, le=600, description="Seconds to wait for one, if there is none.")
    ] = 0,
) -> Listing:
    """List messages, oldest first; a long poll if `wait` is given. For the owner."""
    here, who, name = service(request), signed(request), bytes.fromhex(mailbox)
    now = here.now()

    def first(connection: sa.Connection) -> tuple[list[mailboxes.Entry], bytes]:
        mailboxes.check_owner(connection, name, who, now)
        guard.once(connection, who, now, here.settings.skew)
        return mailboxes.listing(connection, name, after, limit + 1, now)

    def again(connection: sa.Connection) -> tuple[list[mailboxes.Entry], bytes]:
        return mailboxes.listing(connection, name, after, limit + 1, here.now())

    with here.arrivals.waiting(name) as waiter:
        entries, digest = await here.write(first, lazily=True)
        if (
            wait
            and not entries
            and await arrival(request, waiter, min(wait, here.settings.wait_max))
        ):
            entries, digest = await here.read(again)
    return Listing(
        messages=[_message(entry) for entry in entries[:limit]],
        more=len(entries) > limit,
        members=digest.hex(),
    )


@router.put(
    "/messages/{message}",
    status_code=200,
    response_model=Stored,
    responses={
        201: {"description": "Stored", "model": Stored},
        200: {"description": "It was there already", "model": Stored},
        **problems(
            Problem.ANOTHER_BODY,
            Problem.MAILBOX_FULL,
            Problem.SHARE_FULL,
            Problem.BUSY,
            body=True,
        ),
    },
    openapi_extra=octets(BODY_MAX, "The sealed message."),
)
async def put_message(
    request: Request, response: Response, mailbox: Mailbox, message: MessageId
) -> Stored:
    """Store a message, once however often it is put. For members."""
    here, who, name = service(request), signed(request), bytes.fromhex(mailbox)
    settings, identity, member = here.settings, bytes.fromhex(message), who.member(name)
    length = declared_length(request, settings.body_max, OCTETS)
    digest = _sha256(who.digest)
    now = here.now()

    def admit(connection: sa.Connection) -> bool:
        return mailboxes.admit(connection, name, who, identity, length, digest, settings)

    def known(connection: sa.Connection) -> None:
        guard.once(connection, who, now, settings.skew)

    def begin(connection: sa.Connection) -> bytes:
        mailboxes.admit(connection, name, who, identity, length, digest, settings)
        guard.once(connection, who, now, settings.skew)
        return bodies.note(connection, now)

    if await here.read(admit):
        await here.write(known, lazily=True)
        here.metrics.messages.labels("again").inc()
        return Stored(expires=now + settings.keep)
    async with upload(request):
        content = await body(request, length, who)
        if hashlib.sha256(content).digest() != digest:
            raise Refused(Problem.DIGEST)
        place = None
        if (store := here.store) is not None:
            place = key = await here.write(begin)
            await here.run(lambda: store.put(key, content))

        def work(connection: sa.Connection) -> bool:
            arrived = mailboxes.Arrived(
                identity, member, digest, length, None if place else content, place
            )
            new = mailboxes.put(connection, name, arrived, settings, now)
            if place is None:
                guard.once(connection, who, now, settings.skew)
            return new

        new = await here.write(work)
    if new:
        here.arrivals.arrived(name)
        here.metrics.messages.labels("stored").inc()
        here.metrics.bytes.labels("stored").inc(length)
    response.status_code = 201 if new else 200
    return Stored(expires=now + settings.keep)


@router.get(
    "/messages/{message}",
    response_class=Response,
    responses={200: answered_octets("The sealed message"), **problems()},
)
async def get_message(request: Request, mailbox: Mailbox, message: MessageId) -> Response:
    """Fetch a message; it stays until it is deleted or its time is over. For the owner."""
    here, who, name = service(request), signed(request), bytes.fromhex(mailbox)
    now = here.now()

    def work(connection: sa.Connection) -> mailboxes.Body:
        mailboxes.check_owner(connection, name, who, now)
        guard.once(connection, who, now, here.settings.skew)
        return mailboxes.find(connection, name, bytes.fromhex(message), now)

    found = await here.write(work, lazily=True)
    content = found.body
    if (place := found.object) is not None and (store := here.store) is not None:
        content = await here.run(lambda: store.get(place))
    if content is None:  # its object is gone: what is left of a backup
        raise Refused(Problem.NOT_FOUND)
    here.metrics.messages.labels("fetched").inc()
    here.metrics.bytes.labels("fetched").inc(len(content))
    return Response(
        content, media_type=OCTETS, headers={"Content-Digest": signing.content_digest(content)}
    )


@router.head(
    "/messages/{message}",
    status_code=204,
    responses={
        status: {"description": answer["description"]} for status, answer in problems().items()
    },
)
async def head_message(request: Request, mailbox: Mailbox, message: MessageId) -> None:
    """Say whether a message is still there. For the owner, and for the member who wrote it."""
    here, who, name = service(request), signed(request), bytes.fromhex(mailbox)
    now = here.now()

    def work(connection: sa.Connection) -> None:
        mailboxes.look(connection, name, bytes.fromhex(message), who, now)
        guard.once(connection, who, now, here.settings.skew)

    await here.write(work, lazily=True)


@router.delete("/messages/{message}", status_code=204, responses=problems())
async def delete_message(request: Request, mailbox: Mailbox, message: MessageId) -> None:
    """Delete a message: the owner any, a member what it wrote. One that is gone already is no
    problem."""
    here, who, name = service(request), signed(request), bytes.fromhex(mailbox)
    now = here.now()

    def work(connection: sa.Connection) -> int:
        count = mailboxes.remove(connection, name, bytes.fromhex(message), who, now)
        guard.once(connection, who, now, here.settings.skew)
        return count

    here.metrics.messages.labels("deleted").inc(await here.write(work))


def _sha256(field: str | None) -> bytes:
    """Return the SHA-256 of a body, as a Content-Digest says it is."""
    digest = signing.sha256_of(field)
    if digest is None:
        raise Refused(Problem.DIGEST)
    return digest


def _state(state: mailboxes.State) -> MailboxState:
    return MailboxState(
        messages=state.messages,
        bytes=state.bytes,
        members=[member.hex() for member in state.members],
    )


def _message(entry: mailboxes.Entry) -> Message:
    return Message(
        id=entry.id.hex(),
        member=entry.member.hex(),
        size=entry.size,
        position=entry.position,
        received=entry.received,
        expires=entry.expires,
    )
