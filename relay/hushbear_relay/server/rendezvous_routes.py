"""Rendezvous over HTTP: see rendezvous.py."""

from __future__ import annotations

import time
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, Field

from ..problems import Problem
from ..signing import Signed
from . import guard, rendezvous
from .description import answered_octets, octets, problems
from .errors import Refused
from .incoming import OCTETS, arrival, body, declared_length, service, signed, source

router = APIRouter(prefix="/v1/rendezvous")

_LOOK_SECONDS = 2.0  # what another process took is found by looking

Number = Annotated[int, Path(ge=1, le=rendezvous.NUMBER_MAX)]
Place = Annotated[
    int, Path(ge=0, lt=rendezvous.PLACES, description="Which of the side's messages.")
]


class Begun(BaseModel):
    """A rendezvous that was begun."""

    number: int = Field(description="What to tell the other one, besides a secret.")
    expires: int = Field(description="Unix seconds until when it lasts.")


@router.post(
    "",
    status_code=201,
    response_model=Begun,
    responses=problems(Problem.TOO_MANY, Problem.BUSY, Problem.CLOSED),
)
async def begin(request: Request) -> Begun:
    """Begin a rendezvous with a key made for it. Asked again, it is the same one."""
    here, who = service(request), signed(request)
    now, settings = here.now(), here.settings

    def work(connection: sa.Connection) -> tuple[int, int]:
        limit = settings.rendezvous_per_minute
        guard.count(connection, guard.What.RENDEZVOUS, source(request), limit, now)
        guard.once(connection, who, now, settings.skew)
        return rendezvous.begin(connection, who, now, settings.rendezvous_seconds)

    number, expires = await here.write(work)
    return Begun(number=number, expires=expires)


def _enter(
    request: Request, connection: sa.Connection, number: int, who: Signed
) -> rendezvous.Side:
    here = service(request)
    now = here.now()
    side = rendezvous.enter(connection, number, who, now)
    if side.joins:
        limit = here.settings.rendezvous_per_minute
        guard.count(connection, guard.What.RENDEZVOUS, source(request), limit, now)
    guard.once(connection, who, now, here.settings.skew)
    return side


@router.put(
    "/{number}/messages/{place}",
    status_code=204,
    responses=problems(
        Problem.ANOTHER_BODY, Problem.CLOSED, Problem.TOO_MANY, Problem.BUSY, body=True
    ),
    openapi_extra=octets(rendezvous.BODY_MAX, "What the other side is to get."),
)
async def put(request: Request, number: Number, place: Place) -> None:
    """Leave a message for the other side. The first key that comes, other than the one that began
    the rendezvous, is the other side."""
    here, who = service(request), signed(request)
    content = await body(request, declared_length(request, rendezvous.BODY_MAX, OCTETS), who)

    def work(connection: sa.Connection) -> None:
        side = _enter(request, connection, number, who)
        if side.closed:
            raise Refused(Problem.CLOSED)
        rendezvous.put(connection, number, side.first, place, content)

    await here.write(work)
    here.arrivals.arrived(_topic(number))


@router.get(
    "/{number}/messages/{place}",
    response_class=Response,
    responses={
        200: answered_octets("The other side's message"),
        204: {"description": "It has not come yet"},
        **problems(Problem.CLOSED, Problem.TOO_MANY),
    },
)
async def get(
    request: Request,
    number: Number,
    place: Place,
    wait: Annotated[int, Query(ge=0, le=600, description="Seconds to wait for it.")] = 0,
) -> Response:
    """Fetch a message of the other side."""
    here, who = service(request), signed(request)

    def first(connection: sa.Connection) -> tuple[rendezvous.Side, bytes | None]:
        side = _enter(request, connection, number, who)
        return side, rendezvous.get(connection, number, not side.first, place)

    def again(connection: sa.Connection) -> tuple[bytes | None, bool]:
        body = rendezvous.get(connection, number, not side.first, place)
        return body, rendezvous.is_over(connection, number, here.now())

    until = time.monotonic() + min(wait, here.settings.wait_max)
    side, found = await here.write(first, lazily=False)
    over = side.closed
    while found is None and not over and not here.arrivals.stopping:
        left = until - time.monotonic()
        if left <= 0:
            break
        with here.arrivals.waiting(_topic(number)) as waiter:
            found, over = await here.read(again)
            if found is None and not over:
                await arrival(request, waiter, min(left, _LOOK_SECONDS))
                found, over = await here.read(again)
                if await request.is_disconnected():
                    break
    if found is not None:
        return Response(found, media_type=OCTETS)
    if over:
        raise Refused(Problem.CLOSED)
    return Response(status_code=204)


@router.delete("/{number}", status_code=204, responses=problems(Problem.TOO_MANY))
async def close(request: Request, number: Number) -> None:
    """End a rendezvous for both sides: what was not left yet never will be."""
    here, who = service(request), signed(request)

    def work(connection: sa.Connection) -> None:
        _enter(request, connection, number, who)
        rendezvous.close(connection, number)

    await here.write(work)
    here.arrivals.arrived(_topic(number))


def _topic(number: int) -> bytes:
    return number.to_bytes(4, "big")
