"""The ring: every state it can be in, each step from there, and both sides interrupting."""

from __future__ import annotations

import pytest

from host_tests.targets import Target

HOSTILE = (-(2**40), -(2**31), -(2**30), -1, 25, 2**29, 2**30, 2**31 - 1, 2**31, 2**32, 2**40)


@pytest.mark.parametrize("offset", [0, 1])
def test_every_step_from_every_state(target: Target, offset: int) -> None:
    """A ring's future depends on its two positions and its bytes alone. So this covers every
    sequence of calls: each state is set up, and each call is compared with a list of bytes."""
    source = """
        from hushbear.ring import Ring

        memory = bytearray(32)
        source = bytearray(range(100, 132))
        target = bytearray(32)

        def check(capacity, at, used, call, n, place):
            for i in range(32):
                memory[i] = 250
            buffer = memoryview(memory)[offset : offset + capacity]
            ring = Ring(buffer)
            for _ in range(at):
                ring.put(b"x", 0, 1)
                ring.skip(1)
            assert ring.put(source, 0, used) == used
            model = list(source[:used])
            target[:] = bytes(32)
            if call == 0:
                moved = min(n, capacity - used)
                assert ring.put(source, place, n) == moved
                model += list(source[place : place + moved])
            elif call == 3:
                moved = min(n, used)
                assert ring.skip(n) == moved
                del model[:moved]
            else:
                moved = min(n, used)
                assert (ring.get if call == 1 else ring.peek)(target, place, n) == moved
                expected = bytes(place) + bytes(model[:moved]) + bytes(32 - place - moved)
                assert target == expected
                if call == 1:
                    del model[:moved]
            assert ring.used() == len(model) and ring.free() == capacity - len(model)
            assert ring.get(target, 0, 32) == len(model)
            assert list(target[: len(model)]) == model
            assert ring.used() == 0 and ring.free() == capacity
            for i in range(32):  # nothing beside the ring's own memory was touched
                assert offset <= i < offset + capacity or memory[i] == 250

        steps = 0
        for capacity in range(most + 1):
            for at in range(2 * capacity or 1):
                for used in range(capacity + 1):
                    for call in range(4):
                        for n in range(capacity + 2):
                            check(capacity, at, used, call, n, (at + n) % 5)
                            steps += 1
        result(steps)
    """
    most = 9 if target.name == "unix" else 4  # the emulator takes its time
    steps = sum(4 * (2 * c or 1) * (c + 1) * (c + 2) for c in range(most + 1))
    args = {"offset": offset, "most": most}
    assert target.run(source, args=args, timeout=250) == steps


def test_long_runs_in_order(target: Target) -> None:
    """Sizes and alignments as in use, and none of them even."""
    source = """
        from hushbear.ring import Ring
        checked = 0
        for capacity, put, get in ((4096, 1010, 512), (1000, 256, 333), (37, 100, 5), (64, 64, 9)):
            ring = Ring(bytearray(capacity))
            source = bytearray(1024)
            target = bytearray(1024)
            written = read = 0
            while read < 20000:
                for i in range(put):
                    source[i] = (written + i) * 7 & 255
                written += ring.put(source, 0, put)
                n = ring.get(target, 0, get)
                assert ring.used() == written - read - n <= capacity
                for i in range(n):
                    assert target[i] == (read + i) * 7 & 255, (capacity, read + i)
                read += n
            checked += read >= 20000
        result(checked)
    """
    assert target.run(source, timeout=120) == 4


def test_a_copy_is_exact_at_every_alignment(target: Target) -> None:
    source = """
        from hushbear.ring import Ring
        numbers = bytes(range(64))
        memory = bytearray(48)
        out = bytearray(48)
        blank = bytes(48)
        for n in range(41):
            for at in range(4):
                for off in range(4):
                    memory[:] = out[:] = blank
                    ring = Ring(memoryview(memory)[at : at + n])
                    assert ring.put(numbers, off, n) == n
                    assert memory == blank[:at] + numbers[off : off + n] + blank[at + n :]
                    assert ring.get(out, off, n) == n
                    assert out == blank[:off] + numbers[off : off + n] + blank[off + n :]
        result("done")
    """
    assert target.run(source) == "done"


def test_each_side_writes_its_own_position_only(target: Target) -> None:
    source = """
        from hushbear.ring import Ring
        ring = Ring(bytearray(8))
        buffer = bytearray(8)
        def changed(call, *args):
            before = list(ring._state)
            call(*args)
            return [i for i in range(3) if ring._state[i] != before[i]]
        result([
            changed(ring.put, buffer, 0, 6), changed(ring.peek, buffer, 0, 4),
            changed(ring.get, buffer, 0, 2), changed(ring.skip, 1), changed(ring.clear),
        ])
    """
    assert target.run(source) == [[1], [], [2], [2], [2]]


@pytest.mark.parametrize("interrupting", ["put", "get"])
def test_either_side_may_interrupt_the_other(target: Target, interrupting: str) -> None:
    """A scheduled callback runs between any two bytecodes, so also in the middle of a call."""
    source = """
        import micropython
        from hushbear.ring import Ring
        ring = Ring(bytearray(13))
        out = bytearray(16)
        numbers = bytearray(16)
        written = read = nested = 0
        inside = False

        def put(n):
            global written
            for i in range(n):
                numbers[i] = written + i & 255
            written += ring.put(numbers, 0, n)

        def get(n):
            global read
            n = ring.get(out, 0, n)
            for i in range(n):
                assert out[i] == read + i & 255, (read, bytes(out[:n]))
            read += n

        def interrupt(n):
            global nested
            nested += inside
            (put if interrupting == "put" else get)(n)

        for turn in range(6000):
            inside = True
            micropython.schedule(interrupt, turn * 5 % 14)
            (get if interrupting == "put" else put)(turn * 11 % 15)
            inside = False
        get(13)
        assert read == written > 6000, (read, written)
        result(nested > 1000)
    """
    assert target.run(source, args={"interrupting": interrupting}, timeout=120) is True


def test_a_span_outside_the_buffer_is_refused(target: Target) -> None:
    source = """
        from hushbear.ring import Ring
        memory = bytearray(b"m" * 48)
        ring = Ring(memoryview(memory)[16:32])
        ring.put(b"12345678", 0, 8)
        buffer = bytearray(b"u" * 24)
        def refused(call, *args):
            try:
                call(*args)
            except ValueError:
                return
            raise AssertionError(args)
        for call in (ring.put, ring.get, ring.peek):
            for off in hostile:
                refused(call, buffer, off, 1)
                refused(call, buffer, 0, off)
                refused(call, buffer, off, off)
                refused(call, buffer, 1, 24)
            refused(call, b"", 0, 1)
            assert call(buffer, 24, 0) == 0
            assert call(b"", 0, 0) == 0
        for n in hostile:
            if n < 0:
                refused(ring.skip, n)
        untouched = buffer == b"u" * 24 and memory[:16] == memory[32:] == b"m" * 16
        result((untouched, ring.used(), ring.skip(2**40), ring.used()))
    """
    assert target.run(source, args={"hostile": HOSTILE}) == (True, 8, 8, 0)


def test_the_ring_allocates_nothing(target: Target) -> None:
    source = """
        import micropython
        from hushbear.ring import Ring
        ring = Ring(bytearray(100))
        buffer = bytearray(80)
        total = 0
        def steady():
            total = 0
            for n in range(80):
                total += ring.put(buffer, 0, n) - ring.get(buffer, 0, n // 2)
                total += ring.peek(buffer, 1, 9) + ring.skip(n // 3) + ring.used() + ring.free()
                if n % 10 == 0:
                    ring.clear()
            return total
        micropython.heap_lock()
        total = steady()
        micropython.heap_unlock()
        result(total > 0)
    """
    assert target.run(source) is True
