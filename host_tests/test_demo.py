"""The demo's command line, its phones and its relay; the story itself is for eyes and ears."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from host_tests.targets import ROOT
from hushbear_companion.keystore import KeyStore
from hushbear_companion.link import decode_key
from hushbear_companion.message import parse_header
from hushbear_companion.toy import Role
from hushbear_relay.client.ledger import Ledger
from tools.story import acts
from tools.story.phone import Phone
from tools.story.relay import line, running_relay
from tools.story.telling import DemoFailed
from tools.story.theft import Thief, Valuables, tell_of

HERE, THERE = "127.0.83.17", "127.0.83.18"
KEY = bytes(range(32))


@pytest.mark.parametrize(
    ("variable", "said"),
    [("HUSHBEAR_QEMU_XTENSA", "install Espressif's QEMU"), ("HUSHBEAR_ESP32_IMAGE", "no image")],
)
def test_what_the_real_image_lacks_is_said_in_a_line(variable: str, said: str) -> None:
    if variable == "HUSHBEAR_ESP32_IMAGE" and "HUSHBEAR_QEMU_XTENSA" not in os.environ:
        pytest.skip("no emulator, so the image is not asked for")
    demo = subprocess.run(
        [sys.executable, "-m", "tools.demo", "--target", "qemu-esp32"],
        cwd=ROOT, env=os.environ | {variable: "/nowhere"}, capture_output=True, text=True,
        check=False, timeout=120,
    )  # fmt: skip
    assert demo.returncode == 2
    (line,) = demo.stderr.splitlines()
    assert line.startswith("tools/demo: --target qemu-esp32: no ")
    assert said in line


def paired(directory: Path, owner: str) -> Phone:
    """A phone that knows a toy and the key of its family."""
    KeyStore(directory).add("Bruno", KEY, b"parents\0", {1: os.urandom(32)})
    return Phone(owner, directory)


async def test_the_thief_of_the_story_gets_nothing_and_would_be_noticed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The part of the story that needs no toy, with the real relay and real phones."""
    monkeypatch.setattr(acts, "OUT", tmp_path)
    async with (
        running_relay(tmp_path / "relay") as port,
        line(HERE, port) as here,
        line(THERE, port) as there,
    ):
        parent, grandma = paired(tmp_path / "parent", "Johanna"), Phone("Grandma", tmp_path / "g")
        thief, valuables = Thief(tmp_path / "relay"), Valuables()
        valuables.add_names("Johanna", "Grandma", "Bruno")
        valuables.add_addresses(HERE, THERE)
        await acts.invite(parent, grandma, (here, there), thief, valuables)
        await acts.send(grandma, thief, valuables)
        await grandma.run("sent")
    (message,) = (await grandma.ask("sent"))["sent"]
    assert message["state"] == "going"
    for phone in (parent, grandma):
        valuables.add_phone(phone)
    (to_parent,) = grandma.toy.relatives
    assert (to_parent.name, to_parent.role) == ("Johanna", Role.PARENT)
    assert to_parent.secret in valuables.keys.values()
    assert set(grandma.toy.family.values()) <= set(valuables.keys.values())
    known = {*valuables.keys.values(), *valuables.identities.values()}
    for phone in (parent, grandma):
        assert secrets_in(phone.directory) <= known, "none of a phone's secrets is left out"
    sealed = sealed_messages(grandma)
    valuables.recordings["the sealed message"] = sealed[message["id"]]
    tried = tell_of(thief, valuables, [parent, grandma])
    assert tried.envelopes > 0 and tried.keys > 20
    assert any(len(each.body) > 30_000 for each in thief.loot["message waits"].envelopes)
    assert "message waits" in capsys.readouterr().out

    (tmp_path / "relay/note").write_text(to_parent.secret.hex())
    thief.steal("later")
    with pytest.raises(DemoFailed, match=r"the thief has what .* shares with .*in note \(later\)"):
        tell_of(thief, valuables, [parent, grandma])


def secrets_in(directory: Path) -> set[bytes]:
    """Return what looks like a key or an identity in a phone's files, but the names of mailboxes,
    which a relay has to know."""
    text = "".join((directory / name).read_text() for name in ("toys.json", "relay.json"))
    text = re.sub(r'"(mailbox|told)": "\w+"', "", text)
    found = {bytes.fromhex(each) for each in re.findall(r'"((?:[0-9a-f]{2}){8,})"', text)}
    found |= {decode_key(each) for each in re.findall(r'"([\w-]{43})"', text)}
    assert len(found) >= 5
    return found


def sealed_messages(phone: Phone) -> dict[str, bytes]:
    """Return what is on its way from a phone, by the messages' ids."""
    ledger = Ledger(phone.data / phone.toy.id.hex() / "relay.db")
    try:
        found = [each.content[1:] for each in ledger.going() if len(each.content) > 10_000]
    finally:
        ledger.close()
    return {parse_header(each).id.hex(): each for each in found}


async def test_the_relay_sees_each_phone_at_an_address_of_its_own(tmp_path: Path) -> None:
    seen = []

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(writer.get_extra_info("peername")[0])
        writer.write(await reader.readexactly(5))
        writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for address in (HERE, THERE):
        async with line(address, port) as url:
            reader, writer = await asyncio.open_connection("127.0.0.1", url.rpartition(":")[2])
            writer.write(b"hello")
            assert await reader.read() == b"hello"
            writer.close()
    server.close()
    assert seen == [HERE, THERE]


async def test_a_command_that_fails_ends_the_demo(tmp_path: Path) -> None:
    with pytest.raises(DemoFailed, match="hushbear send ended with exit code"):
        await Phone("Grandma", tmp_path).run("send", "nowhere.wav")
