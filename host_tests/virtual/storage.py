"""What outlives the power: the flash chip's settings and contents, and NVS."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import pathlib
import struct
from collections.abc import Callable, Iterator
from typing import Any

from .bus import Bus, Channel, Sys

BLOCK = 4096

NVS_PAGES = 6  # 24 kB, as in board/partitions-4MiB.csv

_NOT_FOUND, _INVALID = 0x02, 0x06
_GONE = 0xFFFF


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
    """Keys and values, appended to a log in the pages of a partition, as ESP-IDF does it: what was
    replaced or erased stays on the flash until its page is needed again. `values` is what the toy
    sees, `stored()` what has been committed: that is there in one step, so a loss of power leaves
    the old or the new."""

    GET, SET, ERASE, COMMIT, ERASE_PAGE = range(5)

    def __init__(self, bus: Bus, path: pathlib.Path) -> None:
        self.path = path
        self.values: dict[str, bytes] = {}
        self.writes = 0  # commits
        self.cut_after: int | None = None  # the power goes in the change after so many
        self.cut_written = False  # ... and that change is there all the same
        self.on_cut: Callable[[], None] = lambda: None
        self._forgotten = False  # pages were erased behind its back
        self.power_off()
        bus.on_system[Sys.NVS] = self._handle

    def image(self) -> bytes:
        """Return every byte of the partition."""
        if not self.path.exists():
            return b"\xff" * (NVS_PAGES * BLOCK)
        return self.path.read_bytes()

    def stored(self) -> dict[str, bytes]:
        """Return what has been committed, by "namespace/type/key"."""
        return NvsLog(self.image()).values()

    def put(self, namespace: str, key: str, value: bytes) -> None:
        """Have a blob in it from the beginning."""
        self.values[f"{namespace}/1/{key}"] = value
        self._commit()

    def power_off(self) -> None:
        """What was not committed is gone."""
        self.values = self.stored()
        self._forgotten = False

    def _handle(self, payload: bytes) -> bytes | None:
        if payload[0] != self.GET and self.cut_after is not None:
            self.cut_after -= 1
            if self.cut_after < 0:
                self.cut_after = None
                if self.cut_written:
                    self._do(payload)
                    if payload[0] != self.ERASE_PAGE:
                        self._do(bytes((self.COMMIT, 0, 0, 0)))
                self.on_cut()
                return None
        return self._do(payload)

    def _do(self, payload: bytes) -> bytes:
        verb, kind = payload[:2]
        if verb == self.ERASE_PAGE:
            log = NvsLog(self.image())
            log.erase(kind)
            self._write(log)
            self._forgotten = True
            return b"\0"
        if self._forgotten:
            raise RuntimeError("NVS is used after its pages were erased, before the next start")
        namespace, rest = _name(payload[2:])
        key, value = _name(rest)
        full = f"{namespace}/{kind}/{key}"
        if verb == self.COMMIT:
            self._commit()
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

    def _commit(self) -> None:
        log = NvsLog(self.image())
        before = log.values()
        for each in before.keys() - self.values.keys():
            log.append(each, None)
        for each, value in self.values.items():
            if before.get(each) != value:
                log.append(each, value)
        self._write(log)

    def _write(self, log: NvsLog) -> None:
        temporary = self.path.with_suffix(".new")
        temporary.write_bytes(b"".join(log.pages))
        os.replace(temporary, self.path)

    def _erase(self, namespace: str, key: str) -> bool:
        found = [k for k in self.values if k in (f"{namespace}/0/{key}", f"{namespace}/1/{key}")]
        for each in found:
            del self.values[each]
        return bool(found)


class NvsLog:
    """The pages of a partition. Each begins with its number in the order in which they were begun,
    u32; records follow: u8 length of the name, u16 length of the value (0xFFFF: erased), both."""

    def __init__(self, image: bytes) -> None:
        self.pages = [bytearray(image[at : at + BLOCK]) for at in range(0, len(image), BLOCK)]

    def values(self) -> dict[str, bytes]:
        """Return what counts: of each name the last value."""
        return {name: value for name, (value, _) in self._live().items()}

    def append(self, name: str, value: bytes | None) -> None:
        """Add a record, whose value is None where the name is no more."""
        self._append(_record(name, value))

    def erase(self, page: int) -> None:
        """Erase a page, whatever is in it."""
        self.pages[page][:] = b"\xff" * BLOCK

    def _order(self) -> list[int]:
        """Return the pages that are in use, oldest first."""
        used = [n for n, page in enumerate(self.pages) if page[:4] != b"\xff" * 4]
        return sorted(used, key=lambda n: int.from_bytes(self.pages[n][:4], "little"))

    def _records(self, page: int) -> Iterator[tuple[str, bytes | None]]:
        content = self.pages[page]
        at = 4
        while at < BLOCK and content[at] != 0xFF:
            length, size = struct.unpack_from("<BH", content, at)
            name = content[at + 3 : at + 3 + length].decode()
            at += 3 + length
            yield name, None if size == _GONE else bytes(content[at : at + size])
            at += 0 if size == _GONE else size

    def _live(self) -> dict[str, tuple[bytes, int]]:
        live: dict[str, tuple[bytes, int]] = {}
        for page in self._order():
            for name, value in self._records(page):
                live.pop(name, None)
                if value is not None:
                    live[name] = value, page
        return live

    def _end(self, page: int) -> int:
        return 4 + sum(len(_record(*each)) for each in self._records(page))

    def _append(self, record: bytes) -> None:
        for _ in range(len(self.pages) + 1):
            order = self._order()
            if order and self._end(order[-1]) + len(record) <= BLOCK:
                at = self._end(order[-1])
                self.pages[order[-1]][at : at + len(record)] = record
                return
            self._begin(order)
        raise RuntimeError("NVS is full")

    def _begin(self, order: list[int]) -> None:
        # Take a page into use: one that is empty, or the oldest, whose values move to its start.
        newest = int.from_bytes(self.pages[order[-1]][:4], "little") if order else 0
        empty = [n for n in range(len(self.pages)) if n not in order]
        page = empty[0] if empty else order[0]
        kept = {name: value for name, (value, at) in self._live().items() if at == page}
        content = struct.pack("<I", newest + 1) + b"".join(_record(*x) for x in kept.items())
        self.erase(page)
        self.pages[page][: len(content)] = content


def _record(name: str, value: bytes | None) -> bytes:
    size = _GONE if value is None else len(value)
    return struct.pack("<BH", len(name), size) + name.encode() + (value or b"")


def _name(data: bytes) -> tuple[str, bytes]:
    return data[1 : 1 + data[0]].decode(), data[1 + data[0] :]
