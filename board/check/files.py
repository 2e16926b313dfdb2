# SHA-256, size and path of each file that is Hushbear's, and the file system's free bytes:
#     mpremote connect PORT resume run board/check/files.py

import hashlib
import os
from binascii import hexlify

block = bytearray(512)
view = memoryview(block)
waiting = ["/lib/hushbear", "/board.mpy", "/board.py", "/boot.py", "/main.py"]
waiting += ["/" + name for name in os.listdir("/") if (name + "-").startswith("voice-")]
while waiting:
    path = waiting.pop()
    try:
        if os.stat(path)[0] & 0x4000:
            waiting += [path + "/" + entry[0] for entry in os.ilistdir(path)]
            continue
        digest = hashlib.sha256()
        size = 0
        with open(path, "rb") as file:
            while True:
                n = file.readinto(block)
                if not n:
                    break
                digest.update(view[:n])
                size += n
    except OSError as error:
        if error.args[0] != 2:  # ENOENT: it is not there
            print("unreadable", error.args[0], path)
        continue
    print(hexlify(digest.digest()).decode(), size, path)
status = os.statvfs("/")
print("free", status[0] * status[3], "/")
