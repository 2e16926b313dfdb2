"""The reader of prompts: what is whole is said as it was made, what is damaged is not said."""

from __future__ import annotations

import binascii
import random
import struct
from typing import Any

import pytest

from host_tests.targets import Target, dedent
from hushbear import prompts
from tools import voice_file

BLOCK = 256
RNG = random.Random(4)
SAID = {
    "7": RNG.randbytes(BLOCK),
    "full": RNG.randbytes(2 * BLOCK),
    "let-go": RNG.randbytes(BLOCK),
}
FILE = voice_file.pack("de", SAID)
ENTRIES = struct.calcsize(prompts.HEADER)
BLOCKS = ENTRIES + len(SAID) * struct.calcsize(prompts.ENTRY)
START = {"7": BLOCKS, "full": BLOCKS + BLOCK, "let-go": BLOCKS + 3 * BLOCK}

# A flash with the files `flash`, whose reads fail where they are told to.
FLASH = """
import io
import micropython
from hushbear.audio import voice

flash = {}
opened = []
log = []
fail_at = None


class File:
    def __init__(self, path, mode):
        if path not in flash:
            raise OSError(2)
        self._file = io.BytesIO(flash[path])
        self._reads = 0
        opened.append(path)

    def _count(self):
        self._reads += 1
        if self._reads == fail_at:
            raise OSError(5)

    def read(self, n):
        self._count()
        return self._file.read(n)

    def readinto(self, buffer):
        self._count()
        return self._file.readinto(buffer)

    def seek(self, at):
        self._file.seek(at)

    def close(self):
        opened.pop()


voice.open = File


def heard(name, path="/voice"):
    prompt = voice.Voice(path, log.append).open(name)
    assert (prompt is None) == bool(log), log
    if prompt is None:
        assert not opened
        return None
    block = bytearray(256)
    blocks = bytearray()
    while True:
        micropython.heap_lock()
        n = prompt.readinto(block)
        micropython.heap_unlock()
        if not n:
            break
        blocks += block[:n]
        assert len(blocks) <= 65536, "has no end"
    prompt.close()
    prompt.close()
    assert not opened
    return bytes(blocks)


def all_heard(content, names):
    flash["/voice"] = content
    said = []
    for name in names:
        log.clear()
        said.append(heard(name))
    return said
"""


def run(target: Target, source: str, **args: object) -> Any:
    return target.run(FLASH + dedent(source), args={"file": FILE, **args}, timeout=240)


def heard_of_each(target: Target, files: list[bytes], *names: str) -> Any:
    """Return what is heard of these prompts, for each of the files in place of the toy's."""
    return run(
        target,
        """
        found = []
        at = 0
        for size in sizes:
            found.append(all_heard(files[at : at + size], names))
            at += size
        result(found)
        """,
        files=b"".join(files),
        sizes=[len(content) for content in files],
        names=names,
    )


def test_a_prompt_is_read_as_it_was_made_and_ends(target: Target) -> None:
    names = list(SAID)
    assert run(target, "result(all_heard(file, names))", names=names) == list(SAID.values())


def test_what_is_missing_is_silence_and_a_line(target: Target) -> None:
    lines = run(
        target,
        """
        heard("7")
        flash["/voice"] = file
        before = len(log)
        for name in ("8", "le", "let-gone", "", "a much longer name than any"):
            said = voice.Voice("/voice", log.append).open(name)
            assert said is None, name
        result(log)
        """,
    )
    assert len(lines) == 6
    assert "/voice, 7: [Errno 2]" in lines[0]
    assert lines[1] == "voice: /voice, 8: not in it"


def test_the_first_language_stands_in_for_one_that_is_not_there(target: Target) -> None:
    other = voice_file.pack("fr", {"full": bytes(BLOCK)})
    said = run(
        target,
        """
        flash["/voice"] = file
        flash["/voice-fr"] = other
        result([heard("full", path) for path in ("/voice-fr", "/voice-es", "/voice")])
        """,
        other=other,
    )
    assert said == [bytes(BLOCK), SAID["full"], SAID["full"]]


def test_opening_another_prompt_ends_the_first(target: Target) -> None:
    left, size = run(
        target,
        """
        flash["/voice"] = file
        toy = voice.Voice("/voice", log.append)
        toy.open("full")
        toy.open("7")
        block = bytearray(256)
        size = 0
        while n := toy.readinto(block):
            size += n
        result((len(opened), size))
        """,
    )
    assert (left, size) == (1, BLOCK)


def test_a_flash_that_fails_at_any_read_is_silence_and_a_line(target: Target) -> None:
    reads, lines = run(
        target,
        """
        flash["/voice"] = file
        lines = set()
        fail_at = 0
        while True:
            fail_at += 1
            log.clear()
            prompt = voice.Voice("/voice", log.append).open("full")
            if prompt is not None:
                break
            assert not opened
            lines.add(log[-1])
        result((fail_at - 1, sorted(lines)))
        """,
    )
    assert reads == 1 + len(SAID) + 2  # header, index, the blocks to be summed up
    assert lines == ["voice: /voice, full: [Errno 5] EIO"]


def test_any_flipped_bit_silences_what_it_damages_and_nothing_else(target: Target) -> None:
    """Exactly: one in the index all prompts, one in a block the prompt that it belongs to."""
    wrong = run(
        target,
        """
        names = [name for name, _ in said]
        content = bytearray(file)
        wrong = []
        for at in range(0, len(content), 1 if at_every_byte else 5):
            for bit in range(8) if at_every_byte else (at % 8,):
                content[at] ^= 1 << bit
                found = all_heard(content, names)
                content[at] ^= 1 << bit
                for n, (name, blocks) in enumerate(said):
                    hit = at < blocks_at or starts[n] <= at < starts[n] + len(blocks)
                    if found[n] != (None if hit else blocks):
                        wrong.append((at, bit, name))
        result(wrong)
        """,
        said=list(SAID.items()),
        starts=list(START.values()),
        blocks_at=BLOCKS,
        at_every_byte=target.name == "unix",
    )
    assert wrong == []


def test_of_a_file_that_was_cut_short_what_is_whole_is_said(target: Target) -> None:
    wrong = run(
        target,
        """
        names = [name for name, _ in said]
        wrong = []
        for end in range(0, len(file), step):
            found = all_heard(file[:end], names)
            for n, (name, blocks) in enumerate(said):
                if found[n] != (blocks if starts[n] + len(blocks) <= end else None):
                    wrong.append((end, name))
        result(wrong)
        """,
        said=list(SAID.items()),
        starts=list(START.values()),
        step=1 if target.name == "unix" else 13,
    )
    assert wrong == []


def forged(rng: random.Random) -> bytes:
    """Return a file with a right index that points anywhere, and with anything behind it."""
    count = rng.choice((0, 1, 2, 3, rng.randrange(256)))
    index = b"".join(
        struct.pack(
            prompts.ENTRY,
            rng.choice((b"7", b"7", b"full", b"full", b"x" * 12, rng.randbytes(12))),
            rng.choice((0, 0, 0, 1, 2, 0xFFFF, rng.randrange(1 << 16))),
            rng.choice((0, 1, 1, 1, 2, 0xFFFF, rng.randrange(1 << 16))),
            rng.choice((0, binascii.crc32(SAID["7"]), rng.randrange(1 << 32))),
        )
        for _ in range(rng.choice((count, count, max(0, count - 1))))
    )
    start = struct.pack(prompts.HEADER, prompts.MAGIC, prompts.VERSION, count, b"de", 0)[:-4]
    body = rng.choice((b"", SAID["7"], SAID["full"], rng.randbytes(rng.randrange(600))))
    return start + struct.pack("<I", binascii.crc32(start + index)) + index + body


@pytest.mark.parametrize("seed", range(3))
def test_an_index_that_points_anywhere_says_nothing_that_its_sum_does_not_cover(
    target: Target, seed: int
) -> None:
    rng = random.Random(seed)
    files = [forged(rng) for _ in range(25)]
    found = heard_of_each(target, files, "7", "full")
    for content, said in zip(files, found, strict=True):
        for blocks in said:
            assert (
                blocks is None or blocks == b"" or (len(blocks) % BLOCK == 0 and blocks in content)
            )
            if blocks:
                assert struct.pack("<I", binascii.crc32(blocks)) in content


def test_anything_at_all_in_place_of_the_file_is_silence(target: Target) -> None:
    rng = random.Random(9)
    files = [rng.randbytes(rng.randrange(300)) for _ in range(60)]
    files += [FILE[:20] + rng.randbytes(40), bytes(2000), b"\xff" * 2000, FILE[1:]]
    assert heard_of_each(target, files, "7") == [[None]] * len(files)
