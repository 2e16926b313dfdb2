"""The `hushbear` commands for relatives far away: the relay, invitations, and who belongs to the
family."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import mailboxes
from .cli_family import host_name
from .command import JsonOption, ToyOption, link_key, output_for
from .errors import HushbearError, NoFamily, UsageError
from .keystore import KeyStore, Relative, Toy
from .relay_problems import check_installed, relay_at

if TYPE_CHECKING:
    from .invitation import Code


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
    output.result(
        {"toy": toy.name, "phone": called, **relative_values(toy.relatives[0])},
        f"You belong to the family of {toy.name} now, as {called}; "
        f"{toy.relatives[0].name} has invited you.",
    )


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
