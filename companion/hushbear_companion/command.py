"""What all `hushbear` commands have in common: options, errors, and the toy that one is for."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer
import typer.core
from typer.exceptions import TyperException

from .errors import FarAway, HushbearError, UsageError
from .keystore import KeyStore
from .toy import Toy

if TYPE_CHECKING:
    from .client import Client
    from .output import Output

T = TypeVar("T")

INTERRUPTED = 130


class Group(typer.core.TyperGroup):
    """Turns every error into one line, or one JSON object, and an exit code."""

    def main(self, args: Any = None, *_: Any, **options: Any) -> Any:
        arguments = list(sys.argv[1:] if args is None else args)
        as_json = "--json" in arguments
        options["standalone_mode"] = False
        error: HushbearError
        try:
            code = super().main(arguments, **options) or 0
            if code != INTERRUPTED:
                sys.exit(code)
            error = _interrupted()  # typer has caught it already
        except HushbearError as raised:
            error = raised
        except TyperException as raised:
            error = UsageError(_sentence(raised.format_message()), "See `hushbear --help`.")
        except (typer.Abort, KeyboardInterrupt):
            error = _interrupted()
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            sys.exit(1)
        except Exception as raised:
            if os.environ.get("HUSHBEAR_DEBUG"):
                raise
            error = own_failure(raised)
        from .output import report

        report(error, as_json)
        sys.exit(error.exit_code)


JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
ToyOption = Annotated[
    str | None, typer.Option("--toy", metavar="NAME", help="Which toy, if several are known.")
]
RadioOption = Annotated[
    str | None,
    typer.Option(
        "--radio",
        metavar="SPEC",
        envvar="HUSHBEAR_RADIO",
        help="A bumble transport instead of this computer's Bluetooth, e.g. "
        "tcp-client:127.0.0.1:9000.",
    ),
]


def with_toy(
    toy: Toy, radio: str | None, output: Output, work: Callable[[Client], Awaitable[T]]
) -> T:
    """Return what `work` does with a toy, connected; what it tells of its family is kept."""
    return asyncio.run(at_toy(toy, radio, output, work))


async def at_toy(
    toy: Toy, radio: str | None, output: Output, work: Callable[[Client], Awaitable[T]]
) -> T:
    """As with_toy, where an event loop runs already."""
    from .client import Client
    from .transport import open_radio

    key = link_key(toy)
    store = KeyStore()
    async with (
        open_radio(radio) as air,
        Client(
            key,
            air,
            waiting=output.waiting,
            sender=toy.sender,
            family_keys=toy.family,
            renew=toy.away.spent,
            learned=lambda client: store.learn(key, client.sender, client.family, client.members),
        ) as client,
    ):
        return await work(client)


def link_key(toy: Toy) -> bytes:
    """Return this phone's key of a toy, or raise FarAway."""
    if toy.key is None:
        raise FarAway(f"This phone has no key of {toy.name}, which is far away.")
    return toy.key


def output_for(as_json: bool) -> Output:
    """Return where a command's result goes."""
    from .output import Output

    return Output(as_json)


def messages(count: int) -> str:
    """Return "1 message" or "2 messages"."""
    return "1 message" if count == 1 else f"{count} messages"


def own_failure(raised: Exception) -> HushbearError:
    """Return what to say of an exception that nobody has foreseen."""
    return HushbearError(
        f"The companion itself failed ({type(raised).__name__}: {raised}).",
        "Set HUSHBEAR_DEBUG=1 to see where, and report it.",
    )


def _interrupted() -> HushbearError:
    error = HushbearError("Stopped.", "The same command again goes on from here.")
    error.code, error.exit_code = "interrupted", INTERRUPTED
    return error


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text if text.endswith(".") else text + "."
