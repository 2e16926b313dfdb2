"""What outlives the power: the flash chip's settings and contents, and NVS."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import pathlib
from collections.abc import Callable
from typing import Any

from .bus import Bus, Channel, Sys

BLOCK = 4096

_NOT_FOUND, _INVALID = 0x02, 0x06


@dataclasses.dataclass
class FlashModel:
    """How the flash chip behaves. The whole chip waits while it erases or programs."""

    blocks: int = 512  # of 4 kB: 2 MB, the file system of a 4 MB board
    erase_ms: float = 0.0  # for a block
    program_ms: float = 0.0  # for a page of 256 bytes
    cut_after: int | None = None  # the power goes after so many erases and programs …
    cut_permille: int = 500  # … with this share of the next one done
    fail_after: int | None = None  # after so many, every further one fails with EIO

    @classmethod
    def slow(cls) -> FlashModel:
        """As slow as the data sheet of a common chip lets it be in a bad moment."""
        return cls(erase_ms=120, program_ms=2.4)


@dataclasses.dataclass
class FlashCounts:
    """Operations since the last start."""

    reads: int
    programs: int
    erases: int
    violations: int  # programs that would have set a bit
    bytes: int  # programmed


class Flash:
    """The chip of one toy. The model can be changed while it runs: `await flash.apply()`."""

    def __init__(self, bus: Bus, path: pathlib.Path, model: FlashModel) -> None:
        self._bus = bus
        self.path = path
        self.model = model
        self._answer: asyncio.Future[FlashCounts] | None = None
        self.last_counts: FlashCounts | None = None  # when the power went in an operation
        if not path.exists():
            path.write_bytes(b"\xff" * (model.blocks * BLOCK))
        bus.on_system[Sys.FLASH | 0x80] = self._counted

    def image(self) -> bytes:
        """Return every byte on the chip."""
        return self.path.read_bytes()

    def settings(self) -> dict[str, Any]:
        """Return what the stand-in is told."""
        model = self.model
        return {
            "path": str(self.path.resolve()),
            "blocks": self.path.stat().st_size // BLOCK,
            "erase_us": round(model.erase_ms * 1000),
            "program_us": round(model.program_ms * 1000),
            "cut_after": model.cut_after,
            "cut_permille": model.cut_permille,
            "fail_after": model.fail_after,
        }

    async def apply(self) -> FlashCounts:
        """Tell the running toy the model as it is now, and return the counts so far."""
        self._answer = self._bus.loop.create_future()
        self._bus.send(Channel.SYS, Sys.FLASH, json.dumps(self.settings()).encode())
        return await asyncio.wait_for(self._answer, 30)

    counts = apply

    def cut(self, payload: bytes) -> None:
        """The power went: keep the counts, and do not cut it again."""
        self.last_counts = FlashCounts(**json.loads(payload))
        self.model.cut_after = None

    def _counted(self, payload: bytes) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_result(FlashCounts(**json.loads(payload)))


class Nvs:
    """Keys and values in a file. `values` is what the toy sees, `stored()` what has been
    committed: that is replaced in one step, so a loss of power leaves the old or the new."""

    GET, SET, ERASE, COMMIT = range(4)

    def __init__(self, bus: Bus, path: pathlib.Path) -> None:
        self.path = path
        self.values: dict[str, bytes] = {}
        self.writes = 0  # commits
        self.cut_after: int | None = None  # the power goes in the change after so many
        self.cut_written = False  # ... and that change is there all the same
        self.on_cut: Callable[[], None] = lambda: None
        self.power_off()
        bus.on_system[Sys.NVS] = self._handle

    def stored(self) -> dict[str, bytes]:
        """Return what is in the file, by "namespace/type/key"."""
        if not self.path.exists():
            return {}
        return {k: bytes.fromhex(v) for k, v in json.loads(self.path.read_text()).items()}

    def put(self, namespace: str, key: str, value: bytes) -> None:
        """Have a blob in it from the beginning."""
        self.values[f"{namespace}/1/{key}"] = value
        self._save()

    def power_off(self) -> None:
        """What was not committed is gone."""
        self.values = self.stored()

    def _handle(self, payload: bytes) -> bytes | None:
        if payload[0] != self.GET and self.cut_after is not None:
            self.cut_after -= 1
            if self.cut_after < 0:
                self.cut_after = None
                if self.cut_written:
                    self._do(payload)
                    self._do(bytes((self.COMMIT, 0, 0, 0)))
                self.on_cut()
                return None
        return self._do(payload)

    def _do(self, payload: bytes) -> bytes:
        verb, kind = payload[:2]
        namespace, rest = _name(payload[2:])
        key, value = _name(rest)
        full = f"{namespace}/{kind}/{key}"
        if verb == self.COMMIT:
            self._save()
            self.writes += 1
        elif not key:
            return bytes((_INVALID,))
        elif verb == self.SET:
            self._erase(namespace, key)
            self.values[full] = value
        elif verb == self.ERASE:
            if not self._erase(namespace, key):
                return bytes((_NOT_FOUND,))
        elif full not in self.values:
            return bytes((_NOT_FOUND,))
        else:
            return b"\0" + self.values[full]
        return b"\0"

    def _save(self) -> None:
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps({k: v.hex() for k, v in self.values.items()}))
        os.replace(temporary, self.path)

    def _erase(self, namespace: str, key: str) -> bool:
        found = [k for k in self.values if k in (f"{namespace}/0/{key}", f"{namespace}/1/{key}")]
        for each in found:
            del self.values[each]
        return bool(found)


def _name(data: bytes) -> tuple[str, bytes]:
    return data[1 : 1 + data[0]].decode(), data[1 + data[0] :]
