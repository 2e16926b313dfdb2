"""The `hushbear settings` command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .command import JsonOption, RadioOption, ToyOption, output_for, with_toy
from .errors import UsageError
from .keystore import KeyStore

if TYPE_CHECKING:
    from .client import Client

ENGLISH = "en"  # a name is spoken so where the toy is not set to a language
_SOUNDS = (".wav", ".flac", ".ogg")


def settings(
    volume: Annotated[int | None, typer.Option(help="Volume, 0 to 100 %.")] = None,
    volume_max: Annotated[int | None, typer.Option(help="Highest volume, 0 to 100 %.")] = None,
    led: Annotated[
        str | None,
        typer.Option(
            metavar="0-100|off",
            help="LED brightness in %; off, as 0, darkens it but while it records.",
        ),
    ] = None,
    quiet_hours: Annotated[
        str | None, typer.Option(metavar="HH:MM-HH:MM|on|off", help="When the toy is silent.")
    ] = None,
    record_min: Annotated[
        float | None, typer.Option(help="Shortest recording, 0.3 to 5 s.")
    ] = None,
    record_max: Annotated[int | None, typer.Option(help="Longest recording, 1 to 60 s.")] = None,
    keep_days: Annotated[
        int | None,
        typer.Option(
            help="Days that a message stays, 1 to 365; 0 keeps all as long as there is room."
        ),
    ] = None,
    keep_until_heard: Annotated[
        str | None,
        typer.Option(
            metavar="on|off", help="Whether what was heard, or fetched, goes within hours."
        ),
    ] = None,
    language: Annotated[
        str | None,
        typer.Option(help="What the toy speaks, as de; empty for the first it was given."),
    ] = None,
    spoken_name: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|TEXT",
            help="What the toy says of itself when pairing opens, up to 2 s: a WAV, FLAC or OGG,"
            ' or a name that espeak-ng speaks here. "" takes it away.',
        ),
    ] = None,
    toy: ToyOption = None,
    radio: RadioOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the toy's settings; with options, change them first."""
    from .message import BLOCK_ALIGN, BLOCK_SAMPLES, RATE
    from .output import clock_time, kept, settings_values
    from .records import Settings

    changes: dict[str, Any] = {"volume": volume, "volume_max": volume_max}
    changes |= {"led": parse_led(led), "keep_days": keep_days, "language": language}
    changes["keep_until_heard"] = parse_switch("keep-until-heard", keep_until_heard)
    if record_min is not None:
        changes["record_min_ms"] = round(record_min * 1000)
    changes["record_max_s"] = record_max
    changes |= parse_quiet_hours(quiet_hours)
    changes = {name: value for name, value in changes.items() if value is not None}
    Settings(0, 0, 0, False, 0, 0, 300, 60, 0, False, "").changed(**changes)  # before it is sent
    name = None if spoken_name is None else _blocks(spoken_name, language or ENGLISH)
    source = KeyStore().get(toy)
    output = output_for(as_json)

    async def work(client: Client) -> tuple[Settings, int]:
        nonlocal name
        current = await client.settings()
        if changes:
            await client.configure(current.changed(**changes))
            current = await client.settings()
        if spoken_name is not None and name is not None:
            if current.language not in ("", language or ENGLISH):
                name = _blocks(spoken_name, current.language)
            await client.give_name(name)
        return current, await client.name_size()

    now, size = with_toy(source, radio, output, work)
    hours = f"{clock_time(now.quiet_from)}-{clock_time(now.quiet_to)}"
    seconds = size // BLOCK_ALIGN * BLOCK_SAMPLES / RATE
    output.result(
        {
            "toy": source.name,
            "settings": settings_values(now),
            "spoken_name": round(seconds, 2) or None,
        },
        f"volume       {now.volume} %, at most {now.volume_max} %",
        f"led          {f'{now.led} %' if now.led else 'off, but while it records'}",
        f"quiet hours  {hours if now.quiet else 'off'}",
        f"recordings   {now.record_min_ms / 1000:g} to {now.record_max_s} s",
        f"messages     {kept(now)}",
        f"language     {now.language or 'the first that it was given'}",
        f"spoken name  {f'{seconds:.1f} s' if size else 'none'}",
    )


def _blocks(text: str, language: str) -> bytes:
    """Return the blocks of the recording, or of the spoken text, or of none."""
    from . import speech

    path = Path(text)
    if path.suffix.lower() in _SOUNDS or _is_file(path):
        return speech.recorded_name(path)
    return speech.spoken_name(text, language) if text else b""


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # too long to be a name of one
        return False


def parse_led(text: str | None) -> int | None:
    """Return the percentage that "40" or "off" means."""
    if text is None or text == "off":
        return None if text is None else 0
    if not re.fullmatch(r"\d{1,3}", text, re.ASCII):
        raise UsageError(f"{text!r} is no brightness.", "Write 0 to 100, or off.")
    return int(text)


def parse_switch(name: str, text: str | None) -> bool | None:
    """Return what "on" or "off" means."""
    if text not in (None, "on", "off"):
        raise UsageError(f"{name} cannot be {text!r}.", "Write on or off.")
    return None if text is None else text == "on"


def parse_quiet_hours(text: str | None) -> dict[str, Any]:
    """Return what "20:00-07:00", "on", "off" or nothing changes in the settings."""
    if text is None:
        return {}
    if text in ("on", "off"):
        return {"quiet": text == "on"}
    match = re.fullmatch(r"([01]?\d|2[0-3]):([0-5]\d)-([01]?\d|2[0-3]):([0-5]\d)", text, re.ASCII)
    if match is None:
        raise UsageError(f"{text!r} are no quiet hours.", "Write them as 20:00-07:00, or off.")
    start, end = int(match[1]) * 60 + int(match[2]), int(match[3]) * 60 + int(match[4])
    if start == end:
        raise UsageError("Quiet hours need an end other than their beginning.", "Or write off.")
    return {"quiet": True, "quiet_from": start, "quiet_to": end}
