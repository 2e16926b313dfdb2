"""The `hushbear` commands for relatives far away: the relay, invitations, and who belongs to the
family."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import mailboxes
from .cli_family import host_name
from .command import JsonOption, RadioOption, ToyOption, link_key, output_for
from .errors import (
    HushbearError,
    NoFamily,
    NoToyInSight,
    NotThisToy,
    RelayRefused,
    RelayUnreachable,
    UsageError,
)
from .keystore import KeyStore
from .relay_problems import check_installed, relay_at
from .toy import Relative, Role, Toy

if TYPE_CHECKING:
    from .carrier import Carrier
    from .invitation import Code
    from .output import Output
    from .post import Post


def relay(
    url: Annotated[
        str | None, typer.Argument(metavar="[URL]", help="https://…, as whoever runs it says.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Name the relay that the family uses, or say which one it is."""
    output = output_for(as_json)
    if url is None:
        uses = mailboxes.get()
        output.result({"relay": uses.url}, uses.url)
        return
    url = mailboxes.check_url(url)

    async def ask() -> None:
        async with relay_at(url) as there:
            await there.about()

    asyncio.run(ask())
    uses = mailboxes.use(url)
    output.result(
        {"relay": uses.url}, f"{uses.url} is the relay now. All relatives have to use it."
    )


def invite(
    name: Annotated[str, typer.Argument(metavar="NAME", help="What the family calls them.")],
    own_name: Annotated[
        str | None,
        typer.Option("--as", metavar="NAME", help="What they see this phone as; else as the toy."),
    ] = None,
    toy: ToyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Invite a relative who is far away: say the code on the telephone, and wait."""
    from .family import pack_name

    store = KeyStore()
    to = store.get(toy)
    output = output_for(as_json)
    link_key(to)
    if to.sender is None or not to.family:
        raise NoFamily(
            "This phone has no key of the family yet.",
            "Connect to the toy once, with `hushbear status`: it gives this phone one.",
        )
    name = " ".join(name.split())
    own_name = own_name or to.members.get(to.sender) or host_name()
    for each in (name, own_name):
        pack_name(each)
    _check_new(to, name)
    uses = mailboxes.get()

    def tell(code: Code) -> None:
        # In JSON mode, too: without the code nobody can join
        print(f"Say this to {name}, who types: hushbear join {code}", file=sys.stderr, flush=True)
        output.waiting("It is good once, for ten minutes. Waiting …")

    async def work() -> Relative:
        async with relay_at(uses.url) as there:
            from . import invitation

            return await invitation.invite(there, uses, to, name, own_name, tell)

    relative = asyncio.run(work())

    store.change(to.id, lambda known: replace(known, relatives=(*known.relatives, relative)))
    _make_mailbox(store, store.get(to.name), output)
    output.result(
        {"toy": to.name, **relative_values(relative)},
        f"{name} belongs to the family of {to.name} now.",
    )


def join(
    words: Annotated[
        list[str],
        typer.Argument(metavar="CODE", help="The number and the two words you were told."),
    ],
    name: Annotated[str | None, typer.Option(help="What to call the toy here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Join the family of a toy that is far away, by the code of an invitation."""
    check_installed()
    from . import invitation

    code = invitation.Code.parse(" ".join(words))
    store = KeyStore()
    output = output_for(as_json)
    if name is not None:
        name = store.check_free(name)
    uses = mailboxes.get()
    toy_id = os.urandom(8)
    kept: list[Toy] = []

    def keep(toy: Toy, called: str) -> None:
        toy = replace(toy, name=name or _name_here(store, toy.name))
        store.join(toy)
        kept.append(toy)

    async def work() -> str:
        async with relay_at(uses.url) as there:
            return await invitation.join(there, uses, code, toy_id, keep)

    try:
        called = asyncio.run(work())
    except BaseException:
        if kept:
            store.leave(toy_id)
        raise
    (toy,) = kept
    _make_mailbox(store, toy, output)
    output.result(
        {"toy": toy.name, "phone": called, **relative_values(toy.relatives[0])},
        f"You belong to the family of {toy.name} now, as {called}; "
        f"{toy.relatives[0].name} has invited you.",
    )


def remove(
    name: Annotated[str, typer.Argument(metavar="NAME", help="As `hushbear family` shows it.")],
    toy: ToyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let a relative write and hear no more, from now on."""
    from .inbox import Inbox

    store = KeyStore()
    to = store.get(toy)
    output = output_for(as_json)
    gone = find_relative(to, name)
    store.change(
        to.id,
        lambda known: replace(
            known, relatives=tuple(each for each in known.relatives if each != gone)
        ),
    )
    with Inbox(to.id) as box:
        box.ask_again(gone.sender)
    told = True
    try:
        _with_post(store, to, lambda post: _shut_out(post, gone))
    except HushbearError as error:
        told = False
        output.waiting(f"{error} The relay is told when it is there.")
    output.result(
        {"toy": to.name, **relative_values(gone), "told": told},
        f"{gone.name} is removed"
        + (": the relay takes nothing from there any more." if told else ", and heard no more."),
    )


def _make_mailbox(store: KeyStore, toy: Toy, output: Output) -> None:
    """Have the relay take what the other one sends; else `run` does that later."""
    try:
        _with_post(store, toy, lambda post: post.admit())
    except HushbearError as error:
        output.waiting(f"{error} `hushbear run` makes up for it.")


async def _shut_out(post: Post, gone: Relative) -> None:
    post.forget(gone)
    await post.admit()


def send_far(to: Toy, file: Path, recipient: str | None, output: Output) -> None:
    """Send a recording through the relay: to a relative by name, or to a toy that is far away."""
    import time

    from . import audio, message, sealing
    from .post import Kind

    if recipient is None or recipient.casefold() == "toy":
        kind, name = Kind.FOR_TOY, to.name
        relative = next((each for each in to.relatives if each.role is Role.PARENT), None)
        if relative is None:
            raise NoFamily("Nobody here brings messages to the toy.", "Join again by a new code.")
    else:
        kind, relative = Kind.FOR_YOU, find_relative(to, recipient)
        name = relative.name
    if to.sender is None or not to.family:
        raise NoFamily("This phone has no key of the family yet.")
    check_installed()
    blocks = audio.blocks_from_file(file)
    epoch = max(to.family)
    now = message.timestamp(time.time())
    header = message.Header(message.new_id(), to.sender, now, epoch)
    content = sealing.seal(header, blocks, to.family[epoch])

    async def work(post: Post) -> None:
        post.send(relative, kind, content, header.id)
        await post.put()

    at_relay = True
    try:
        _with_post(KeyStore(), to, work)
    except (RelayUnreachable, RelayRefused) as error:
        at_relay = False
        output.waiting(f"{error} The message is kept: `hushbear run` sends it.")
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
    from .carrier import Carrier, run_all
    from .private import data_directory

    store = KeyStore()
    uses = mailboxes.get()
    output = output_for(as_json)
    toys = [store.get(toy)] if toy or not store.toys() else store.toys()
    carriers = [
        Carrier(
            store, each, uses, radio, output,
            answers or data_directory() / each.id.hex() / "answers", on_message,
        )
        for each in toys
    ]  # fmt: skip
    if not once:
        asyncio.run(run_all(carriers, output.waiting))
        return
    done = [asyncio.run(_once(carrier)) for carrier in carriers]
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


async def _once(carrier: Carrier) -> dict[str, Any]:
    """From the relay, to the toy and back, and to the relay."""
    errors: list[HushbearError] = []
    arrivals, put, visit = [], 0, None
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
        put += synced.moved.put
        errors += [error for _, error in (*synced.refused, *synced.waiting)]
    return {
        "arrived": [each.header.id.hex() for each in arrivals],
        "delivered": [each.id.hex() for each in visit.delivered.delivered] if visit else [],
        "fetched": [header.id.hex() for header, _ in visit.fetched] if visit else [],
        "put": put,
        "errors": errors,
    }


def _with_post(store: KeyStore, toy: Toy, work: Callable[[Post], Awaitable[None]]) -> None:
    """Do something with a toy's post; raises RelayUnreachable and RelayRefused."""
    check_installed()
    from .post import open_post

    uses = mailboxes.get()

    async def open_and_work() -> None:
        async with relay_at(uses.url) as there:
            with open_post(store, toy, there, uses) as post:
                await work(post)

    asyncio.run(open_and_work())


def family(toy: ToyOption = None, as_json: JsonOption = False) -> None:
    """Show who belongs to a toy's family, as far as this phone knows."""
    from .output import when

    to = KeyStore().get(toy)
    output = output_for(as_json)
    phones = [
        {"name": name, "id": sender.hex(), "role": "phone", "since": None}
        for sender, name in to.members.items()
        if sender != to.sender
    ]
    output.table(
        {
            "toy": to.name,
            "id": to.sender and to.sender.hex(),
            "members": [*phones, *(relative_values(each) for each in to.relatives)],
        },
        ("name", "id", "role", "since"),
        [
            *([str(each["name"]), str(each["id"]), "phone", "-"] for each in phones),
            *(
                [each.name, each.sender.hex(), each.role.value, when(_moment(each))]
                for each in to.relatives
            ),
        ],
    )


def relative_values(relative: Relative) -> dict[str, Any]:
    """Return the keys of a relative."""
    from .output import iso

    return {
        "name": relative.name,
        "id": relative.sender.hex(),
        "role": relative.role.value,
        "since": iso(_moment(relative)),
    }


def find_relative(to: Toy, text: str) -> Relative:
    """Return the only relative who is called so, or whose sender id it is; NoSuchMember else."""
    from .errors import NoSuchMember

    text = " ".join(text.split())
    found = [
        each
        for each in to.relatives
        if text.lower() == each.sender.hex() or text.casefold() == each.name.casefold()
    ]
    if len(found) != 1:
        raise NoSuchMember(
            f"{'Several relatives are' if found else 'No relative is'} called {text!r}.",
            "See `hushbear family`.",
        )
    return found[0]


def _moment(relative: Relative) -> Any:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(relative.since, UTC) if relative.since else None


def _check_new(to: Toy, name: str) -> None:
    if any(known.casefold() == name.casefold() for known in to.names.values()):
        raise UsageError(
            f"Somebody in the family of {to.name} is called {name!r} already.",
            "Choose another name, or `hushbear remove` the old one.",
        )


def _name_here(store: KeyStore, name: str) -> str:
    """Return a free name for a toy that is called `name` over there."""
    from .keystore import check_name

    try:
        return store.check_free(store.free_name(check_name(name)))
    except HushbearError:
        return store.free_name()
