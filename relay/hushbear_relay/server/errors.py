"""What goes wrong at the operator's, one class for each thing that is handled differently, and
what goes wrong with a request."""

from __future__ import annotations

from ..problems import Problem


class RelayError(Exception):
    """The relay cannot start or do what a command says. `hint` is what to try."""

    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message} {hint}".strip())
        self.message = message
        self.hint = hint


class UnsafeFile(RelayError):
    """A file with a key, a password or messages that others can read."""

    exit_code = 3


class OpenDatabase(RelayError):
    """A database that lets others in, or that is reached where others can listen."""

    exit_code = 4


class NoDatabase(RelayError):
    """The database cannot be reached, or has not the schema that this version needs."""

    exit_code = 5


class Refused(Exception):
    """A request that is answered with a problem, and, if told, when to try again."""

    def __init__(self, problem: Problem, retry_after: int | None = None) -> None:
        super().__init__(problem.code)
        self.problem = problem
        self.retry_after = retry_after
