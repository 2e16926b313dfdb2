"""The systemd units that we give: systemd understands them, and what they start does start."""

from __future__ import annotations

import configparser
import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from host_tests.companion_toy import FAMILY, SENDER
from host_tests.far_phones import KEY, FarPhone, server
from host_tests.relay.running import Process, free_port
from host_tests.targets import ROOT

RELAY = ROOT / "relay" / "deploy" / "hushbear-relay.service"
COMPANION = ROOT / "companion" / "deploy" / "hushbear.service"
__all__ = ["server"]  # a fixture
ANALYZE = shutil.which("systemd-analyze")


def _service(unit: Path) -> configparser.SectionProxy:
    parser = configparser.ConfigParser(interpolation=None, delimiters="=", comment_prefixes="#")
    parser.optionxform = str  # type: ignore[method-assign,assignment]
    parser.read(unit)
    return parser["Service"]


def _command(unit: Path) -> list[str]:
    """Return what a unit starts, from where the tests have it."""
    program, *arguments = shlex.split(_service(unit)["ExecStart"])
    name = Path(program).name
    assert name in {each.name for each in entry_points(group="console_scripts")}
    return [str(Path(sysconfig.get_path("scripts")) / name), *arguments]


@contextlib.contextmanager
def _started(unit: Path, home: Path, **more: str) -> Iterator[subprocess.Popen[str]]:
    """What a unit starts, with nothing of this shell's environment."""
    process = subprocess.Popen(
        _command(unit), cwd="/", umask=int(_service(unit)["UMask"], 8), text=True,
        env={"HOME": str(home), "PATH": os.defpath, **more}, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@pytest.mark.skipif(not ANALYZE, reason="no systemd-analyze: Debian's package systemd")
@pytest.mark.parametrize("unit", [RELAY, COMPANION], ids=["relay", "companion"])
def test_systemd_understands_the_unit(unit: Path, tmp_path: Path) -> None:
    assert ANALYZE
    copy = tmp_path / unit.name
    program = _service(unit)["ExecStart"].split()[0]
    copy.write_text(unit.read_text().replace(program, _command(unit)[0]))
    done = subprocess.run(
        [ANALYZE, "--system" if unit == RELAY else "--user", "verify", "--man=no", str(copy)],
        env={"HOME": str(tmp_path), "PATH": os.defpath, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True, text=True,
    )  # fmt: skip
    about_this = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, about_this) == (0, []), done.stderr


def test_the_relays_unit_starts_a_relay_that_is_well(tmp_path: Path) -> None:
    state, home = tmp_path / "state", tmp_path / "home"
    state.mkdir(mode=int(_service(RELAY)["StateDirectoryMode"], 8))
    home.mkdir()
    more = {
        "STATE_DIRECTORY": str(state),  # as systemd says it
        "HUSHBEAR_RELAY_LISTEN": f"127.0.0.1:{free_port()}",
        "HUSHBEAR_RELAY_METRICS": f"127.0.0.1:{free_port()}",
    }
    with _started(RELAY, home, **more) as process:
        check = [*_command(RELAY)[:1], "check", "--running"]
        environment = {"PATH": os.defpath, **more}
        while subprocess.run(check, env=environment, capture_output=True).returncode:
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        files = list(state.iterdir())
        assert "relay.sqlite" in {file.name for file in files}
        assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 0
    assert not list(home.iterdir())


def test_the_companions_unit_starts_what_keeps_toys_moving(
    tmp_path: Path, server: Process
) -> None:
    phone = FarPhone(tmp_path / ".config" / "hushbear")
    phone.store.add("Bruno", KEY, SENDER, FAMILY)
    phone.run("relay", server.url)
    with _started(COMPANION, tmp_path) as process:
        assert process.stderr
        assert process.stderr.readline() == "Keeping 1 toy moving.\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait() in (0, -signal.SIGTERM)  # systemd takes both for a stop
