"""What the family sets, as far as the toy needs it all day. The rest stays on flash.

    Settings(path="/settings.bin", log=print)   a missing or damaged file gives the defaults
    .volume                       percent, already at most the highest
    .brightness (percent) .record_min_ms .record_max_s
    .quiet_from .quiet_to         minutes of the day; equal where there are no quiet hours
    .voice                        path of the voice to speak with
    .quiet(clock) -> bool         .effective_volume(clock): percent, 0 in quiet hours

settings_file.py reads, checks and changes them.
"""

from hushbear.clock import within
from hushbear.once import once


class Settings:
    def __init__(self, path="/settings.bin", log=print):
        self.path = path
        once("hushbear.settings_file").load(self, log)

    def quiet(self, clock):
        """Whether quiet hours silence the toy now."""
        return within(clock.minute_of_day(), self.quiet_from, self.quiet_to)

    def effective_volume(self, clock):
        return 0 if self.quiet(clock) else self.volume
