"""tools/setup on machines that it has not seen: apt is a stand-in that notes how it is called."""

import os
import pathlib
import subprocess

import pytest

from host_tests.targets import ROOT

PINNED = "micropython_1.25.0+ds.orig.tar.xz"

APT = """\
#!/bin/bash
# apt-get of a machine with a company's mirror of Debian, and somebody else's packages besides.
echo "$*" >>calls
case "$*" in
    *"source --print-uris"*) echo "'$MIRROR/pool/main/m/micropython/x' $OFFERED 1000 SHA256:0" ;;
    *"--download-only source"*) echo -n "$CONTENT" >"$OFFERED" ;;
    *"update --print-uris"*)
        . /etc/os-release
        echo "'https://elsewhere.example/node/dists/nodistro/InRelease' name 0 "
        echo "'http://mirror.example/debian/dists/$VERSION_CODENAME/InRelease' name 0 "
        ;;
esac
"""


class Machine:
    """A directory with a cache and an apt-get of its own."""

    def __init__(self, path: pathlib.Path) -> None:
        self.cache = path / "cache/hushbear"
        program = path / "bin/apt-get"
        program.parent.mkdir()
        program.write_text(APT.replace(">>calls", f">>{path}/calls"))
        program.chmod(0o755)
        self._environment = {
            "HOME": str(path),
            "XDG_CACHE_HOME": str(path / "cache"),
            "PATH": f"{program.parent}:{os.environ['PATH']}",
        }

    def setup(self, argument: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "tools/setup", argument],
            env={**self._environment, **environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: pathlib.Path) -> Machine:
    return Machine(tmp_path)


def test_altered_source_is_refused_and_not_kept(machine: Machine) -> None:
    done = machine.setup("fetch", OFFERED=PINNED, CONTENT="something else")
    assert done.returncode == 1
    assert "its SHA-256 does not match" in done.stderr
    assert not (machine.cache / "sources" / PINNED).exists()


def test_newer_version_at_debian_is_explained(machine: Machine) -> None:
    newer = "micropython_1.26.0+ds.orig.tar.xz"
    done = machine.setup("fetch", OFFERED=newer, CONTENT="newer")
    assert done.returncode == 1
    assert f"found no {PINNED}; Debian trixie has {newer} now" in done.stderr
    assert str(machine.cache / "sources") in done.stderr  # where to put it


def test_source_comes_from_the_mirror_of_the_machines_own_release(machine: Machine) -> None:
    machine.setup("fetch", OFFERED=PINNED, CONTENT="")
    source = (machine.cache / "apt/parts/source.sources").read_text()
    assert "URIs: http://mirror.example/debian\n" in source


def test_other_argument_says_what_there_is(machine: Machine) -> None:
    done = machine.setup("everything")
    assert done.returncode == 2
    assert "tools/setup demo" in done.stdout
    assert not machine.cache.exists()
