"""The crash log: bounded, readable in pieces, never the cause of another crash."""

from typing import Any

from host_tests.ram_flash import SOURCE
from host_tests.targets import Target, dedent

CRASHLOG = """
from hushbear import crashlog_file
from hushbear.crashlog import CrashLog


def crashlog(half=400, clock=None):
    return CrashLog("/flash/crash", half, clock)


def text(log, piece=50):
    buf = bytearray(piece)
    whole = b""
    while True:
        n = crashlog_file.read(log, len(whole), buf)
        if not n:
            return whole.decode()
        whole += buf[:n]
"""


def run(target: Target, source: str, **args: object) -> Any:
    return target.run(SOURCE + CRASHLOG + dedent(source), args=args)


def test_an_exception_is_kept_with_its_traceback_and_time(target: Target) -> None:
    text, size = run(
        target,
        """
        class Clock:
            unix = 0

            def now(self):
                return self.unix

            def uptime(self):
                return 17

        def fails():
            raise ValueError("too loud")

        flash = new_flash(16)
        clock = Clock()
        first = crashlog(clock=clock)
        try:
            fails()
        except ValueError as error:
            first.write(error)
        clock.unix = 1795219200
        first.write("task link failed")
        restart(flash)
        again = crashlog()
        again.write("no clock yet")
        result((text(again), crashlog_file.size(again)))
        """,
    )
    first, *_, second, third = text.splitlines()
    assert first.startswith("+17 Traceback")
    assert "in fails\nValueError: too loud\n" in text
    assert second == "1795219200 task link failed"
    assert third == "no clock yet"
    assert size == len(text)


def test_it_is_bounded_and_the_oldest_goes_first(target: Target) -> None:
    text, largest = run(
        target,
        """
        flash = new_flash(24)
        first = crashlog()
        largest = 0
        for n in range(100):
            first.write("line %d %s" % (n, "x" * 30))
            largest = max(largest, crashlog_file.size(first))
        result((text(first), largest))
        """,
    )
    numbers = [int(line.split()[1]) for line in text.splitlines()]
    assert numbers == list(range(numbers[0], 100))
    assert len(numbers) >= 10
    assert largest <= 900


def test_one_entry_is_bounded_and_keeps_its_end(target: Target) -> None:
    text = run(
        target,
        """
        flash = new_flash(24)
        first = crashlog(4096)
        first.write("begin " + "x" * 5000 + " the cause")
        result(text(first))
        """,
    )
    assert isinstance(text, str)
    assert len(text) <= 1010
    assert text.startswith("begin x")
    assert text.endswith("x the cause\n")


def test_reading_past_the_end_and_clearing(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(16)
        first = crashlog()
        buf = bytearray(10)
        empty = crashlog_file.size(first), crashlog_file.read(first, 0, buf)
        first.write("something")
        past = [crashlog_file.read(first, at, buf) for at in (10, 4000, 1 << 31)]
        crashlog_file.clear(first)
        crashlog_file.clear(first)
        result((empty, past, crashlog_file.size(first), crashlog_file.read(first, 0, buf)))
        """,
    ) == ((0, 0), [0, 0, 0], 0, 0)


def test_a_failing_flash_is_no_second_crash(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(16)
        first = crashlog()
        first.write("before")
        flash.dead = True
        first.write("lost")
        crashlog_file.clear(first)
        nothing = crashlog_file.size(first), crashlog_file.read(first, 0, bytearray(10))
        restart(flash)
        result((nothing, text(crashlog())))
        """,
    ) == ((0, 0), "before\n")


def test_a_power_cut_leaves_whole_entries(target: Target) -> None:
    assert run(
        target,
        """
        flash = new_flash(16)
        first = crashlog()
        lines = ["entry %d %s\\n" % (n, "y" * 60) for n in range(12)]
        for line in lines[:5]:
            first.write(line)
        image = {block: bytes(data) for block, data in flash.blocks.items()}
        outcomes = set()
        for torn in range(5):
            cut_at = 0
            failed = True
            while failed:
                blocks = {block: bytearray(data) for block, data in image.items()}
                flash = RamFlash(16, 512, blocks, cut_at, torn)
                try:
                    mount(flash)
                    log = crashlog()
                    log.write(lines[5])
                    log.write(lines[6])  # this one turns the halves over
                except OSError:
                    assert flash.dead
                failed = flash.dead
                flash = restart(flash)
                found = text(crashlog())
                n = found.count("entry")
                assert found == "".join(lines[:n]) or found == lines[6], found
                assert n == 7 or failed
                crashlog().write(lines[7])
                assert text(crashlog()).endswith(lines[7])
                outcomes.add(n)
                cut_at += 1
        result(sorted(outcomes))
        """,
    ) == [5, 6, 7]


def test_an_exception_is_kept_when_hardly_any_heap_is_left(target: Target) -> None:
    text, largest = run(
        target,
        """
        def deep(n):
            if n:
                deep(n - 1)
            raise ValueError("too loud")

        flash = new_flash(16)
        log = crashlog(4096)
        log.write("before")
        for n in range(16):
            flash.block(n)  # from now on it needs no memory itself
        try:
            deep(12)
        except ValueError as error:
            what = error
        gc.collect()
        spare = [bytearray(256) for _ in range(8)]
        full, size, largest = None, 65536, 16  # named now: a name takes memory
        while size >= 16:
            try:
                full = (full, bytearray(size))
            except MemoryError:
                size //= 2
        for n in range(0, 8, 2):
            spare[n] = None  # holes
        gc.collect()
        try:
            while True:
                bytearray(largest)
                largest += 16
        except MemoryError:
            pass
        log.write(what)
        full = None
        result((text(log), largest))
        """,
    )
    assert largest < 512
    assert text.startswith("before\nTraceback")
    assert text.count("in deep") == 13
    assert text.endswith("ValueError: too loud\n")


def test_what_could_not_be_written_is_counted_in_the_next_entry(target: Target) -> None:
    assert (
        run(
            target,
            """
        import micropython

        flash = new_flash(16)
        log = crashlog()
        error = ValueError("heard by nobody")
        micropython.heap_lock()
        log.write(error)
        micropython.heap_unlock()
        flash.dead = True
        log.write("nor this")
        flash.dead = False
        log.write("the next")
        log.write("the last")
        result(text(log))
        """,
        )
        == "(2 lost) the next\nthe last\n"
    )
