"""What the toy says: one prompt at a time, from a file that tools/voice made.

    Voice("/voice-de", log)    nothing is read yet, and only the path is kept: prompts are rare
    .open(name)                a source for Speaker.play, or for readinto(256-byte block), and
                               close(); None where the prompt is missing or damaged, which the log
                               says
    .say(name, speaker, volume, interrupted)    opens and plays; returns whether to the end
    play(source, speaker, volume, interrupted, log)    plays and closes; returns whether to the end

"/voice" is the language that was flashed first, and stands in where the file asked for cannot be
opened. A prompt is compared with its CRC before it is said, so a damaged file is silence, not
noise. Reading it allocates nothing.
"""

from hushbear import prompts
from hushbear.audio.speaker import Unreadable
from hushbear.container import BLOCK_ALIGN


class Voice:
    def __init__(self, path="/voice", log=print):
        self._path = path
        self._log = log
        self._file = None
        self._blocks = 0  # still to be read
        self.chunk = bytearray(BLOCK_ALIGN)

    def open(self, name):
        self.close()
        try:
            try:
                self._file = open(self._path, "rb")
            except OSError:
                self._file = open("/voice", "rb")
            self._blocks = prompts.find(self._file, name.encode())
            return self
        except (OSError, ValueError) as error:
            self._log("voice: %s, %s: %s" % (self._path, name, error))
            self.close()
            return None

    def readinto(self, block):
        if not self._blocks:
            return 0
        self._blocks -= 1
        return self._file.readinto(block)

    def fill(self):
        return self.readinto(self.chunk)

    def close(self):
        self._blocks = 0
        if self._file:
            self._file.close()
            self._file = None

    async def say(self, name, speaker, volume, interrupted):
        if self.open(name) is None:
            return False
        return await play(self, speaker, volume, interrupted, self._log)


async def play(source, speaker, volume, interrupted, log):
    try:
        return await speaker.play(source, volume, interrupted)
    except Unreadable as error:
        log(error)
        return False
    finally:
        source.close()
