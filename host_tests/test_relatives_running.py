"""`hushbear run` going on and on: on the parent's phone, near toys in memory, with a line to the
relay that fails as networks do; and as a process that is stopped, frozen, or has a full disk."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from host_tests.companion_command import Command, command_near
from host_tests.companion_toy import FAMILY, SENDER, Air, Link, Toy, make_message
from host_tests.far_phones import (
    KEY,
    FarPhone,
    grandma,
    hello,
    invite,
    line_of,
    near,
    parent,
    said,
    server,
    toy,
)  # fmt: skip
from host_tests.relay.running import Process, served, settings
from hushbear import container, wire
from hushbear_companion import mailboxes, running
from hushbear_companion.carrier import Carrier
from hushbear_companion.delivery import deliver
from hushbear_companion.inbox import Inbox, State
from hushbear_companion.keystore import KeyStore
from hushbear_companion.letters import Stage
from hushbear_companion.output import Output
from hushbear_companion.post import Post, Synced, open_post
from hushbear_companion.toy import Relative, Role
from hushbear_companion.toy import Toy as Known
from hushbear_relay.client.http import Relay
from hushbear_relay.client.mailbox import Mailbox

__all__ = ["grandma", "hello", "near", "parent", "server", "toy"]

SECRET = b"s" * 32
GRANDMA = b"grandma1"
OTHER_KEY = bytes(range(1, 33))


class Line:
    """A way to a relay. What was connected before it is cut stays dead, without anybody telling;
    it is cut until it is mended."""

    def __init__(self, url: str) -> None:
        self._port = int(url.rpartition(":")[2])
        self._cut = False
        self._alive: list[list[bool]] = []
        self._ends: set[asyncio.StreamWriter] = set()
        self.connections = 0

    async def begin(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    def cut(self) -> None:
        self._cut = True
        for alive in self._alive:
            alive[0] = False

    def mend(self) -> None:
        self._cut = False

    async def end(self) -> None:
        self._server.close()
        for writer in list(self._ends):
            writer.transport.abort()
        while self._ends:
            await asyncio.sleep(0.01)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        alive = [not self._cut]
        self._alive.append(alive)
        there, out = await asyncio.open_connection("127.0.0.1", self._port)
        self._ends |= {writer, out}
        try:
            await asyncio.gather(_pump(reader, out, alive), _pump(there, writer, alive))
        finally:
            for each in (writer, out):
                each.transport.abort()
                with contextlib.suppress(OSError):
                    await each.wait_closed()
            self._ends -= {writer, out}


async def _pump(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, alive: list[bool]
) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(1 << 16):
            if alive[0]:
                writer.write(data)
        if alive[0]:
            writer.close()


class Said(Output):
    """What a running command says."""

    def __init__(self) -> None:
        super().__init__(False)
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        self.lines.append(text)

    def waiting(self, text: str) -> None:
        self.lines.append(text)

    def __contains__(self, text: str) -> bool:
        return any(text in line for line in self.lines)

    def count(self, text: str) -> int:
        return sum(text in line for line in self.lines)


class Far:
    """Grandma's phone, which is always on the network."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.store = KeyStore(directory)

    async def use(self, work: Callable[[Post], Coroutine[Any, Any, None]]) -> None:
        uses = mailboxes.get(self.directory)
        async with Relay(uses.url) as relay:
            data = self.directory / "data"
            with open_post(self.store, self.store.get(None), relay, uses, data) as post:
                await work(post)

    async def send(self) -> bytes:
        """Send something to the toy; return its id."""
        content = make_message(sender=GRANDMA)
        (papa,) = self.store.get(None).relatives

        async def work(post: Post) -> None:
            post.send(papa, container.TOY, content)
            await post.put()

        await self.use(work)
        return content[16:32]

    async def sync(self) -> Synced:
        synced = Synced()
        await self.use(lambda post: post.sync(synced))
        return synced

    async def admit(self) -> None:
        await self.use(lambda post: post.admit())

    async def told(self, message_id: bytes, stage: Stage) -> None:
        """Wait until news of a message come."""
        while not any(
            (each.id, each.stage) == (message_id, stage) for each in (await self.sync()).news
        ):
            await asyncio.sleep(0.02)

    async def heard(self, message_id: bytes) -> None:
        """Wait until a message comes."""
        while message_id not in [each.header.id for each in (await self.sync()).arrivals]:
            await asyncio.sleep(0.02)


class Home:
    """The parent's phone, near a toy, on a line to the relay; and grandma's, far away."""

    def __init__(self, directory: Path, relay: str, line: Line, toy: Toy, air: Air) -> None:
        self.relay, self.line, self.toy, self.air = relay, line, toy, air
        self.said = Said()
        self.looks = 0
        self.synced = 0  # exchanges with the relay that have begun
        self.store = KeyStore(directory / "config")
        self.grandma = Far(directory / "grandma")
        own, hers = mailboxes.use(line.url), mailboxes.use(relay, self.grandma.directory)
        known = Known("Bruno", KEY, b"toy here", SENDER, FAMILY)
        name = Mailbox(Relay(relay), hers.key(known.id, 0)).name
        papa = Mailbox(Relay(relay), own.key(known.id, 0)).name
        relative = Relative("Grandma", Role.RELATIVE, GRANDMA, 1, name, SECRET)
        self.store.join(Known(**{**known.__dict__, "relatives": (relative,)}))
        parent = Relative("Papa", Role.PARENT, SENDER, 1, papa, SECRET)
        self.grandma.store.join(
            Known("Bruno", None, known.id, GRANDMA, FAMILY, {}, (parent,))
        )  # fmt: skip

    async def settled(self) -> None:
        """Wait until what has happened here brings about nothing more."""
        synced = -1
        while synced != self.synced:
            synced, looks = self.synced, self.looks
            while self.looks < looks + 20:
                await asyncio.sleep(0.01)

    def running(self, on_message: str | None = None, name: str | None = None) -> running.Running:
        at_radio = asyncio.Lock()
        answers = self.store.directory / "answers"

        def carrier_of(known: Known) -> Carrier:
            return Carrier(
                self.store, known, None, self.said, answers, on_message, at_radio
            )  # fmt: skip

        return running.Running(self.store, self.said, carrier_of, name)

    def inbox(self, *states: State) -> list[bytes]:
        with Inbox(b"toy here") as inbox:
            return [each.id for each in inbox.messages(*states)]

    def approve(self, message_id: bytes) -> None:
        with Inbox(b"toy here") as inbox:
            inbox.approve(message_id)


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def going_on(run: running.Running) -> AsyncIterator[asyncio.Task[None]]:
    """Have it run; it may not end by itself."""
    task = asyncio.create_task(run.run())
    try:
        async with asyncio.timeout(200):
            yield task
        assert not task.done()
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@pytest.fixture
def air(toy: Toy) -> Air:
    return Air(toy)


@pytest.fixture
async def home(
    tmp_path: Path, toy: Toy, air: Air, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Home]:
    command_near(air, tmp_path, monkeypatch)
    monkeypatch.setattr(running, "LOOK", 0.02)
    monkeypatch.setattr(running, "RELAY_PAUSES", (0.02, 0.2))
    monkeypatch.setattr(running, "TOY_PAUSES", (0.02, 0.1))
    async with served(settings(tmp_path / "relay")) as (url, _):
        line = Line(url)
        await line.begin()
        home = Home(tmp_path, url, line, toy, air)
        await home.grandma.admit()
        async with Relay(url) as relay:
            own = mailboxes.get()
            with open_post(home.store, home.store.get(None), relay, own) as post:
                await post.admit()
        look, sync = running.Following.look, Post.sync

        def counted_look(following: running.Following) -> None:
            home.looks += 1
            look(following)

        async def counted_sync(post: Post, synced: Synced) -> None:
            home.synced += post._directory is None  # not grandma's
            await sync(post, synced)

        monkeypatch.setattr(running.Following, "look", counted_look)
        monkeypatch.setattr(Post, "sync", counted_sync)
        yield home
        await line.end()


@pytest.fixture
def no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay's answer to a long poll never comes."""

    async def wait(post: Post, seconds: int) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Post, "wait", wait)


def noting(note: Path) -> str:
    """A command for messages that writes down what it is given."""
    script = "import os; e = os.environ; print(*(e['HUSHBEAR_' + n] for n in"
    script += f" ('KIND', 'FROM', 'TOY', 'ID', 'FILE')), file=open({str(note)!r}, 'a'))"
    return f'{sys.executable} -c "{script}"'


async def test_what_the_child_says_goes_out_at_once(
    home: Home, no_answer: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "VISIT", 0.05)
    note = tmp_path / "note"
    async with going_on(home.running(noting(note))):
        await until(lambda: home.air.opened)
        home.toy.record(answer := make_message(sender=bytes(8)))
        await home.grandma.heard(answer[16:32])
        visits = len(home.air.opened)
        await until(lambda: note.exists() and note.read_text().endswith("wav\n"))
        await until(lambda: len(home.air.opened) > visits + 1)
    assert home.toy.asked.count(wire.FETCHED) == 1
    assert len(note.read_text().splitlines()) == 1
    kind, who, where, which, file = note.read_text().split(maxsplit=4)
    assert (kind, who, where, which) == ("answer", "Bruno", "Bruno", answer[16:32].hex())
    assert Path(file.strip()).exists()


async def test_what_is_approved_or_refused_elsewhere_moves_at_once(
    home: Home, no_answer: None
) -> None:
    first, second = await home.grandma.send(), await home.grandma.send()
    async with going_on(home.running()):
        await until(lambda: home.inbox(State.WAITING) == [first, second])
        await until(lambda: home.air.opened)
        elsewhere = FarPhone(home.store.directory)
        for command, message_id in (("approve", first), ("refuse", second)):
            process = elsewhere.start(command, message_id.hex())
            await asyncio.to_thread(process.communicate)
            assert process.returncode == 0
        await home.grandma.told(second, Stage.REFUSED)
        await until(lambda: home.toy.inbox())
    assert [content[16:32] for content in home.toy.inbox()] == [first]


async def test_what_the_toy_has_goes_at_once_where_it_is_refused(
    home: Home, no_answer: None
) -> None:
    sent = await home.grandma.send()
    async with going_on(home.running()):
        await until(lambda: home.inbox(State.WAITING))
        home.approve(sent)
        await until(lambda: home.inbox(State.DELIVERED))
        with Inbox(b"toy here") as inbox:
            inbox.refuse(sent)
        await until(lambda: not home.toy.inbox())
        await home.grandma.told(sent, Stage.REFUSED)


async def test_the_sender_hears_what_became_of_it_at_once(home: Home, no_answer: None) -> None:
    sent = await home.grandma.send()
    async with going_on(home.running()):
        await until(lambda: home.inbox(State.WAITING))
        home.approve(sent)
        await home.grandma.told(sent, Stage.DELIVERED)


async def test_what_comes_is_there_at_once_and_told_once(home: Home, tmp_path: Path) -> None:
    note = tmp_path / "note"
    with Inbox(b"toy here") as inbox:
        inbox.approve_always(GRANDMA)
    async with going_on(home.running(noting(note))):
        await until(lambda: home.air.opened)
        sent = [await home.grandma.send() for _ in range(3)]
        await until(lambda: len(home.toy.inbox()) == 3)
        await until(lambda: note.exists() and len(note.read_text().splitlines()) >= 3)
    assert [content[16:32] for content in home.toy.inbox()] == sent
    told = [line.split() for line in note.read_text().splitlines()]
    assert [line[3] for line in told] == [each.hex() for each in sent]
    assert all(line[:3] == ["for-toy", "Grandma", "Bruno"] for line in told)


async def test_what_has_come_is_told_though_the_relay_goes_then(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = await home.grandma.send()
    put = Mailbox.remove
    lost: list[bytes] = []

    async def remove(mailbox: Mailbox, message_id: bytes) -> None:
        if not lost:
            lost.append(message_id)
            home.line.cut()
            monkeypatch.setattr("hushbear_relay.client.http._SILENCE", 0.2)
        await put(mailbox, message_id)

    monkeypatch.setattr(Mailbox, "remove", remove)
    async with going_on(home.running()):
        await until(lambda: "Trying again" in home.said)
        await until(lambda: sent.hex()[:8] in home.said)
        monkeypatch.setattr("hushbear_relay.client.http._SILENCE", 30.0)
        home.line.mend()
        await until(lambda: "The relay is there again." in home.said)
    assert home.said.count(sent.hex()[:8]) == 1


async def test_nothing_goes_round_in_circles(home: Home, no_answer: None) -> None:
    with Inbox(b"toy here") as inbox:
        inbox.approve_always(GRANDMA)
    await home.grandma.send()
    async with going_on(home.running()):
        await until(lambda: home.toy.inbox())
        await home.settled()
        synced, visits, looks = home.synced, len(home.air.opened), home.looks
        await until(lambda: home.looks > looks + 50)
    assert home.synced == synced and len(home.air.opened) == visits


async def test_a_line_that_is_dead_and_tells_nobody(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "WAIT", 1)
    monkeypatch.setattr("hushbear_relay.client.http._SILENCE", 1.0)
    async with going_on(home.running()):
        await until(lambda: home.line.connections and home.air.opened)
        home.line.cut()
        await until(lambda: "Trying again" in home.said)
        sent = await home.grandma.send()
        monkeypatch.setattr("hushbear_relay.client.http._SILENCE", 30.0)
        home.line.mend()
        await until(lambda: home.inbox() == [sent])
        await until(lambda: "The relay is there again." in home.said)
    assert home.said.count("Trying again") == 1


async def test_after_sleep_everything_begins_anew(
    home: Home, no_answer: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with going_on(home.running()):
        await until(lambda: home.air.opened)
        await home.settled()
        home.line.cut()
        sent = await home.grandma.send()
        home.toy.record(make_message(sender=bytes(8)))
        home.line.mend()
        before = len(home.air.opened)
        monkeypatch.setattr(running, "SLEPT", -3600.0)  # as if this look were so late
        await until(lambda: len(home.air.opened) > before)
        monkeypatch.setattr(running, "SLEPT", 30.0)
        await until(lambda: home.inbox() == [sent])
        await until(lambda: "wav" in home.said)


async def test_another_relay_is_used_at_once(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wait = Post.wait

    async def wait_elsewhere(post: Post, seconds: int) -> None:
        if str(post._relay.url).rstrip("/") == home.line.url:
            await asyncio.Event().wait()
        await wait(post, seconds)

    monkeypatch.setattr(Post, "wait", wait_elsewhere)
    async with served(settings(tmp_path / "elsewhere")) as (url, _), going_on(home.running()):
        await until(lambda: home.line.connections and home.air.opened)
        mailboxes.use(url, home.grandma.directory)
        sent = await home.grandma.send()  # kept: nobody has a mailbox there yet
        mailboxes.use(url)
        while home.inbox() != [sent]:
            await home.grandma.sync()
            await asyncio.sleep(0.05)


async def test_toys_come_and_go(home: Home, no_answer: None) -> None:
    other = Toy(OTHER_KEY)
    home.air.toys.append(other)
    async with going_on(home.running()):
        await until(lambda: "Keeping 1 toy moving." in home.said)
        home.store.add("Lotte", OTHER_KEY)
        await until(lambda: other.asked)
        assert "Keeping Lotte moving, too." in home.said
        home.store.remove("Bruno")
        home.store.remove("Lotte")
        await until(lambda: "Bruno is forgotten here." in home.said)
        await until(lambda: "Lotte is forgotten here." in home.said)
        asked = len(other.asked)
        home.store.add("Lotte again", OTHER_KEY)
        await until(lambda: len(other.asked) > asked)


async def test_one_toy_of_several(home: Home, no_answer: None) -> None:
    other = Toy(OTHER_KEY)
    home.air.toys.append(other)
    home.store.add("Lotte", OTHER_KEY)
    async with going_on(home.running(name="lotte")):
        await until(lambda: other.asked)
        home.store.add("Liese", OTHER_KEY)  # another name
        asked = len(other.asked)
        home.store.change(b"toy here", lambda known: known)
        with Inbox(home.store.get("Liese").id) as inbox:
            inbox.take(make_message(sender=GRANDMA), FAMILY)
            inbox.approve(inbox.messages()[0].id)
        await until(lambda: len(other.asked) > asked and other.inbox())
    assert not home.toy.asked and "forgotten" not in home.said


async def test_one_radio_serves_several_toys_in_turn(
    home: Home, no_answer: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "VISIT", 0.01)
    toys = [Toy(bytes([n]) * 32) for n in range(4)]
    for number, each in enumerate(toys):
        home.air.toys.append(each)
        home.store.add(f"Toy {number}", each.key)
    users: list[None] = []
    most: list[int] = []

    @contextlib.asynccontextmanager
    async def open_radio(spec: str | None) -> AsyncIterator[Air]:
        users.append(None)
        most.append(len(users))
        yield home.air
        users.pop()

    monkeypatch.setattr("hushbear_companion.transport.open_radio", open_radio)
    async with going_on(home.running()):
        await until(lambda: all(each.asked for each in (home.toy, *toys)) and len(most) > 20)
    assert max(most) == 1


async def test_a_damaged_keys_file_is_waited_out(home: Home, no_answer: None) -> None:
    async with going_on(home.running()):
        await until(lambda: home.air.opened)
        good = home.store.path.read_bytes()
        home.store.path.write_bytes(good[:-20])
        await until(lambda: "toys.json is damaged" in home.said)
        sent = await home.grandma.send()
        home.store.path.write_bytes(good)
        await until(lambda: home.inbox() == [sent])
        await until(lambda: "It works again." in home.said)
    assert "forgotten" not in home.said


async def test_an_error_of_our_own_is_said_and_stops_nothing_else(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wrong(*_: object) -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr("hushbear_companion.carrier.deliver", wrong)
    async with going_on(home.running()):
        await until(lambda: "companion itself failed (RuntimeError: a mistake)" in home.said)
        tried = len(home.air.opened)
        sent = await home.grandma.send()
        await until(lambda: home.inbox() == [sent])
        await until(lambda: len(home.air.opened) > tried + 2)
        assert home.said.count("a mistake") == 1
        monkeypatch.setattr("hushbear_companion.carrier.deliver", deliver)
        home.approve(sent)
        await until(lambda: home.toy.inbox())
        await until(lambda: "It works again." in home.said)


async def test_a_toy_that_comes_back_gets_what_was_approved_meanwhile(
    home: Home, no_answer: None
) -> None:
    home.air.in_sight = False
    sent = await home.grandma.send()
    home.toy.record(answer := make_message(sender=bytes(8)))
    async with going_on(home.running()):
        await until(lambda: home.inbox())
        home.approve(sent)
        await asyncio.sleep(0.2)
        home.air.in_sight = True
        await home.grandma.told(sent, Stage.DELIVERED)
        await until(lambda: answer[16:24].hex()[:8] in home.said)
    assert len(home.toy.inbox()) == 1 and home.toy.asked.count(wire.FETCHED) == 1
    assert not [line for line in home.said.lines if "again" in line or "sight" in line]


class Fading(Link):
    """A link that ends after some frames, the more the more often it was tried."""

    async def put(self, payload: bytes) -> None:
        self.left -= 1
        if self.left < 0:
            self.drop()
            raise ConnectionError
        await super().put(payload)

    def __init__(self, toy: Toy, air: Air) -> None:
        super().__init__(toy, air)
        self.left = 3 * len(air.opened)


async def test_links_that_drop_again_and_again(
    home: Home, no_answer: None, tmp_path: Path
) -> None:
    home.air._link = Fading
    note = tmp_path / "note"
    with Inbox(b"toy here") as inbox:
        inbox.approve_always(GRANDMA)
    sent = [await home.grandma.send() for _ in range(2)]
    home.toy.record(answer := make_message(sender=bytes(8)))
    async with going_on(home.running(noting(note))):
        await home.grandma.heard(answer[16:32])
        await until(lambda: len(home.toy.inbox()) == 2)
        await until(lambda: len(note.read_text().splitlines()) >= 3)
    assert [content[16:32] for content in home.toy.inbox()] == sent
    told = sorted(line.split()[0] for line in note.read_text().splitlines())
    assert told == ["answer", "for-toy", "for-toy"]
    assert len(home.air.opened) > 3


async def test_a_second_run_waits_for_the_first(home: Home, no_answer: None) -> None:
    first = asyncio.create_task(home.running().run())
    await until(lambda: home.air.opened)
    async with going_on(home.running()):
        await until(lambda: "Another `hushbear run` keeps Bruno moving." in home.said)
        opened = len(home.air.opened)
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        await until(lambda: len(home.air.opened) > opened)
    assert home.said.count("Another") == 1


@pytest.fixture
def far_run(grandma: FarPhone) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Grandma's `hushbear run`, in a process."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: object) -> subprocess.Popen[str]:
        process = grandma.start("run", *arguments)
        started.append(process)
        assert "moving" in line_of(process.stderr)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


Start = Callable[..., subprocess.Popen[str]]


def to_grandma(near: Command, hello: Path) -> str:
    sent: str = said(near, "send", hello, "--to", "Grandma")["id"]
    return sent


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_it_stops_when_it_is_told_to(
    parent: FarPhone, grandma: FarPhone, near: Command, hello: Path, far_run: Start,
    tmp_path: Path, number: signal.Signals, code: int,
) -> None:  # fmt: skip
    invite(parent, grandma, "Grandma")
    note = tmp_path / "note"
    script = f"import os, time; open({str(note)!r}, 'w').write(str(os.getpid())); time.sleep(900)"
    process = far_run("--on-message", f'{sys.executable} -c "{script}"')
    sent = to_grandma(near, hello)
    assert line_of(process.stdout).startswith(sent[:8])
    while not (note.exists() and note.read_text()):
        time.sleep(0.05)
    process.send_signal(number)
    assert process.wait(120) == code
    with pytest.raises(ProcessLookupError):
        os.kill(int(note.read_text()), 0)
    assert [each["id"] for each in grandma.run("inbox")["received"]] == [sent]


def test_it_goes_on_when_nobody_reads_what_it_says(
    parent: FarPhone, grandma: FarPhone, near: Command, hello: Path, far_run: Start
) -> None:
    invite(parent, grandma, "Grandma")
    process = far_run()
    assert process.stdout is not None
    process.stdout.close()
    sent = []
    for _ in range(2):
        sent.append(to_grandma(near, hello))
        while [each["id"] for each in grandma.run("inbox")["received"]] != sent:
            time.sleep(0.1)
    assert process.poll() is None
    process.terminate()
    assert process.wait(120) == 0


def test_a_phone_that_was_frozen_while_the_relay_was_restarted(
    parent: FarPhone, grandma: FarPhone, near: Command, hello: Path, far_run: Start,
    server: Process,
) -> None:  # fmt: skip
    invite(parent, grandma, "Grandma")
    process = far_run()
    first = to_grandma(near, hello)
    assert line_of(process.stdout).startswith(first[:8])
    process.send_signal(signal.SIGSTOP)
    server.kill()
    server.start()
    second = to_grandma(near, hello)
    process.send_signal(signal.SIGCONT)
    assert line_of(process.stdout).startswith(second[:8])


def test_a_full_disk_is_waited_out(
    parent: FarPhone, grandma: FarPhone, near: Command, hello: Path, far_run: Start
) -> None:
    invite(parent, grandma, "Grandma")
    process = far_run()
    first = to_grandma(near, hello)
    assert line_of(process.stdout).startswith(first[:8])
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    second = to_grandma(near, hello)
    assert "room" in line_of(process.stderr)
    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, unlimited)
    assert line_of(process.stdout).startswith(second[:8])
    assert "works again" in line_of(process.stderr)
