"""What can go wrong with a relay, one class for each thing that a caller handles differently."""

from __future__ import annotations

from ..problems import Problem


class ClientError(Exception):
    """Base of all of them."""


class Unreachable(ClientError):
    """The relay did not answer, or not in its language: try again later."""


class Refused(ClientError):
    """The relay answered with a problem. `retry_after`: seconds, if it said when to try again."""

    def __init__(self, problem: Problem, retry_after: int | None = None) -> None:
        super().__init__(problem.detail)
        self.problem = problem
        self.retry_after = retry_after


class NotFound(Refused):
    """There is no such thing, or this key may not use it: the relay does not say which."""


class Full(Refused):
    """The mailbox, or this member's share of it, is full."""


class Over(Refused):
    """The rendezvous was closed, or its time is over."""


class Sealed(ClientError):
    """An envelope that does not open: altered, or not of whom it says."""


_CLASSES: dict[Problem, type[Refused]] = {
    Problem.NOT_FOUND: NotFound,
    Problem.MAILBOX_FULL: Full,
    Problem.SHARE_FULL: Full,
    Problem.CLOSED: Over,
}


def refused(problem: Problem, retry_after: int | None = None) -> Refused:
    """Return the error that stands for a problem."""
    return _CLASSES.get(problem, Refused)(problem, retry_after)
