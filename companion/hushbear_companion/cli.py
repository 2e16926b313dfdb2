"""The `hushbear` command: the phone's side of a toy, from a terminal.

Exit codes and the keys that --json prints are listed in companion/README.md and stay as they are.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import cli_family, cli_inbox, cli_post, cli_relatives, cli_settings, link
from .command import (
    Group,
    JsonOption,
    RadioOption,
    ToyOption,
    link_key,
    messages,
    output_for,
    with_toy,
)
from .errors import HushbearError, NoSuchMessage, NoToyInSight, UsageError
from .keystore import KeyStore

if TYPE_CHECKING:
    from .client import Client
    from .delivery import Delivery
    from .records import Entry

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
toys_app = typer.Typer(no_args_is_help=True, help="The toys that are known here.")
app.add_typer(toys_app, name="toys")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"hushbear {version('hushbear')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Send voice messages to a Hushbear toy and fetch its answers."""


@app.command()
def scan(
    seconds: Annotated[float, typer.Option(min=1, max=60, help="How long to listen.")] = 5.0,
    radio: RadioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the toys near by. They are anonymous: whose one is, only connecting tells."""
    from .transport import open_radio

    async def listen() -> list[Any]:
        async with open_radio(radio) as air:
            return await air.sightings(seconds)

    seen = asyncio.run(listen())
    if not seen:
        raise NoToyInSight("No toy is in sight.")
    output_for(as_json).table(
        {"toys": [{"address": toy.address, "rssi": toy.rssi} for toy in seen]},
        ("address", "signal"),
        [[toy.address, f"{toy.rssi} dBm"] for toy in seen],
    )


@app.command()
def add(
    text: Annotated[
        str,
        typer.Argument(metavar="LINK", help="hushbear://toy/… as text; - reads it from stdin."),
    ] = "-",
    name: Annotated[str | None, typer.Option(help="What to call the toy here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Remember a toy from the link, or the QR code's text, that its set-up printed."""
    if text == "-":
        if sys.stdin.isatty():
            print("Paste the link:", file=sys.stderr)
        text = sys.stdin.readline(1000)
    key = link.parse_link(text).key
    store = KeyStore()
    if name is None:
        name = next((toy.name for toy in store.toys() if toy.key == key), "bear")
    toy = store.add(name, key)
    output_for(as_json).result({"toy": toy.name}, f"{toy.name} is known now.")


@app.command()
def send(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A WAV, FLAC or OGG of up to a minute.")
    ],
    recipient: Annotated[
        str | None,
        typer.Option("--to", metavar="NAME", help="A relative, by the relay; else the toy."),
    ] = None,
    toy: ToyOption = None,
    radio: RadioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a recording to the toy, and with it what was approved; or to a relative."""
    from . import message
    from .outbox import Outbox

    to = KeyStore().get(toy)
    output = output_for(as_json)
    if to.key is None or (recipient or "toy").casefold() != "toy":
        cli_post.send_far(to, file, recipient, output)
        return
    outbox = Outbox()
    draft = outbox.draft(to, file)
    seconds = draft.seconds

    async def work(client: Client) -> tuple[bytes, Delivery]:
        if client.sender is None:
            await client.phones()
        content = outbox.seal(draft, client.sender, client.family)
        with output.progress(f"Sending to {to.name}") as progress:
            await client.send(content, progress)
        outbox.confirmed(draft)
        return content, await cli_inbox.deliver_too(client, to, output)

    content, others = with_toy(to, radio, output, work)
    header = message.parse_header(content)
    output.result(
        {
            "toy": to.name,
            "file": str(file),
            "id": header.id.hex(),
            "size": len(content),
            "seconds": round(seconds, 2),
            **cli_inbox.delivery_values(to, others),
        },
        f"{to.name} has it: {seconds:.1f} s, message {header.id.hex()[:8]}.",
        *(cli_inbox.delivery_lines(to, others) if others.delivered or others.failed else []),
    )


@app.command()
def fetch(
    directory: Annotated[Path, typer.Argument(metavar="DIR", help="Where the WAV files go.")],
    everything: Annotated[
        bool, typer.Option("--all", help="Also messages that were fetched before.")
    ] = False,
    toy: ToyOption = None,
    radio: RadioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch what the child recorded, as WAV files."""
    from . import recordings
    from .errors import BadMessage, Damaged
    from .output import error_values, iso
    from .received import fetched_directory
    from .records import Box

    source = KeyStore().get(toy)
    output = output_for(as_json)
    sealed = fetched_directory(source)
    recordings.prepare(directory)
    recordings.prepare(sealed, private=True)
    fetched: list[tuple[Entry, Path, Path]] = []
    failed: list[tuple[Entry, HushbearError]] = []

    async def work(client: Client) -> None:
        await cli_inbox.notice_too(client, source, output)
        entries = [e for e in await client.entries(Box.OUTBOX) if everything or not e.done]
        for number, entry in enumerate(entries, 1):
            with output.progress(f"Fetching {number} of {len(entries)}") as progress:
                try:
                    path, kept = await recordings.fetch_into(
                        client, entry, directory, sealed, progress
                    )
                except (BadMessage, Damaged, NoSuchMessage) as error:
                    failed.append((entry, error))  # the others are none the worse for it
                    continue
            fetched.append((entry, path, kept))
            output.line(f"{path} ({entry.seconds:.1f} s)")

    with_toy(source, radio, output, work)
    output.result(
        {
            "toy": source.name,
            "fetched": [
                {
                    "id": entry.id.hex(),
                    "file": str(path),
                    "sealed": str(kept),
                    "seconds": round(entry.seconds, 2),
                    "time": iso(entry.time),
                }
                for entry, path, kept in fetched
            ],
            "failed": [
                {"id": entry.id.hex(), "error": error_values(error)} for entry, error in failed
            ],
        },
        f"{messages(len(fetched))} fetched." if fetched else "Nothing new.",
        *(f"{entry.id.hex()[:8]} failed: {error}" for entry, error in failed),
    )
    if failed:
        raise typer.Exit(failed[0][1].exit_code)


@app.command("list")
def listmessages(
    toy: ToyOption = None, radio: RadioOption = None, as_json: JsonOption = False
) -> None:
    """Show the messages on the toy."""
    from .output import entry_values, sender_name, when
    from .records import Box

    source = KeyStore().get(toy)
    output = output_for(as_json)

    async def work(client: Client) -> tuple[list[Entry], bytes | None]:
        return await client.entries(Box.INBOX) + await client.entries(Box.OUTBOX), client.sender

    entries, own = with_toy(source, radio, output, work)
    state = {
        (Box.INBOX, False): "not heard yet",
        (Box.INBOX, True): "heard",
        (Box.OUTBOX, False): "not fetched yet",
        (Box.OUTBOX, True): "fetched",
    }
    values = {
        "toy": source.name,
        "messages": [entry_values(entry, own) for entry in entries],
    }
    if not entries and not as_json:
        output.result(values, f"{source.name} has no messages.")
        return
    output.table(
        values,
        ("id", "box", "from", "time", "length", "state"),
        [
            [
                entry.id.hex()[:8],
                entry.box.name.lower(),
                sender_name(entry.sender, own),
                when(entry.time),
                f"{entry.seconds:.1f} s",
                state[entry.box, entry.done],
            ]
            for entry in entries
        ],
    )


@app.command()
def delete(
    ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids, or how they begin.")],
    force: Annotated[
        bool, typer.Option("--force", help="Also what was not heard or fetched yet.")
    ] = False,
    toy: ToyOption = None,
    radio: RadioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete messages on the toy."""
    from .client import find
    from .records import Box

    source = KeyStore().get(toy)
    output = output_for(as_json)

    async def work(client: Client) -> list[Entry]:
        entries = await client.entries(Box.INBOX) + await client.entries(Box.OUTBOX)
        chosen = [find(entries, text) for text in dict.fromkeys(ids)]
        for entry in chosen:
            if not entry.done and not force:
                state = "heard" if entry.box is Box.INBOX else "fetched"
                raise UsageError(
                    f"Message {entry.id.hex()[:8]} was not {state} yet; nothing was deleted.",
                    "Delete it all the same with --force.",
                )
        for entry in chosen:
            await client.delete(entry.box, entry.id)
        return chosen

    gone = with_toy(source, radio, output, work)
    output.result(
        {
            "toy": source.name,
            "deleted": [{"id": e.id.hex(), "box": e.box.name.lower()} for e in gone],
        },
        f"{messages(len(gone))} deleted.",
    )


@app.command()
def status(toy: ToyOption = None, radio: RadioOption = None, as_json: JsonOption = False) -> None:
    """Show how the toy is."""
    from .output import status_values, when

    source = KeyStore().get(toy)
    output = output_for(as_json)
    now = with_toy(source, radio, output, lambda client: client.status())
    battery = f"{now.battery_mv / 1000:.2f} V" if now.battery_mv else "not measured"
    output.result(
        {"toy": source.name, **status_values(now)},
        f"{source.name}: {now.doing.name.lower()}{', quiet hours' if now.quiet_now else ''}",
        f"inbox     {messages(now.inbox)}, {now.unheard} not heard yet",
        f"outbox    {messages(now.outbox)}, {now.unfetched} not fetched yet",
        f"room      {now.free // 1024} kB of {now.total // 1024} kB free",
        f"battery   {battery}",
        f"clock     {when(now.clock)}",
        f"firmware  {now.firmware or 'unknown'}, up {now.uptime // 60} min, "
        f"{now.heap_free // 1024} kB of memory free",
        *([f"crash log {now.crashlog} bytes: see `hushbear crashlog`"] if now.crashlog else []),
    )


@app.command()
def crashlog(
    clear: Annotated[bool, typer.Option("--clear", help="Empty it after showing it.")] = False,
    toy: ToyOption = None,
    radio: RadioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what went wrong on the toy."""
    source = KeyStore().get(toy)
    output = output_for(as_json)

    async def work(client: Client) -> str:
        text = await client.crashlog()
        if clear:
            await client.clear_crashlog()
        return text

    text = with_toy(source, radio, output, work)
    output.result(
        {"toy": source.name, "crashlog": text, "cleared": clear},
        text.rstrip("\n") or "The crash log is empty.",
    )


@toys_app.command("list")
def toys_list(as_json: JsonOption = False) -> None:
    """Show the toys that are known here."""
    names = [toy.name for toy in KeyStore().toys()]
    output_for(as_json).result(
        {"toys": [{"name": name} for name in names]}, *(names or ["No toy is known here yet."])
    )


@toys_app.command("show")
def toys_show(
    toy: Annotated[str | None, typer.Argument(metavar="NAME")] = None,
    png: Annotated[Path | None, typer.Option(help="Write the QR code here.")] = None,
    svg: Annotated[Path | None, typer.Option(help="Write the QR code here.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Show a toy's link as a QR code, for your other phone. It is the key: keep it secret."""
    known = KeyStore().get(toy)
    secret = link.ToyLink(link_key(known))
    if png:
        link.save_png(secret, png)
    if svg:
        link.save_svg(secret, svg)
    if as_json:
        values = {"png": png and str(png), "svg": svg and str(svg)}
        output_for(as_json).result({"toy": known.name, "link": str(secret), **values})
    elif not (png or svg):
        link.show(secret)


@toys_app.command("forget")
def toys_forget(
    toy: Annotated[str, typer.Argument(metavar="NAME")], as_json: JsonOption = False
) -> None:
    """Forget a toy and its key. The toy itself keeps its messages."""
    gone = KeyStore().remove(toy)
    output_for(as_json).result({"toy": gone.name}, f"{gone.name} is forgotten.")


for _command in (
    cli_settings.settings,
    *(cli_inbox.seal, cli_inbox.receive, cli_inbox.inbox, cli_inbox.play, cli_inbox.approve),
    *(cli_inbox.refuse, cli_inbox.deliver),
    *(cli_relatives.relay, cli_relatives.invite, cli_relatives.join, cli_relatives.family),
    *(cli_relatives.remove, cli_post.sent, cli_post.run),
    *(cli_family.pair, cli_family.phones, cli_family.rename, cli_family.revoke),
):
    app.command()(_command)


def main() -> None:
    """Run the command."""
    app()
