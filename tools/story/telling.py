"""How the story is told, and how it ends when something does not come out as it should."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.markup import escape

ROOT = Path(__file__).resolve().parents[2]
OUT = ROOT / "demo-out"
PATIENCE = 120.0  # s for what takes an emulated chip on a busy computer long

console = Console(highlight=False)


class DemoFailed(Exception):
    """A step of the story did not come out as it should."""


def chapter(text: str) -> None:
    """Say what happens now."""
    console.print(f"\n[bold]{escape(text)}[/bold]")


def tell(text: str) -> None:
    """Say what came of it."""
    console.print(f"  {escape(text)}", soft_wrap=True)


def warn(text: str) -> None:
    console.print(f"[yellow]{escape(text)}[/yellow]")


async def until(condition: Callable[[], bool], otherwise: str) -> None:
    """Wait for something; if it does not come, the demo has failed."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not condition():
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise DemoFailed(otherwise) from None
