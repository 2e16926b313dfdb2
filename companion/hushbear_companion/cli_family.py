"""The `hushbear` commands for the family: pair this phone, and see, name and remove phones."""

from __future__ import annotations

import asyncio
import platform
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from .command import JsonOption, RadioOption, ToyOption, output_for, with_toy
from .errors import BadCode, HushbearError, NoSuchPhone, PairingUnsure, UsageError, WrongCode
from .keystore import KeyStore

if TYPE_CHECKING:
    from .client import Client
    from .family import Phone
    from .output import Output
    from .pairing import Membership


def pair(
    name: Annotated[str | None, typer.Option(help="What to call the toy here.")] = None,
    phone: Annotated[
        str | None,
        typer.Option(
            "--as", metavar="NAME", help="What the family calls this phone; else its host name."
        ),
    ] = None,
    code: Annotated[
        str | None, typer.Option(help="The six digits; else they are asked for.")
    ] = None,
    nearest: Annotated[
        bool, typer.Option("--nearest", help="Of several toys the one with the strongest signal.")
    ] = False,
    radio: RadioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pair with a toy by the code that it speaks: hold both its paws for 5 s first."""
    from . import pairing
    from .family import pack_name

    store = KeyStore()
    output = output_for(as_json)
    phone = host_name() if phone is None else phone
    pack_name(phone)
    if name is not None:
        store.check_free(name)
    if code is not None:
        digits = pairing.check_code(code)
        membership = _attempt(radio, store, output, name, phone, digits, nearest)
    else:
        membership = _ask_and_attempt(radio, store, output, name, phone, nearest)
    known = store.toys()
    toy = store.unite(membership.key, keep_name=name is None)
    others = len(store.toys()) > 1
    output.result(
        {"toy": toy.name, "phone": phone, "epoch": max(membership.family)},
        f"{toy.name} knows this phone now, as {phone}. It starts again, which takes a moment.",
        "Send it a first message: `hushbear send hello.wav"
        + (f" --toy {_quoted(toy.name)}`." if others else "`."),
        *(
            ["It knew this phone before: `hushbear phones` shows the old entry, to be revoked."]
            if len(store.toys()) < len(known)
            else []
        ),
    )


def phones(toy: ToyOption = None, radio: RadioOption = None, as_json: JsonOption = False) -> None:
    """Show the phones that the toy knows."""
    from .output import iso, when

    source = KeyStore().get(toy)
    output = output_for(as_json)
    known = with_toy(source, radio, output, lambda client: client.phones())
    output.table(
        {
            "toy": source.name,
            "phones": [
                {
                    "slot": each.slot,
                    "id": each.sender.hex(),
                    "name": each.name,
                    "paired": iso(each.paired),
                    "here": each.here,
                }
                for each in known
            ],
        },
        ("slot", "name", "id", "paired", ""),
        [
            [
                str(each.slot),
                each.name or "-",
                each.sender.hex(),
                when(each.paired),
                "this phone" if each.here else "",
            ]
            for each in known
        ],
    )


def rename(
    names: Annotated[
        list[str],
        typer.Argument(
            metavar="[PHONE] NAME", help="A name or slot as `phones` shows it; else this phone."
        ),
    ],
    toy: ToyOption = None,
    radio: RadioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change what the family calls a phone."""
    from .family import pack_name

    if len(names) > 2:
        raise UsageError(
            "That is more than a phone and its name.", "Put a name with blanks in quotes."
        )
    name = names[-1]
    pack_name(name)
    source = KeyStore().get(toy)
    output = output_for(as_json)

    async def work(client: Client) -> tuple[Phone, Phone]:
        known = await client.phones()
        if len(names) == 2:
            old = find_phone(known, names[0])
        else:
            old = next(each for each in known if each.here)
        await client.rename(old.slot, name)
        return old, next(each for each in await client.phones() if each.slot == old.slot)

    old, new = with_toy(source, radio, output, work)
    output.result(
        {"toy": source.name, "slot": new.slot, "id": new.sender.hex(), "name": new.name},
        f"{old.name or f'The phone in slot {old.slot}'} is called {new.name} now.",
    )


def revoke(
    phone: Annotated[
        str, typer.Argument(metavar="PHONE", help="A name or slot as `phones` shows it.")
    ],
    toy: ToyOption = None,
    radio: RadioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Have the toy forget a phone, at once. The others get a new family key when they connect."""
    source = KeyStore().get(toy)
    output = output_for(as_json)

    async def work(client: Client) -> tuple[Phone, int]:
        gone = find_phone(await client.phones(), phone)
        if gone.here:
            raise UsageError(
                "That is this phone itself, and it would not reach the toy any more.",
                "Revoke it from another phone, or forget the toy here: `hushbear toys forget`.",
            )
        await client.revoke(gone.slot)
        await client.phones()  # so that the names known here are those of the phones that remain
        return gone, client.epoch

    gone, epoch = with_toy(source, radio, output, work)
    output.result(
        {
            "toy": source.name,
            "revoked": {"slot": gone.slot, "id": gone.sender.hex(), "name": gone.name},
            "epoch": epoch,
        },
        f"{gone.name or f'The phone in slot {gone.slot}'} is forgotten. "
        f"The family has a new key, number {epoch}.",
    )


def find_phone(known: list[Phone], text: str) -> Phone:
    """Return the phone in slot `text`, or the only one of that name; NoSuchPhone else."""
    text = " ".join(text.split())
    for each in known:
        if text == str(each.slot):
            return each
    found = [each for each in known if each.name.casefold() == text.casefold()]
    if len(found) > 1:
        slots = ", ".join(str(each.slot) for each in found)
        raise NoSuchPhone(f"{len(found)} phones are called {text!r}.", f"Name a slot: {slots}.")
    if not found or not text:
        raise NoSuchPhone(f"The toy knows no phone {text!r}.")
    return found[0]


def _ask_and_attempt(
    radio: str | None, store: KeyStore, output: Output, name: str | None, phone: str, nearest: bool
) -> Membership:
    """Ask for the code until it is right. A scan and an attempt have an event loop each, so that
    none runs while somebody types, and Ctrl-C ends the command."""
    from . import pairing
    from .transport import open_radio

    async def look() -> None:
        async with open_radio(radio) as air:
            pairing.choose(await pairing.open_windows(air), nearest=nearest)

    asyncio.run(look())
    error: HushbearError = BadCode("No code was typed.")
    while True:
        print("The code that the toy speaks: ", end="", file=sys.stderr, flush=True)
        line = sys.stdin.readline(200)
        if not line.strip():
            raise error
        try:
            return _attempt(radio, store, output, name, phone, pairing.check_code(line), nearest)
        except (BadCode, WrongCode) as wrong:
            error = wrong
            if isinstance(wrong, WrongCode) and not wrong.left:
                raise
            output.waiting(str(wrong))


def _attempt(
    radio: str | None,
    store: KeyStore,
    output: Output,
    name: str | None,
    phone: str,
    code: bytes,
    nearest: bool,
) -> Membership:
    """Pair, and have the toy among those that are known here; or raise, and it is not, unless the
    toy may know this phone."""
    from . import pairing
    from .client import Client
    from .transport import open_radio

    kept: list[Membership] = []

    def keep(membership: Membership) -> None:
        store.add(name or store.free_name(), membership.key, membership.sender, membership.family)
        kept.append(membership)

    async def run() -> Membership:
        async with open_radio(radio) as air:
            sighting = pairing.choose(await pairing.open_windows(air), nearest=nearest)
            try:
                return await pairing.pair(air, sighting, code, phone, keep)
            except PairingUnsure as unsure:
                output.waiting(f"{unsure.message} Asking the toy whether it knows this phone.")
                client = Client(kept[0].key, air, waiting=output.waiting)
                try:
                    await client.status()
                except HushbearError:
                    raise unsure from None
                finally:
                    await client.close()
                return kept[0]

    try:
        return asyncio.run(run())
    except PairingUnsure:
        raise
    except HushbearError:  # Ctrl-C may have come too late, so after that the key stays
        for membership in kept:
            store.forget(membership.key)
        raise


def host_name() -> str:
    """Return what this phone may be called where nobody has named it."""
    from .family import NAME_SIZE

    name = "".join(c for c in platform.node() if c.isprintable())
    return name.encode("utf-8", "ignore")[:NAME_SIZE].decode("utf-8", "ignore").strip() or "phone"


def _quoted(name: str) -> str:
    import shlex

    return shlex.quote(name)
