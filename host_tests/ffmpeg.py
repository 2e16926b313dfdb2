"""The ffmpeg that tests compare with: the one that PyPI's imageio-ffmpeg carries.

Debian 12's own, 5.1, multiplies where the specification of IMA ADPCM shifts and adds, and is up to
15 off for it. Current versions equal the specification to the bit.
"""

import imageio_ffmpeg

FFMPEG: str = imageio_ffmpeg.get_ffmpeg_exe()
