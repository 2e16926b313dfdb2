"""package.json: `mpremote mip install` puts the library, whole, onto a board."""

from __future__ import annotations

import pathlib

import pytest
from mpremote import mip

from host_tests.targets import LIB, ROOT, Target
from tools import package


class Directory:
    """What mip needs of a board's file system."""

    def __init__(self, root: pathlib.Path) -> None:
        self._root = root

    def fs_exists(self, path: str) -> bool:
        return (self._root / path.lstrip("/")).exists()

    def fs_mkdir(self, path: str) -> None:
        (self._root / path.lstrip("/")).mkdir()

    def fs_writefile(self, path: str, data: bytes, progress_callback: object = None) -> None:
        (self._root / path.lstrip("/")).write_bytes(data)


def test_it_lists_every_file_of_the_library_and_its_version() -> None:
    assert package.PACKAGE.read_text() == package.package(), (
        "run .venv/bin/python -m tools.package"
    )


@pytest.mark.targets("unix")
def test_what_mip_installs_is_the_library_and_can_be_imported(
    target: Target, tmp_path: pathlib.Path
) -> None:
    mip._install_json(
        Directory(tmp_path), str(ROOT / "package.json"), mip._PACKAGE_INDEX, "/lib", None, True
    )
    installed = tmp_path / "lib"
    files = {path.relative_to(installed): path.read_bytes() for path in installed.rglob("*.py")}
    assert files == {path.relative_to(LIB): path.read_bytes() for path in LIB.rglob("*.py")}
    where = target.run(
        """
        import sys
        sys.path.insert(0, installed)
        import hushbear
        from hushbear import container, keys, ring, settings, store, wire
        from hushbear.crypto import noise
        from hushbear.link import session
        result((hushbear.__file__, hushbear.VERSION))
        """,
        args={"installed": str(installed)},
    )
    assert where == (str(installed / "hushbear/__init__.py"), package.version())
