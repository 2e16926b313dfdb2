"""What `pip install` puts onto a computer: the tests' own installation reads this directory."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from host_tests.targets import ROOT

# Imports every module below the package that is named, from the directory that is named only.
_IMPORT_ALL = """
import importlib, pkgutil, sys
place, name = sys.argv[1:]
sys.path.insert(0, place)
package = importlib.import_module(name)
found = [each.name for each in pkgutil.walk_packages(package.__path__, name + ".")]
for each in found:
    if not each.endswith("__main__"):
        importlib.import_module(each)
for each, module in sys.modules.items():
    if each.partition(".")[0] in ("hushbear", name) and not module.__file__.startswith(place):
        sys.exit(f"{each} is from {module.__file__}")
print(len(found))
"""


@pytest.mark.parametrize(
    ("project", "package"), [(".", "hushbear_companion"), ("relay", "hushbear_relay")]
)
def test_a_wheel_has_all_that_its_package_imports(
    project: str, package: str, tmp_path: Path
) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT / project, check=True, capture_output=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    place = tmp_path / "installed"
    zipfile.ZipFile(wheel).extractall(place)
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT_ALL, str(place), package],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 20
