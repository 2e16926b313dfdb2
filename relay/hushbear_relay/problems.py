"""What can be wrong with a request, as problem details (RFC 9457).

`type` is a URN that stays as it is, `detail` what happened and what to try. A mailbox that is not
there, a key that may not use it and a signature that does not fit are one and the same problem:
from outside they cannot be told apart.
"""

from __future__ import annotations

import enum
from typing import Any

MEDIA_TYPE = "application/problem+json"
_URN = "urn:x-hushbear:relay:"


class Problem(enum.Enum):
    """Code, HTTP status, and what it says."""

    MALFORMED = ("malformed", 400, "The request is not one that this relay understands.")
    DIGEST = ("digest", 400, "The body does not match its Content-Digest; send it again.")
    UNSIGNED = (
        "unsigned",
        401,
        "The request has no usable signature (RFC 9421, tag hushbear-relay-1).",
    )
    CLOCK = ("clock", 401, "The signature's time is too far from the relay's; set the clock.")
    REPLAYED = ("replayed", 401, "This very request has come before; sign it anew.")
    NOT_FOUND = ("not-found", 404, "There is nothing here for this key.")
    METHOD = ("method", 405, "This address does not know the method.")
    TOO_SLOW = ("too-slow", 408, "The body took too long to arrive; send it again.")
    ANOTHER_BODY = ("another-body", 409, "Another message has this id already.")
    CLOSED = ("closed", 410, "This rendezvous is over; begin another.")
    LENGTH = ("length", 411, "The request does not say how long its body is.")
    TOO_LARGE = ("too-large", 413, "The body is larger than this relay takes.")
    MEDIA = ("media-type", 415, "The body is not of the media type that belongs here.")
    MISDIRECTED = ("misdirected", 421, "This relay does not answer to that host name.")
    TOO_MANY = ("too-many", 429, "Too many of these from where you are; wait a minute.")
    FAILED = ("failed", 500, "The relay itself failed; try again later.")
    BUSY = ("busy", 503, "The relay is busy or stopping; try again soon.")
    STORAGE = ("storage", 503, "The relay cannot store or read now; try again later.")
    MAILBOX_FULL = ("mailbox-full", 507, "The mailbox is full; wait until its owner has fetched.")
    SHARE_FULL = (
        "share-full",
        507,
        "Your share of the mailbox is full; wait until its owner has fetched.",
    )

    def __init__(self, code: str, status: int, detail: str) -> None:
        self.code = code
        self.status = status
        self.detail = detail

    @property
    def type(self) -> str:
        return _URN + self.code

    def as_json(self) -> dict[str, Any]:
        """Return the members of the problem details object."""
        return {
            "type": self.type,
            "title": self.code.replace("-", " "),
            "status": self.status,
            "detail": self.detail,
        }


def by_type(uri: object) -> Problem | None:
    """Return the problem of that `type`, if it is one of these."""
    return next((problem for problem in Problem if problem.type == uri), None)
