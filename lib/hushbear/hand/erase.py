"""Factory reset: what the family put into the toy is gone from the flash, not only from sight.

    erase(feed)    `feed()` is called often; seconds to minutes. Raises OSError.

Keys first: NVS is erased physically, with all that it has kept of older sets, so nothing may use
it until the next start. Then every file but the program and its voices goes, and what the file
system still has of them in blocks that it calls free is overwritten, as is what it has in the log
of the root directory. An erasing that was cut short is repeated from its beginning.
"""

import os
from esp32 import Partition

_BLOCK_COUNT = const(4)  # of Partition.ioctl
_BLOCK_ERASE = const(6)
_NAMES = const(32)
_DIRECTORY = const(0x4000)  # kind of an entry of os.ilistdir()

# What a toy that was just flashed has; voices are "voice", "voice-de" ...
_PROGRAM = ("boot.py", "main.py", "board.py", "board.mpy", "lib", "erasing")
_VOICE = "voice"

_FILL = "/fill"
# littlefs keeps a file this small in its directory's log, and begins the log anew in the other of
# two blocks when one is full: so many changes of so many bytes go through both.
_LOG_BYTES = const(96)
_LOG_CHANGES = const(200)


def erase(feed):
    for nvs in Partition.find(Partition.TYPE_DATA, label="nvs"):
        for block in range(nvs.ioctl(_BLOCK_COUNT, 0)):
            nvs.ioctl(_BLOCK_ERASE, block)
            feed()
    for name, *facts in list(os.ilistdir("/")):
        if len(facts) < 3:  # another file system is mounted there
            continue
        if name not in _PROGRAM and not name.startswith(_VOICE):
            _remove("/" + name, feed)
    _fill(feed)
    _renew_log(feed)


def _remove(path, feed):
    feed()
    if not os.stat(path)[0] & _DIRECTORY:
        os.remove(path)
        return
    while names := _some(path):
        for name in names:
            _remove(path + "/" + name, feed)
    os.rmdir(path)


def _some(path):
    # Some of the names in a directory: of a day in which the child sent hundreds of messages, all
    # take much memory.
    names = []
    for entry in os.ilistdir(path):
        if len(names) < _NAMES:
            names.append(entry[0])
    return names


def _fill(feed):
    piece = bytes(512)
    try:
        with open(_FILL, "wb") as file:
            while True:
                file.write(piece)
                feed()
    except OSError:  # full
        pass
    os.remove(_FILL)


def _renew_log(feed):
    for n in range(_LOG_CHANGES):
        with open(_FILL, "wb") as file:
            file.write(bytes((n,)) * _LOG_BYTES)
        feed()
    os.remove(_FILL)
