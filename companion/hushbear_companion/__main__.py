"""`python -m hushbear_companion` is the `hushbear` command."""

from .cli import main

main()
