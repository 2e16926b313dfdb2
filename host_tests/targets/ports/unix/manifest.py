# asyncio, as on every port, and the names in the virtual toy's stand-ins. A chip has the names of
# its own modules in the image. Here they would fill the table of names in memory, which doubles
# when it is full, and the firmware's next name would take 9 kB.

import keyword
import os
import re
import tempfile

include("../manifest.py")

_names = set()
for _directory, _, _files in os.walk("../../../virtual/device"):
    for _file in _files:
        if _file.endswith(".py"):
            with open(os.path.join(_directory, _file)) as _source:
                _names.update(re.findall(r"\b[A-Za-z_][A-Za-z0-9_]*\b", _source.read()))
_frozen = tempfile.mkdtemp()
with open(os.path.join(_frozen, "standin_names.py"), "w") as _module:
    # An attribute's name is in the image; a keyword is there anyway.
    _module.write("".join(f"a.{n}\n" for n in sorted(_names) if not keyword.iskeyword(n)))
freeze(_frozen, "standin_names.py")
