"""The `hushbear-relay` command. Exit codes: 0 done, 1 it cannot, 2 called in a way that makes no
sense, 3 a file that others can read, 4 a database that is open, 5 no database, 6 check found
something."""

from __future__ import annotations

import dataclasses
import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core
from pydantic import SecretStr

from . import logs, upkeep
from .bodies import open_store
from .database import open_database
from .errors import RelayError
from .settings import FILE, PREFIX, Settings, load

FOUND = 6


class _Group(typer.core.TyperGroup):
    """Turns what goes wrong into one line and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except RelayError as error:
            print(f"hushbear-relay: {error}", file=sys.stderr)
            raise typer.Exit(error.exit_code) from None


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="Keep sealed messages until they are fetched. Settings come from the environment or a "
    "file; `hushbear-relay settings` lists them.",
)

DataOption = Annotated[
    Path | None, typer.Option("--data", metavar="DIRECTORY", help="Where the SQLite database is.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]


def _settings(**given: Any) -> Settings:
    return load(**{name: value for name, value in given.items() if value is not None})


@app.command()
def serve(
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Address of the API.")
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Address of health and metrics; '' for none."),
    ] = None,
    reuse_port: Annotated[
        bool | None, typer.Option("--reuse-port", help="Share the API's port with other relays.")
    ] = None,
    data: DataOption = None,
) -> None:
    """Serve until SIGTERM. Makes or migrates the database first."""
    from .serve import serve

    settings = _settings(listen=listen, metrics=metrics, reuse_port=reuse_port, data=data)
    logs.configure(settings.log_level)
    serve(settings)


@app.command()
def check(
    running: Annotated[
        bool,
        typer.Option("--running", help="Only ask the relay that runs here whether it is well."),
    ] = False,
    data: DataOption = None,
) -> None:
    """Say whether settings, files, database and store are as they should be."""
    settings = _settings(data=data)
    if running:
        _check_running(settings)
        return
    wrong = upkeep.check(open_database(settings), open_store(settings))
    for line in wrong:
        print(f"hushbear-relay: {line}.", file=sys.stderr)
    if wrong:
        raise typer.Exit(FOUND)
    print("All is well.")


def _check_running(settings: Settings) -> None:
    address = settings.metrics.replace("0.0.0.0", "127.0.0.1").replace("[::]", "[::1]")
    try:
        with urllib.request.urlopen(f"http://{address}/health/ready", timeout=5) as answer:
            print(answer.read(100).decode().strip())
    except urllib.error.HTTPError as error:
        said = error.read(100).decode().strip()
        print(f"hushbear-relay: {said}.", file=sys.stderr)
        raise typer.Exit(FOUND) from None
    except (OSError, ValueError):
        raise RelayError(
            "No relay answers at its metrics address.", f"See {PREFIX}METRICS."
        ) from None


@app.command()
def purge(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Delete what is over. A relay that runs does so by itself, once a minute."""
    settings = _settings(data=data)
    database = open_database(settings)
    database.check_version()
    _print(dataclasses.asdict(upkeep.purge(database, open_store(settings), settings)), as_json)


@app.command()
def backup(
    file: Annotated[Path, typer.Argument(help="A file that is not there yet.")],
    data: DataOption = None,
) -> None:
    """Copy the database as it is now, beside running relays. Losing it would lose nothing, too."""
    database = open_database(_settings(data=data))
    database.check_version()
    upkeep.backup(database, file)
    print(f"written: {file}")


@app.command()
def stats(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Print how much there is: counts, bytes and ages, nothing of anybody."""
    database = open_database(_settings(data=data))
    database.check_version()
    _print(upkeep.stats(database), as_json)


@app.command()
def settings(data: DataOption = None) -> None:
    """List all settings: the variable that sets it, what it is now, and what it is for."""
    found = _settings(data=data)
    print(f"# {FILE} names a TOML file with the same names in lower case, without {PREFIX}.")
    for name, field in Settings.model_fields.items():
        value = getattr(found, name)
        if isinstance(value, SecretStr):
            value = "(set)" if value.get_secret_value() else ""
        shown = json.dumps(value) if isinstance(value, tuple) else "" if value is None else value
        print(f"{PREFIX}{name.upper()}={shown}  # {field.description}")


def _print(figures: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name.replace('_', ' ')}: {value}")
