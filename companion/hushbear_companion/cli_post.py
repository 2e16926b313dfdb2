"""The `hushbear` commands for what goes through the relay: sending there, what became of it, and
keeping it all moving."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from . import mailboxes
from .command import INTERRUPTED, JsonOption, RadioOption, ToyOption, output_for
from .errors import (
    HushbearError,
    NoFamily,
    NoSuchMember,
    NoToyInSight,
    NotThisToy,
    RelayRefused,
    RelayUnreachable,
)
from .keystore import KeyStore
from .members import called, find_member
from .relay_problems import check_installed, relay_at
from .toy import Role, Toy, far_recipient

if TYPE_CHECKING:
    from .carrier import Carrier
    from .journal import Sent
    from .output import Output
    from .post import Post

T = TypeVar("T")

_STOP = 5.0  # seconds that stopping may take


def send_far(to: Toy, file: Path, recipient: str | None, output: Output) -> None:
    """Send a recording through the relay: to a member by name, or to a toy that is far away."""

    from hushbear import container

    from . import audio, message, sealing

    if recipient is None or recipient.casefold() == "toy":
        sender = container.TOY
    else:
        sender = find_member(to, recipient)
    name = called(to, sender)
    relative = far_recipient(to, sender)
    if relative is None or (any(sender) and to.everybody[sender].role is Role.PHONE):
        if any(sender):
            raise NoSuchMember(f"{name} cannot be reached through the relay.")
        raise NoFamily("Nobody here brings messages to the toy.", "Join again by a new code.")
    if to.sender is None or not to.family:
        raise NoFamily("This phone has no key of the family yet.")
    check_installed()
    blocks = audio.blocks_from_file(file)
    epoch = max(to.family)
    header = message.new_header(to.sender, epoch)
    content = sealing.seal(header, blocks, to.family[epoch])

    async def work(post: Post) -> bool:
        post.send(relative, sender, content)
        return not (await post.put()).stuck

    why = "The relay takes nothing for them now."
    try:
        at_relay = with_post(KeyStore(), to, work)
    except (RelayUnreachable, RelayRefused) as error:
        at_relay, why = False, str(error)
    if not at_relay:
        output.waiting(f"{why} The message is kept: `hushbear run` sends it.")
    seconds = message.duration(len(content))
    output.result(
        {
            "toy": to.name,
            "to": name,
            "file": str(file),
            "id": header.id.hex(),
            "size": len(content),
            "seconds": round(seconds, 2),
            "at_relay": at_relay,
        },
        f"On its way to {name}: {seconds:.1f} s, message {header.id.hex()[:8]}.",
    )


def sent(toy: ToyOption = None, as_json: JsonOption = False) -> None:
    """Show what has become of the messages that were sent from here through the relay."""
    from .journal import Journal
    from .output import iso, when

    to = KeyStore().get(toy)
    with Journal(to.id) as journal:
        found = journal.all_sent()
    output = output_for(as_json)
    if not found and not as_json:
        output.line("Nothing was sent through the relay in the last three months.")
        return
    output.table(
        {
            "toy": to.name,
            "sent": [
                {
                    "id": each.id.hex(),
                    "from": called(to, each.origin),
                    "to": called(to, each.recipient),
                    "seconds": round(each.seconds, 2),
                    "since": iso(each.since),
                    "state": each.stage.name.lower(),
                    "changed": iso(each.changed),
                }
                for each in found
            ],
        },
        ("id", "from", "to", "since", "length", "state"),
        [
            [
                each.id.hex()[:8],
                called(to, each.origin),
                called(to, each.recipient),
                when(each.since),
                f"{each.seconds:.1f} s",
                _state(to, each),
            ]
            for each in found
        ],
    )


def _state(to: Toy, sent: Sent) -> str:
    from .letters import Stage

    bringing = far_recipient(to, sent.recipient)
    return {
        Stage.GOING: "on its way",
        Stage.ARRIVED: f"with {bringing.name if bringing else 'who brings it'}",
        Stage.FAILED: "given up: it does not open there",
    }.get(sent.stage, sent.stage.name.lower())


def run(
    once: Annotated[
        bool, typer.Option("--once", help="Do what is to be done now, and end.")
    ] = False,
    on_message: Annotated[
        str | None,
        typer.Option(metavar="COMMAND", help="Run this for each message that comes."),
    ] = None,
    answers: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where the child's messages go as WAV.")
    ] = None,
    toy: ToyOption = None,
    radio: RadioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Keep messages moving between relay, this phone and the toy, until it is stopped."""
    check_installed()
    from .carrier import Carrier
    from .output import LastingOutput
    from .private import data_directory
    from .running import Running

    store = KeyStore()
    mailboxes.get()
    toys = [store.get(toy)] if toy or not store.toys() else store.toys()
    output = output_for(as_json) if once else LastingOutput(as_json)
    at_radio = asyncio.Lock()

    def carrier_of(each: Toy) -> Carrier:
        place = answers or data_directory() / each.id.hex() / "answers"
        return Carrier(store, each, radio, output, place, on_message, at_radio)

    if not once:
        _until_stopped(Running(store, output, carrier_of, toy).run())
        return
    done = [asyncio.run(_once(carrier_of(each))) for each in toys]
    failed = [error for each in done for error in each.pop("errors")]
    from .output import error_values

    output.result(
        {
            "toys": [
                {"toy": each.name, **values} for each, values in zip(toys, done, strict=True)
            ],
            "failed": [error_values(error) for error in failed],
        },
        *(f"hushbear: {error}" for error in failed),
    )
    serious = [error for error in failed if not isinstance(error, NoToyInSight | NotThisToy)]
    if serious:
        raise typer.Exit(serious[0].exit_code)


def _until_stopped(work: Coroutine[Any, Any, None]) -> None:
    """Do something until SIGTERM, or until Ctrl-C, which raises KeyboardInterrupt. What does not
    end within seconds then is ended: nothing that matters is in this process only."""
    import os
    import signal
    import threading

    told: list[int] = []

    async def until_told() -> None:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None

        def stop(number: int) -> None:
            if not told:
                code = 0 if number == signal.SIGTERM else INTERRUPTED
                end = threading.Timer(_STOP, os._exit, (code,))
                end.daemon = True
                end.start()
            told.append(number)
            task.cancel()

        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C comes all the same
                loop.add_signal_handler(number, stop, number)
        await work

    try:
        asyncio.run(until_told())
    except asyncio.CancelledError:
        if not told:
            raise
    if signal.SIGINT in told:
        raise KeyboardInterrupt


async def _once(carrier: Carrier) -> dict[str, Any]:
    """From the relay, to the toy and back, and to the relay."""
    errors: list[HushbearError] = []
    arrivals, news, put, visit = [], [], 0, None
    for step in ("relay", "toy", "relay"):
        try:
            if step == "toy":
                visit = await carrier.visit()
                errors += visit.failed
                continue
            synced = await carrier.exchange()
        except HushbearError as error:
            errors.append(error)
            continue
        arrivals += synced.arrivals
        news += synced.news
        put += synced.moved.put
        errors += [error for _, error in (*synced.refused, *synced.waiting)]
    return {
        "arrived": [each.header.id.hex() for each in arrivals],
        "delivered": [each.id.hex() for each in visit.delivered.delivered] if visit else [],
        "fetched": [header.id.hex() for header, _ in visit.fetched] if visit else [],
        "news": [
            {"id": each.id.hex(), "to": each.recipient.hex(), "state": each.stage.name.lower()}
            for each in news
        ],
        "put": put,
        "errors": errors,
    }


def with_post(store: KeyStore, toy: Toy, work: Callable[[Post], Awaitable[T]]) -> T:
    """Do something with a toy's post; raises RelayUnreachable and RelayRefused."""
    check_installed()
    from .post import open_post

    uses = mailboxes.get()

    async def open_and_work() -> T:
        async with relay_at(uses.url) as there:
            with open_post(store, toy, there, uses) as post:
                return await work(post)

    return asyncio.run(open_and_work())
