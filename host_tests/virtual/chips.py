"""What the toy's chips have of what the stand-ins in them stand for: device/bus.py's `config`."""

from __future__ import annotations

from typing import Any

CHIPS: dict[str, dict[str, Any]] = {
    "esp32": {
        "i2s": 2,
        "pins": [*range(6), *range(9, 11), *range(12, 24), *range(25, 28), *range(32, 40)],
        "input_only": [34, 35, 36, 37, 38, 39],
    },
    "s3": {"i2s": 2, "pins": [*range(22), *range(26, 49)], "input_only": []},
    "c3": {"i2s": 1, "pins": [*range(11), *range(12, 22)], "input_only": []},
}
