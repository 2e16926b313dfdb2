"""What goes wrong with the relay, as this package's own errors; the only place that knows both."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from .errors import NoRelay, RelayRefused, RelayUnreachable

if TYPE_CHECKING:
    from hushbear_relay.client.http import Relay


def check_installed() -> None:
    """Raise NoRelay where the relay's client is not installed."""
    if not all(importlib.util.find_spec(name) for name in ("hushbear_relay", "mnemonic")):
        raise NoRelay(
            "The relay's client is not installed.", "Install it: `pip install ./relay '.[relay]'`."
        )


@contextlib.asynccontextmanager
async def relay_at(url: str) -> AsyncIterator[Relay]:
    """A relay; what its client raises is raised as RelayUnreachable or RelayRefused."""
    check_installed()
    from hushbear_relay.client import errors
    from hushbear_relay.client.http import Relay

    try:
        async with Relay(url) as relay:
            yield relay
    except errors.Refused as refused:
        raise RelayRefused(f"The relay refuses: {refused}") from None
    except errors.ClientError as error:
        raise RelayUnreachable(str(error)) from None
