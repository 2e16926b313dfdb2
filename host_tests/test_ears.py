"""Ears for what a toy says: a word is understood once all of it has come."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from host_tests.messages import speech
from hushbear_companion import adpcm
from tools.ears import Ears


@dataclass
class Heard:
    """A sound that goes on."""

    start: float
    pcm: npt.NDArray[np.int16]


def test_a_word_that_comes_slowly_is_understood_when_it_is_whole() -> None:
    blocks = adpcm.encode(speech(1))
    whole = adpcm.decode(blocks)
    ears = Ears({"paired": blocks})
    sound = Heard(1.0, whole[: len(whole) // 3])
    assert ears.words([sound]) == []
    sound.pcm = whole
    assert ears.words([sound]) == ["paired"]
