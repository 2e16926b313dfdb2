"""A hundred thousand frames that no honest phone would send, and the toy afterwards."""

from __future__ import annotations

import pytest

from host_tests.hostile_phone import attack
from host_tests.targets import Target
from hushbear import upkeep_wire, wire

FRAMES = 100_000
REQUESTS = range(upkeep_wire.STATUS, wire.CANCEL + 1)
REFUSALS = range(wire.UNKNOWN, wire.FAILED)  # FAILED would be the toy's fault


@pytest.mark.targets("unix")
def test_whatever_phones_say_the_toy_stays_well(target: Target) -> None:
    """Before the handshake and after it: each is answered or hung up on, no message is lost,
    altered or half there, nothing gets into the crash log, and an honest phone is served."""
    outcome = attack(target, seed=2017, frames=FRAMES, strangers=5)
    assert outcome.before > FRAMES // 5
    assert outcome.after > FRAMES // 2
    # The villains got far enough to matter: each request was carried out, each refusal heard.
    assert all(outcome.statuses.get((kind, wire.OK), 0) > 10 for kind in REQUESTS)
    assert {status for _, status in outcome.statuses} == {wire.OK, *REFUSALS}
    assert max(outcome.heap[5:]) < max(outcome.heap[:5]) + 512, "the heap grows"
