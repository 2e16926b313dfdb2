"""`python -m hushbear_relay`, and the `hushbear-relay` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command, or say what is not installed."""
    try:
        from .server.cli import app
    except ImportError as error:
        sys.exit(
            f"hushbear-relay: {error.name} is not installed. "
            "To run a relay: pip install 'hushbear-relay[server]'."
        )
    app()


if __name__ == "__main__":
    main()
