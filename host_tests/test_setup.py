"""tools/setup on machines that it has not seen: apt is a stand-in that notes how it is called."""

import os
import pathlib
import re
import subprocess

import pytest

from host_tests.targets import ROOT

MICROPYTHON = "micropython_1.25.0+ds.orig.tar.xz"
MBEDTLS = "mbedtls_2.28.3.orig.tar.gz"
SUITES = {MICROPYTHON: "trixie", MBEDTLS: "bookworm"}
RIGHT = "what the SHA-256 is of"

# Of a machine with a company's mirror of Debian, and somebody else's packages besides.
APT = """\
#!/bin/bash
here=${0%/bin/*}
echo "$*" >>"$here/calls"
private=$here/cache/hushbear/apt/parts/source.sources
pool=$here/mirror/$(sed -n 's/^Suites: //p' "$private" 2>/dev/null)/${!#}
case "$*" in
    *"source --print-uris"*)
        for path in "$pool"/*; do
            name=${path##*/}
            echo "'http://mirror.example/pool/$name' ${name%.orig*}-1.dsc 100 SHA256:0"
            echo "'http://mirror.example/pool/$name' $name 1000 SHA256:0"
            echo "'http://mirror.example/pool/$name' $name.asc 100 SHA256:0"
        done
        ;;
    *"--download-only source"*) cp "$pool"/* . ;;
    *"update --print-uris"*)
        . /etc/os-release
        echo "'https://elsewhere.example/node/dists/nodistro/InRelease' name 0 "
        echo "'http://mirror.example/debian/dists/$VERSION_CODENAME/InRelease' name 0 "
        ;;
esac
"""

# As the machine's own, but for the file that is taken for the right one.
SHA256SUM = f"""\
#!/bin/bash
read -r sum path
[[ $(cat "$path" 2>/dev/null) == "{RIGHT}" ]] || PATH=${{PATH#*:}} sha256sum "$@" <<<"$sum  $path"
"""


class Machine:
    """A directory with a cache, a mirror, and an apt-get of its own."""

    def __init__(self, path: pathlib.Path) -> None:
        self._path = path
        self.sources = path / "cache/hushbear/sources"
        (path / "bin").mkdir()
        for name, text in (("apt-get", APT), ("sha256sum", SHA256SUM)):
            program = path / "bin" / name
            program.write_text(text)
            program.chmod(0o755)
        self._environment = {
            "HOME": str(path),
            "XDG_CACHE_HOME": str(path / "cache"),
            "PATH": f"{path}/bin:{os.environ['PATH']}",
        }

    def offer(self, suite: str, tarball: str, content: str) -> None:
        """Put a source package on the mirror."""
        path = self._path / "mirror" / suite / tarball.partition("_")[0] / tarball
        path.parent.mkdir(parents=True)
        path.write_text(content)

    def have(self, tarball: str) -> None:
        """Put a tarball into the cache."""
        self.sources.mkdir(parents=True, exist_ok=True)
        (self.sources / tarball).write_text(RIGHT)

    @property
    def calls(self) -> str:
        path = self._path / "calls"
        return path.read_text() if path.exists() else ""

    def setup(self, argument: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "tools/setup", argument],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: pathlib.Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture(params=SUITES)
def pinned(request: pytest.FixtureRequest, machine: Machine) -> str:
    """A tarball that the machine lacks; it has the others."""
    for tarball in SUITES:
        if tarball != request.param:
            machine.have(tarball)
    return str(request.param)


def test_altered_source_is_refused_and_not_kept(machine: Machine, pinned: str) -> None:
    machine.offer(SUITES[pinned], pinned, "something else")
    done = machine.setup("fetch")
    assert done.returncode == 1
    assert f"what came as {pinned} is something else: its SHA-256 does not match" in done.stderr
    assert not (machine.sources / pinned).exists()


def test_newer_version_at_debian_is_explained(machine: Machine, pinned: str) -> None:
    newer = re.sub(r"\d+\.\d+", "9.0", pinned, count=1)
    machine.offer(SUITES[pinned], newer, "newer")
    done = machine.setup("fetch")
    assert done.returncode == 1
    assert f"found no {pinned}; Debian {SUITES[pinned]} has {newer} now" in done.stderr
    assert str(machine.sources) in done.stderr  # where to put it


def test_missing_source_is_asked_for(machine: Machine, pinned: str) -> None:
    done = machine.setup("fetch")
    assert done.returncode == 1
    assert f"found no {pinned}. If you have it, put it into {machine.sources}" in done.stderr
    machine.have(pinned)
    assert machine.setup("fetch").returncode == 0


def test_every_source_is_fetched_from_its_suite_and_only_once(machine: Machine) -> None:
    for tarball, suite in SUITES.items():
        machine.offer(suite, tarball, RIGHT)
    assert machine.setup("fetch").returncode == 0
    assert {path.name for path in machine.sources.iterdir()} == set(SUITES)
    calls = machine.calls
    assert machine.setup("fetch").returncode == 0
    assert machine.calls == calls


def test_source_comes_from_the_mirror_of_the_machines_own_release(
    machine: Machine, pinned: str
) -> None:
    machine.offer(SUITES[pinned], pinned, RIGHT)
    machine.setup("fetch")
    source = (machine.sources.parent / "apt/parts/source.sources").read_text()
    assert "URIs: http://mirror.example/debian\n" in source


def test_other_argument_says_what_there_is(machine: Machine) -> None:
    done = machine.setup("everything")
    assert done.returncode == 2
    assert "tools/setup demo" in done.stdout
    assert not machine.sources.parent.exists()
