"""The GitHub workflows: they run what is there, trust what is pinned, and may do nothing."""

from __future__ import annotations

import pathlib
import re
from typing import Any

import pytest
import yaml

from host_tests.targets import ROOT
from host_tests.targets.plugin import TARGETS

FILES = sorted((ROOT / ".github/workflows").glob("*.yml"))
PINNED = re.compile(r"^\s*- uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+(\.\d+)*$")
SHA256 = re.compile(r"[0-9a-f]{64}")

each_file = pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)


def workflow(path: pathlib.Path) -> dict[Any, Any]:
    content: dict[Any, Any] = yaml.safe_load(path.read_text())
    return content


def steps(path: pathlib.Path) -> list[dict[str, Any]]:
    return [step for job in workflow(path)["jobs"].values() for step in job["steps"]]


@each_file
def test_what_it_runs_is_there(path: pathlib.Path) -> None:
    commands = "\n".join(step["run"] for step in steps(path) if "run" in step)
    scripts = re.findall(r"(?:tools|host_tests)/[\w/.-]+", commands)
    assert scripts
    for script in scripts:
        assert (ROOT / script).is_file(), script
        assert (ROOT / script).stat().st_mode & 0o111, f"{script} cannot be run"
    assert set(re.findall(r"--target (\S+)", commands)) <= {*TARGETS, "all"}


@each_file
def test_actions_are_pinned_by_commit(path: pathlib.Path) -> None:
    lines = [line for line in path.read_text().splitlines() if re.match(r"\s*(- )?uses:", line)]
    assert lines
    assert [line for line in lines if not PINNED.match(line)] == []


@each_file
def test_it_may_only_read_the_repository_and_has_no_secret(path: pathlib.Path) -> None:
    content = workflow(path)
    assert content["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in content["jobs"].values())
    assert "secrets." not in path.read_text()
    assert "pull_request_target" not in content[True]  # YAML 1.1 reads the key `on` as true
    checkouts = [
        step for step in steps(path) if step.get("uses", "").startswith("actions/checkout")
    ]
    assert checkouts
    assert all(step["with"] == {"persist-credentials": False} for step in checkouts)


@each_file
def test_no_run_goes_on_beside_a_newer_one_or_for_ever(path: pathlib.Path) -> None:
    content = workflow(path)
    assert content["concurrency"]["group"]
    assert all(job["timeout-minutes"] <= 120 for job in content["jobs"].values())


def test_every_target_that_needs_no_board_is_run() -> None:
    commands = [step.get("run", "") for path in FILES for step in steps(path)]
    assert "tools/test" in commands  # --target all: unix and qemu-riscv
    assert any("--target qemu-esp32" in command for command in commands)


@each_file
def test_what_is_downloaded_is_checked_before_it_is_used(path: pathlib.Path) -> None:
    for job in workflow(path)["jobs"].values():
        runs = [step.get("run", "") for step in job["steps"]]
        named = {name for run in runs for name in re.findall(r'curl .* "\$(\w+)"', run)}
        urls = {name for name, value in job.get("env", {}).items() if "://" in str(value)}
        assert named == urls
        for name in urls:
            assert SHA256.fullmatch(job["env"][f"{name}_SHA256"])
            check = next(n for n, run in enumerate(runs) if f'"${name}_SHA256 ' in run)
            assert "if" not in job["steps"][check], "what is cached is checked, too"
            assert "sha256sum --check" in runs[check]
            (file,) = re.findall(rf"\${name}_SHA256  (\S+)\"", runs[check])
            used = [n for n, run in enumerate(runs) if re.search(rf"tar .*{file}|pytest", run)]
            assert used and check < min(used)
