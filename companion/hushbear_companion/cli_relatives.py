"""The `hushbear` commands for relatives far away: the relay, invitations, and who belongs to the
family."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import mailboxes
from .cli_family import host_name
from .cli_post import with_post
from .command import JsonOption, ToyOption, link_key, output_for
from .errors import HushbearError, InvitationUnsure, NoFamily, UsageError
from .keystore import KeyStore
from .members import find_relative
from .relay_problems import check_installed, relay_at
from .toy import MEMBERS_MAX, Member, Relative, Toy, renewal_due, without

if TYPE_CHECKING:
    from .invitation import Code
    from .output import Output

_RENEWAL = (
    "{} makes a new key for the family when this phone is near it next, as in `hushbear status`."
)


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
    own = to.members.get(to.sender)
    own_name = own_name or (own and own.name) or host_name()
    for each in (name, own_name):
        pack_name(each)
    _check_new(to, name)
    uses = mailboxes.get()

    def tell(code: Code) -> None:
        # In JSON mode, too: without the code nobody can join
        print(f"Say this to {name}, who types: hushbear join {code}", file=sys.stderr, flush=True)
        output.waiting("It is good once, for ten minutes. Waiting …")

    kept: list[Relative] = []

    def keep(relative: Relative) -> None:
        store.change(to.id, lambda known: replace(known, relatives=(*known.relatives, relative)))
        kept.append(relative)

    async def work() -> Relative:
        async with relay_at(uses.url) as there:
            from . import invitation

            return await invitation.invite(there, uses, to, name, own_name, tell, keep)

    try:
        relative = asyncio.run(work())
    except InvitationUnsure:
        raise
    except Exception:
        for here in kept:
            store.change(to.id, partial(without, relative=here))
        raise
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
    store.change(to.id, partial(without, relative=gone))
    with Inbox(to.id) as box:
        box.ask_again(gone.sender)
    told = True
    try:
        with_post(store, to, lambda post: post.admit())
    except HushbearError as error:
        told = False
        output.waiting(f"{error} The relay is told when it is there.")
    to = store.get(to.name)
    output.result(
        {"toy": to.name, **relative_values(gone), "told": told, "new_key": not renewal_due(to)},
        f"{gone.name} is removed"
        + (": the relay takes nothing from there any more." if told else ", and heard no more."),
        *([_RENEWAL.format(to.name)] if renewal_due(to) else []),
    )


def _make_mailbox(store: KeyStore, toy: Toy, output: Output) -> None:
    """Have the relay take what the other one sends; else `run` does that later."""
    try:
        with_post(store, toy, lambda post: post.admit())
    except HushbearError as error:
        output.waiting(f"{error} `hushbear run` makes up for it.")


def family(toy: ToyOption = None, as_json: JsonOption = False) -> None:
    """Show who else belongs to a toy's family."""
    from .output import when

    to = KeyStore().get(toy)
    output = output_for(as_json)
    members = sorted(to.everybody.items(), key=lambda item: (item[1].role.value, item[1].name))
    output.table(
        {
            "toy": to.name,
            "id": to.sender and to.sender.hex(),
            "members": [member_values(sender, each) for sender, each in members],
            "new_key_due": renewal_due(to),
        },
        ("name", "id", "role", "since"),
        [
            [each.name, sender.hex(), each.role.value, when(moment(each.since))]
            for sender, each in members
        ],
    )
    if renewal_due(to):
        output.waiting(_RENEWAL.format(to.name))


def member_values(sender: bytes, member: Member) -> dict[str, Any]:
    """Return the keys of a member of the family."""
    from .output import iso

    return {
        "name": member.name,
        "id": sender.hex(),
        "role": member.role.value,
        "since": iso(moment(member.since)),
    }


def relative_values(relative: Relative) -> dict[str, Any]:
    """Return the keys of a relative."""
    member = Member(relative.name, relative.role, relative.since)
    return member_values(relative.sender, member)


def moment(seconds: int) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _check_new(to: Toy, name: str) -> None:
    if len(to.everybody) + 2 > MEMBERS_MAX:
        raise UsageError(
            f"The family of {to.name} has {MEMBERS_MAX} members.", "`hushbear remove` one first."
        )
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
