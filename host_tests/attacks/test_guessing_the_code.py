"""Somebody guesses the code of a pairing window, ten thousand times over.

The toy's own code draws the codes, opens the windows and counts the attempts. What is left out is
arithmetic: CPace's shares carry the code itself, and two sides agree if their codes are the same,
which is all that CPace lets anybody find out.

The guesser has one chance in 999,980 with each of three attempts. So that ten thousand windows are
enough to see a difference, somebody whispers four of the six digits to him in one of the tests.
Every run draws the same numbers.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import cast

import pytest

from host_tests.targets.unix import Unix

pytestmark = pytest.mark.targets("unix")

WINDOWS = 10_000
CODES = 10**6 - 20  # ten of equal digits and ten runs are not used
ATTEMPTS = 3
SIGMAS = 4.5

SOURCE = """
import asyncio, random, struct, sys
random.seed(2017)
draw = random.getrandbits


class Stand:  # in for modules that only the chip, or the arithmetic, has
    def __getattr__(self, name):
        return Stand()


class Responder:
    def __init__(self, prs, ci, sid, ad_a, ad_b):
        self.isk = prs

    def steps(self, ya):
        yield

    def answer(self, ya):
        return bytes(32)


for name in ("hushbear.family", "hushbear.crypto", "hushbear.crypto.cpace"):
    sys.modules[name] = Stand()
sys.modules["hushbear.crypto.cpace"].Responder = Responder

from hushbear import pairing_wire, wire
from hushbear.hand import code as codes
from hushbear.hand import pairing, window
from hushbear.link.errors import SessionOver
from hushbear.ring import Ring

codes.urandom = lambda n: draw(8 * n).to_bytes(n, "big")
pairing.cleaned = bytes


class kdf:
    extract = staticmethod(lambda salt, ikm: ikm)
    expand = staticmethod(lambda prk, info, n: prk)


pairing.kdf = kdf


async def run(session, psks, gate, handle):
    # In the session's place: a message 1 opens for the same code only.
    await session._within(5000, 6, 6)
    async with session.frame.lock:
        theirs = bytes(session.frame.view[2 : 2 + session._take()])
    (_, psk), = psks()
    session.peer.answers.append(psk == theirs)
    if psk != theirs:
        raise SessionOver("no paired phone's handshake")
    gate.succeeded()
    await handle(session, pairing_wire.PAIR, 1, bytes(32))
    await handle(session, pairing_wire.PAIRED, 2, b"")


async def send(session, kind, tag, body):
    assert body[0] == wire.OK
    if kind == pairing_wire.PAIRED | wire.RESPONSE:
        session.peer.connected = False  # it has heard all


pairing.PairingSession.run = run
pairing.PairingSession.send = send


class Arrived:
    async def wait(self):
        await asyncio.sleep_ms(0)


class Peer:
    # A phone that says its guess and stays, or hangs up at a point.
    connection, value_size, overrun = 1, 244, False

    def __init__(self, guess, leaves=None):
        self.rx = Ring(bytearray(160))
        self.arrived = Arrived()
        self.guess, self.leaves = guess, leaves
        self.connected = leaves != "before greeting"
        self.left = None  # what the toy's answer said
        self.answers = []
        if self.connected:
            hello = struct.pack(pairing_wire.HELLO, 1, bytes(16), bytes(32))
            self.write(hello if leaves != "in greeting" else hello[:20])

    def write(self, payload):
        frame = struct.pack("<H", len(payload)) + payload
        if self.leaves == "in greeting":
            frame = struct.pack("<H", 49) + payload
            self.connected = False
        self.rx.put(frame, 0, len(frame))

    async def send(self, data, connection):
        assert len(data) == 2 + pairing_wire.ANSWER_SIZE
        self.left = data[2]
        if self.leaves == "after answer":
            self.connected = False
        else:
            self.write(self.guess)


class Family:
    added = 0

    def found(self):
        pass

    def epochs(self):
        return ()

    def add(self, *phone):
        Family.added += 1


class Clock:
    now = staticmethod(lambda: 0)


failures = []


def open_window():
    code = codes.new_code()
    return code, window.Window(code, Family(), Clock, failures.append)
"""

BLIND = """
del room  # on the heap, for `drawn`
async def main():
    drawn = bytearray(6 * windows)
    spent = hits = lucky = 0
    for n in range(windows):
        code, pairs = open_window()
        drawn[6 * n : 6 * n + 6] = code
        for _ in range(5):  # more than he has
            guess = b"%06d" % (draw(24) % 1000000)
            if n & 1:  # what it was some time, or the last time
                old = draw(16) % n if n & 2 else n - 1
                guess = bytes(drawn[6 * old : 6 * old + 6])
            peer = Peer(guess)
            await pairs.serve(peer)
            spent += peer.left is not None
            hits += peer.answers == [True]
        assert pairs.over()
        if not pairs.paired:
            late = Peer(code)
            await pairs.serve(late)
            assert late.left is None and not pairs.paired
        lucky += pairs.paired
    result((bytes(drawn), spent, hits, lucky, Family.added, [repr(f) for f in failures]))

asyncio.run(main())
"""

WHISPERED = """
async def main():
    opened = most = 0
    for n in range(windows):
        code, pairs = open_window()
        start = draw(16) % 100
        tries = 0
        while not pairs.over():
            guess = code[:at] + b"%02d" % ((start + tries * 37) % 100) + code[at + 2 :]
            # All that he may gain by: breaking off where it does not count, and several at once.
            if n % 3 == 0:
                await pairs.serve(Peer(guess, ("before greeting", "in greeting")[draw(1)]))
            peers = [Peer(guess)]
            if n % 3 == 1:
                peers += [Peer(code[:at] + b"%02d" % ((start + 37 * (tries + k)) % 100)
                               + code[at + 2 :]) for k in (1, 2)]
            tasks = [asyncio.create_task(pairs.serve(peer)) for peer in peers]
            for task in tasks:
                await task
            tries += sum(peer.left is not None for peer in peers)
        assert tries == 3 or pairs.paired and tries < 4, tries
        most = max(most, tries)
        opened += pairs.paired
    result((opened, most, [repr(f) for f in failures]))

asyncio.run(main())
"""

BREAKING_OFF = """
LEAVES = (None, "before greeting", "in greeting", "before answer", "after answer")

class Leaver(Peer):
    # "before answer": gone while the toy calculates.
    def __init__(self, guess, leaves):
        super().__init__(guess, leaves)
        if leaves == "before answer":
            Responder.steps = self.gone

    def gone(self, ya):
        self.connected = False
        yield

async def main():
    steps = Responder.steps
    for _ in range(windows):
        code, pairs = open_window()
        wrong = b"%06d" % ((int(code) + 1) % 1000000)
        counted = 0
        for _ in range(40):
            how = LEAVES[draw(16) % len(LEAVES)]
            peer = Leaver(wrong, how)
            await pairs.serve(peer)
            Responder.steps = steps
            spends = how in (None, "after answer")
            if counted < 3 and spends:
                counted += 1
                assert peer.left == 3 - counted, (how, peer.left, counted)
            else:
                assert peer.left is None, how
            assert pairs.wrong == counted
            assert pairs.over() == (counted == 3)
        assert counted == 3 and not pairs.paired
    result([repr(f) for f in failures])

asyncio.run(main())
"""


def deviation(seen: int, runs: int, chance: float) -> float:
    """Return how many standard deviations above what is expected."""
    return (seen - runs * chance) / math.sqrt(runs * chance * (1 - chance))


def test_three_guesses_a_window_and_a_chance_of_three_in_a_million() -> None:
    """He guesses at random, what it was the last time, or what it was some time; and goes on when
    he has guessed three times. Codes of the past do not help, as each is as likely as any."""
    args = {"windows": WINDOWS, "room": bytes(600_000)}
    found = Unix().run(SOURCE + BLIND, args=args, timeout=120)
    drawn, spent, hits, lucky, added, failures = cast(
        tuple[bytes, int, int, int, int, list[str]], found
    )
    assert failures == []
    codes = [drawn[at : at + 6] for at in range(0, len(drawn), 6)]
    assert len(codes) == WINDOWS
    assert hits == lucky == added
    assert ATTEMPTS * WINDOWS - 2 * lucky <= spent <= ATTEMPTS * WINDOWS
    # 0.03 are expected: more than one in ten thousand windows would be luck of 1 to 2000.
    assert lucky <= 1, f"{lucky} of {WINDOWS} windows"
    print(f"who guessed in {WINDOWS} windows: {lucky} opened, {spent} guesses")
    for place in range(6):
        digits = Counter(code[place] for code in codes)
        assert len(digits) == 10
        for count in digits.values():
            assert abs(deviation(count, WINDOWS, 0.1)) < SIGMAS
    repeats = WINDOWS - len(set(codes))
    expected = WINDOWS**2 / 2 / CODES  # of birthdays
    assert abs(repeats - expected) < SIGMAS * math.sqrt(expected)


@pytest.mark.parametrize("at", [0, 2, 4])
def test_who_is_told_four_digits_has_three_chances_in_a_hundred(at: int) -> None:
    """Not one more by breaking off, nor by asking on three connections at once."""
    found = Unix().run(SOURCE + WHISPERED, args={"windows": WINDOWS, "at": at}, timeout=120)
    opened, most, failures = cast(tuple[int, int, list[str]], found)
    assert failures == [] and most == ATTEMPTS
    print(f"who knew four digits: {opened} of {WINDOWS} windows opened")
    assert abs(deviation(opened, WINDOWS, ATTEMPTS / 100)) < SIGMAS


def test_breaking_off_counts_from_the_toys_answer_on() -> None:
    """Before it, nothing was learned and nothing is spent; after it, one attempt, and after three
    the window takes no more of any kind."""
    assert Unix().run(SOURCE + BREAKING_OFF, args={"windows": 500}, timeout=120) == []
