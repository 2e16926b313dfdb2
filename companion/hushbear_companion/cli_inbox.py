"""The `hushbear` commands for messages between members and the toy: seal one as a file, take such
files in, hear them, let them through or not, and bring them to the toy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .command import JsonOption, RadioOption, ToyOption, messages, output_for, with_toy
from .errors import FileProblem, HushbearError, NoFamily, UsageError
from .keystore import KeyStore
from .members import find_member, member_name, member_values
from .toy import Toy

if TYPE_CHECKING:
    from .client import Client
    from .delivery import Delivery
    from .inbox import Inbox, Incoming
    from .output import Output

IdsArgument = Annotated[
    list[str], typer.Argument(metavar="ID...", help="Ids as `inbox` shows them, or beginnings.")
]


def seal(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A WAV, FLAC or OGG of up to a minute.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Where the sealed message goes.")],
    toy: ToyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Seal a recording as a file that only the family can open, for another member's `receive`."""

    from . import audio, message, sealing

    to = KeyStore().get(toy)
    if to.sender is None or not to.family:
        raise NoFamily(
            "This phone has no key of the family yet.",
            "Connect to the toy once, with `hushbear status`: it gives this phone one.",
        )
    blocks = audio.blocks_from_file(file)
    header = message.new_header(to.sender, _epoch(to))
    content = sealing.seal(header, blocks, to.family[header.epoch])
    _write(out, content)
    seconds = message.duration(len(content))
    output_for(as_json).result(
        {
            "toy": to.name,
            "file": str(out),
            "id": header.id.hex(),
            "size": len(content),
            "seconds": round(seconds, 2),
        },
        f"{out} is sealed for the family of {to.name}: {seconds:.1f} s, "
        f"message {header.id.hex()[:8]}.",
    )


def receive(
    files: Annotated[
        list[Path], typer.Argument(metavar="FILE...", help="Sealed messages, as `seal` writes.")
    ],
    toy: ToyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take sealed messages from other members into the inbox. The toy gets what is approved."""
    from .inbox import Inbox
    from .output import error_values

    to = KeyStore().get(toy)
    taken: list[tuple[Path, Incoming, bool]] = []
    failed: list[tuple[Path, HushbearError]] = []
    with Inbox(to.id) as inbox:
        for path in files:
            try:
                taken.append((path, *inbox.take(_read(path), to.family)))
            except HushbearError as error:
                failed.append((path, error))
        due = _due(inbox, to)
    if failed and not taken and len(files) == 1:
        raise failed[0][1]
    output_for(as_json).result(
        {
            "toy": to.name,
            "received": [
                {"file": str(path), **message_values(to, each, due), "new": new}
                for path, each, new in taken
            ],
            "failed": [
                {"file": str(path), "error": error_values(error)} for path, error in failed
            ],
        },
        *(
            f"{each.id.hex()[:8]} from {member_name(to, each.sender)}, {each.seconds:.1f} s: "
            + (_state(each, due) if new else f"here before, {_state(each, due)}")
            for _, each, new in taken
        ),
        *(f"{path.name!r} failed: {error}" for path, error in failed),
    )
    if failed:
        raise typer.Exit(failed[0][1].exit_code)


def inbox(
    everything: Annotated[
        bool, typer.Option("--all", help="Also what was delivered, heard or refused.")
    ] = False,
    toy: ToyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the messages that other members have sent to the toy and that it does not have yet."""
    from .inbox import Inbox, State
    from .output import iso, when
    from .received import received

    to = KeyStore().get(toy)
    states = () if everything else (State.WAITING, State.APPROVED)
    with Inbox(to.id) as box:
        found = box.messages(*states)
        due = _due(box, to)
        standing = box.standing()
    here = received(to)
    output = output_for(as_json)
    values = {
        "toy": to.name,
        "messages": [message_values(to, each, due) for each in found],
        "always": [member_values(to, sender) for sender in standing],
        "received": [
            {
                "id": each.header.id.hex(),
                **_from_values(to, each.header.sender),
                "seconds": round(each.seconds, 2),
                "time": iso(_moment(each.header.time)),
            }
            for each in here
        ],
    }
    if found or as_json:
        output.table(
            values,
            ("id", "from", "time", "length", "state"),
            [
                [
                    each.id.hex()[:8],
                    member_name(to, each.sender),
                    when(each.time),
                    f"{each.seconds:.1f} s",
                    _state(each, due),
                ]
                for each in found
            ],
        )
    else:
        output.line(f"Nothing waits for {to.name}.")
    for each in here:
        who = _from_values(to, each.header.sender)
        output.line(
            f"{each.header.id.hex()[:8]} for you, from {who['name'] or who['from']}, "
            f"{each.seconds:.1f} s"
        )
    if standing:
        names = ", ".join(member_name(to, sender) for sender in standing)
        output.line(f"Approved always: {names}")


def play(
    message_id: Annotated[
        str, typer.Argument(metavar="ID", help="An id as `inbox` shows it, or its beginning.")
    ],
    out: Annotated[Path | None, typer.Option(help="Write a WAV instead.")] = None,
    toy: ToyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Hear a message of the inbox, or one for you, on this computer."""
    from . import sealing
    from .inbox import Inbox

    to = KeyStore().get(toy)
    if _play_received(to, message_id, out, output_for(as_json)):
        return
    with Inbox(to.id) as box:
        incoming = box.find(message_id)
        content = box.sealed(incoming.id)
        due = _due(box, to)
    _, blocks = sealing.unseal(content, to.family)
    who = f"{member_name(to, incoming.sender)}, {incoming.seconds:.1f} s"
    values = {"toy": to.name, **message_values(to, incoming, due)}
    _hear(blocks, who, values, out, output_for(as_json))


def _hear(
    blocks: bytes, who: str, values: dict[str, Any], out: Path | None, output: Output
) -> None:
    """Play blocks, or write them to `out`, and say what they were."""
    from . import message, player

    if out is None:
        output.waiting(f"Playing: {who}")
        player.play(blocks)
    else:
        _write(out, message.to_wav(blocks))
    output.result(
        {**values, "file": None if out is None else str(out)},
        *([] if out is None else [f"{out} ({who})"]),
    )


def _play_received(to: Toy, text: str, out: Path | None, output: Output) -> bool:
    """Play what has come for this phone itself, if `text` begins the id of one such message."""
    from . import sealing
    from .journal import Journal
    from .received import received

    begins = text.lower()
    found = [each for each in received(to) if each.header.id.hex().startswith(begins)]
    if len(found) != 1 or not begins:
        return False
    (each,) = found
    _, blocks = sealing.unseal(_read(each.path), to.family)
    who = _from_values(to, each.header.sender)
    line = f"{who['name'] or who['from']}, {each.seconds:.1f} s"
    values = {"toy": to.name, "id": each.header.id.hex(), **who}
    _hear(blocks, line, {**values, "seconds": round(each.seconds, 2)}, out, output)
    with Journal(to.id) as journal:
        journal.hear(each.header.id, each.header.sender)
    return True


def _from_values(to: Toy, sender: bytes) -> dict[str, str | None]:
    """Return the keys of who has sent something for this phone: a member, or the toy's child."""
    if any(sender):
        return member_values(to, sender, "from")
    return {"from": "toy", "name": to.name}


def approve(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID...]", help="Ids as `inbox` shows them, or beginnings."),
    ] = None,
    always: Annotated[
        str | None,
        typer.Option(metavar="MEMBER", help="What comes from a member, now and later."),
    ] = None,
    ask: Annotated[
        str | None,
        typer.Option(metavar="MEMBER", help="No longer: let a member's messages wait again."),
    ] = None,
    toy: ToyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let messages through to the toy; `deliver`, or the next `send`, brings them there."""
    from .inbox import Inbox

    if not ids and always is None and ask is None:
        raise UsageError(
            "That names nothing to approve.", "Name an id (`hushbear inbox`), or --always MEMBER."
        )
    to = KeyStore().get(toy)
    with Inbox(to.id) as box:
        chosen = [box.find(text) for text in dict.fromkeys(ids or [])]
        known = {*(each.sender for each in box.messages()), *box.standing()}
        trusted = None if always is None else find_member(to, always, known)
        asked = None if ask is None else find_member(to, ask, known)
        before = {each.id for each in box.due(_epoch(to))}
        for each in chosen:
            box.approve(each.id)
        if trusted is not None:
            box.approve_always(trusted)
        if asked is not None:
            box.ask_again(asked)
        due = box.due(_epoch(to))
        standing = box.standing()
    new = [each for each in due if each.id not in before]
    output_for(as_json).result(
        {
            "toy": to.name,
            "approved": [message_values(to, each, {each.id}) for each in new],
            "always": [member_values(to, sender) for sender in standing],
        },
        *_approval_lines(to, len(new), trusted, asked),
    )


def refuse(
    ids: IdsArgument,
    toy: ToyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete messages that the toy is not to have, for good: they are not taken in again."""
    from .inbox import Inbox, State

    to = KeyStore().get(toy)
    with Inbox(to.id) as box:
        chosen = [box.find(text) for text in dict.fromkeys(ids)]
        for each in chosen:  # all, or none
            if each.state in (State.HEARD, State.ANSWERED):
                box.refuse(each.id)
        for each in chosen:
            box.refuse(each.id)
    output_for(as_json).result(
        {"toy": to.name, "refused": [{"id": each.id.hex()} for each in chosen]},
        f"{messages(len(chosen))} deleted for good.",
        *(
            [f"{to.name} has {messages(on_toy)} of them, and loses that the next time."]
            if (on_toy := [each.state for each in chosen].count(State.DELIVERED))
            else []
        ),
    )


def deliver(toy: ToyOption = None, radio: RadioOption = None, as_json: JsonOption = False) -> None:
    """Bring the toy what was approved, and learn what the child has heard."""
    from .delivery import deliver as bring
    from .inbox import Inbox

    to = KeyStore().get(toy)
    output = output_for(as_json)
    with Inbox(to.id) as box:

        async def work(client: Client) -> Delivery:
            await client.phones()  # for the names of those that are new
            with output.progress(f"Delivering to {to.name}") as progress:
                return await bring(client, box, progress)

        done = with_toy(to, radio, output, work)
    to = KeyStore().get(to.name)
    output.result({"toy": to.name, **delivery_values(to, done)}, *delivery_lines(to, done))
    if done.failed:
        raise typer.Exit(done.failed[0][1].exit_code)


async def deliver_too(client: Client, to: Toy, output: Output) -> Delivery:
    """Bring what was approved, too, where another command has the toy; that command's own work is
    done, so nothing is raised."""
    from .delivery import Delivery, deliver
    from .inbox import Inbox

    try:
        with Inbox(to.id) as box:
            return await deliver(client, box)
    except HushbearError as error:
        output.waiting(f"The inbox was left alone: {error}")
        return Delivery()


async def notice_too(client: Client, to: Toy, output: Output) -> None:
    """Note what the child has heard and answered, where another command has the toy; where the
    inbox cannot be used, that command goes on."""
    from .delivery import notice
    from .inbox import Inbox

    try:
        with Inbox(to.id) as box:
            await notice(client, box)
    except FileProblem as error:
        output.waiting(f"The inbox was left alone: {error}")


def delivery_values(to: Toy, done: Delivery) -> dict[str, Any]:
    """Return the keys of what was delivered, and what was not."""
    from .output import error_values

    return {
        "delivered": [
            {"id": each.id.hex(), **member_values(to, each.sender, "from")}
            for each in done.delivered
        ],
        "failed": [
            {"id": each.id.hex(), "error": error_values(error)} for each, error in done.failed
        ],
    }


def delivery_lines(to: Toy, done: Delivery) -> list[str]:
    """Return in words what was delivered, and what was not."""
    lines = [
        f"{to.name} has {each.id.hex()[:8]} from {member_name(to, each.sender)}, "
        f"{each.seconds:.1f} s."
        for each in done.delivered
    ]
    failed = [f"{each.id.hex()[:8]} failed: {error}" for each, error in done.failed]
    return [*lines, *failed] or ["Nothing that is approved waits."]


def message_values(to: Toy, incoming: Incoming, due: set[bytes]) -> dict[str, Any]:
    """Return the keys of a message of the inbox; `due` are the ids of those that are approved."""
    from .output import iso

    return {
        "id": incoming.id.hex(),
        **member_values(to, incoming.sender, "from"),
        "size": incoming.size,
        "seconds": round(incoming.seconds, 2),
        "time": iso(incoming.time),
        "received": iso(incoming.received),
        "state": _state(incoming, due),
        "changed": iso(incoming.changed),
    }


def _approval_lines(
    to: Toy, count: int, trusted: bytes | None, asked: bytes | None
) -> Iterator[str]:
    if count:
        them = "it" if count == 1 else "them"
        yield f"{messages(count)} approved; `hushbear deliver` brings {them} to {to.name}."
    elif trusted is None and asked is None:
        yield "Nothing new is approved."
    if trusted is not None:
        yield f"What {member_name(to, trusted)} sends needs no approval any more."
    if asked is not None:
        yield f"What {member_name(to, asked)} sends waits again."


def _moment(seconds: int) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _epoch(to: Toy) -> int:
    return max(to.family, default=0)


def _due(box: Inbox, to: Toy) -> set[bytes]:
    return {each.id for each in box.due(_epoch(to))}


def _state(incoming: Incoming, due: set[bytes]) -> str:
    return "approved" if incoming.id in due else incoming.state.value


def _read(path: Path) -> bytes:
    from . import message

    try:
        with path.open("rb") as file:
            return file.read(message.SIZE_MAX + 1)
    except OSError as error:
        raise FileProblem(f"{path} cannot be read: {error.strerror}.", "Check the name.") from None


def _write(path: Path, content: bytes) -> None:
    from .private import write_private

    try:
        write_private(path, content)
    except OSError as error:
        raise FileProblem(
            f"{path} cannot be written: {error.strerror}.", "Choose another place."
        ) from None
