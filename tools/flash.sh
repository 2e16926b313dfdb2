#!/bin/bash
# Put Hushbear onto a board, from an empty chip to a toy with a key:
#
#   tools/flash.sh PORT [--board NAME] [--image FILE] [--language LANGUAGE[,…]] [--update]
#                     [--lock] [--dry-run]
#
# --help says what each is. Run it again after any failure: it mends what was left half done.

set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
if [[ ! -x $root/.venv/bin/python ]]; then
    echo "flash: there is no .venv yet: run tools/setup demo first" >&2
    exit 1
fi
exec "$root/.venv/bin/python" -P -m tools.flash "$@"
