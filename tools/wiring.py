"""Draw how each board is wired, from its board.py: docs/wiring/<board>.svg.

    .venv/bin/python -m tools.wiring

The pins are read from the source, which only a chip can import; nothing is listed twice.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parents[1]
PICTURES = ROOT / "docs/wiring"
BOARDS = {
    "esp32_devkitc": "ESP32-DevKitC",
    "esp32_s3": "ESP32-S3-DevKitC-1",
    "esp32_c3": "ESP32-C3-DevKitM-1",
}

POWER, GROUND, SIGNAL = "#c0392b", "#222222", "#2060a0"
ROW, TOP, BOX, WIRE, CENTRE = 26, 84, 180, 120, 180  # pixels
WIDTH = 2 * (20 + BOX + WIRE) + CENTRE


@dataclass(frozen=True)
class Wire:
    board: str  # what is printed beside the board's pin: "GPIO 32", "3V3", "GND"
    part: str  # the pin of the part

    @property
    def colour(self) -> str:
        return {"GND": GROUND, "3V3": POWER, "5V": POWER}.get(self.board, SIGNAL)


@dataclass(frozen=True)
class Part:
    name: str
    wires: tuple[Wire, ...]


@dataclass(frozen=True)
class Pins:
    """What a board.py connects: the GPIO numbers of each part."""

    microphone: dict[str, int]  # sck, ws, sd
    speaker: dict[str, int]
    amplifier: int | None
    record_paw: int
    play_paw: int | None
    led: int
    pixel: bool  # the LED is the NeoPixel on the board

    @property
    def numbers(self) -> set[int]:

        single = (self.amplifier, self.record_paw, self.play_paw, self.led)
        return {
            *self.microphone.values(),
            *self.speaker.values(),
            *(number for number in single if number is not None),
        }


def pins(board: str) -> Pins:
    """Return the pins of board/<board>/board.py."""
    tree = ast.parse((ROOT / "board" / board / "board.py").read_text())
    constants: dict[str, int | None] = {}
    buses: dict[str, dict[str, int]] = {}
    light = ""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)):
                constants[name] = value if isinstance(value, int) else None
            case ast.FunctionDef(name="light", body=[ast.Return(value=ast.Call(func=function))]):
                light = ast.unparse(function)
            case ast.FunctionDef(name="microphone" | "speaker" as name):
                buses[name] = _bus(node)
    record, led = constants["RECORD_PAW"], constants["LED"]
    assert record is not None and led is not None
    return Pins(
        buses["microphone"],
        buses["speaker"],
        constants["AMPLIFIER"],
        record,
        constants["PLAY_PAW"],
        led,
        light == "PixelLight",
    )


def _bus(function: ast.FunctionDef) -> dict[str, int]:
    """Return the pins that an I2S(...) in `function` is given by keyword."""
    found = {}
    for node in ast.walk(function):
        match node:
            case ast.keyword(
                arg=str(name),
                value=ast.Call(func=ast.Name(id="Pin"), args=[ast.Constant(value=int(number))]),
            ):
                found[name] = number
    return found


def parts(p: Pins) -> tuple[list[Part], list[Part]]:
    """Return what is drawn left of the board and right of it."""

    def gpio(number: int) -> str:
        return f"GPIO {number}"

    microphone = Part(
        "INMP441 microphone",
        (
            Wire("3V3", "VDD"),
            Wire("GND", "GND"),
            Wire("GND", "L/R"),
            Wire(gpio(p.microphone["sck"]), "SCK"),
            Wire(gpio(p.microphone["ws"]), "WS"),
            Wire(gpio(p.microphone["sd"]), "SD"),
        ),
    )
    enable = () if p.amplifier is None else (Wire(gpio(p.amplifier), "SD"),)
    amplifier = Part(
        "MAX98357A amplifier",
        (
            Wire("5V", "VIN"),
            Wire("GND", "GND"),
            Wire(gpio(p.speaker["sck"]), "BCLK"),
            Wire(gpio(p.speaker["ws"]), "LRC"),
            Wire(gpio(p.speaker["sd"]), "DIN"),
            *enable,
        ),
    )
    paws = [("record paw" if p.play_paw is not None else "paw", p.record_paw)]
    if p.play_paw is not None:
        paws.append(("play paw", p.play_paw))
    switches = [
        Part(name, (Wire(gpio(number), "switch"), Wire("GND", "switch"))) for name, number in paws
    ]
    right = [amplifier]
    if p.pixel:
        right.append(Part("NeoPixel, on the board", (Wire(gpio(p.led), "no wire"),)))
    else:
        right.append(Part("LED", (Wire(gpio(p.led), "330 Ω, + leg"), Wire("GND", "− leg"))))
    return [microphone, *switches], right


def height(column: list[Part]) -> int:
    return sum(len(part.wires) * ROW + 44 for part in column)


def draw(board: str) -> str:
    """Return the picture of a board as SVG."""
    left, right = parts(pins(board))
    tall = TOP + max(height(left), height(right)) + 20
    middle = 20 + BOX + WIRE
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {tall}"'
        f' width="{WIDTH}" height="{tall}" font-family="sans-serif" font-size="13">',
        f"<title>Wiring of Hushbear on the {BOARDS[board]}</title>",
        f'<rect width="{WIDTH}" height="{tall}" fill="white"/>',
        f'<rect x="{middle}" y="40" width="{CENTRE}" height="{tall - 60}" rx="8"'
        ' fill="#eef3ee" stroke="#222222"/>',
        _text(middle + CENTRE // 2, 62, BOARDS[board], "middle", bold=True),
        *_column(left, 20, middle, leftwards=True),
        *_column(right, middle + CENTRE + WIRE, middle + CENTRE, leftwards=False),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _column(column: list[Part], x: int, edge: int, leftwards: bool) -> list[str]:
    """Draw parts whose boxes begin at `x`, wired to the board's side at `edge`."""
    lines = []
    y = TOP
    near = x + BOX if leftwards else x
    inwards = -8 if leftwards else 8
    for part in column:
        deep = len(part.wires) * ROW + 26
        lines += [
            f'<rect x="{x}" y="{y}" width="{BOX}" height="{deep}" rx="5" fill="#f6f2e6"'
            ' stroke="#222222"/>',
            _text(x + BOX // 2, y + 17, part.name, "middle", bold=True),
        ]
        for number, wire in enumerate(part.wires):
            row = y + 26 + number * ROW + ROW // 2
            anchors = ("end", "start") if leftwards else ("start", "end")
            if wire.part != "no wire":
                lines += [
                    f'<line x1="{near}" y1="{row}" x2="{edge}" y2="{row}"'
                    f' stroke="{wire.colour}" stroke-width="2.5"/>',
                    f'<circle cx="{near}" cy="{row}" r="4" fill="{wire.colour}"/>',
                    f'<circle cx="{edge}" cy="{row}" r="4" fill="{wire.colour}"/>',
                ]
            lines += [
                _text(near + inwards, row + 4, wire.part, anchors[0]),
                _text(edge - inwards, row + 4, wire.board, anchors[1]),
            ]
        y += deep + 18
    return lines


def _text(x: int, y: int, text: str, anchor: str, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    for board in BOARDS:
        (PICTURES / f"{board}.svg").write_text(draw(board))


if __name__ == "__main__":
    main()
