"""The chip's memory, with the official image, when one of the toy's two programs is loaded.

Python takes from the chip's own heap what it needs, and the radio, which the emulator has not,
takes its share afterwards. What is never given back to Python is modelled by tasks with large
stacks, so that whatever Python needs later it has to find in what it has already.
"""

from __future__ import annotations

import os
from typing import cast

import pytest

from host_tests.targets import Target
from hushbear import pairing_wire
from hushbear_companion.cpace import Initiator

pytestmark = pytest.mark.targets("qemu-esp32")

FOR_THE_RADIO = 50_000  # bytes in one piece, see README.md
CODE = b"402719"

LOAD = """
import gc
import bluetooth, esp32, machine

gc.threshold(2048)  # as main.py does
from hushbear.audio import Buffers
buffers = Buffers()
"""
APP = "from hushbear import app\n"
HAND = """
from hushbear import hand
from hushbear.link.radio import Radio
radio = Radio(hand.SERVICE_UUID)
from hushbear.hand.program import Program
"""
LARGEST = """
def largest():
    return max(area[2] for area in esp32.idf_heap_info(esp32.HEAP_DATA))
gc.collect()
"""
PAIR = """
import _thread, time
from hushbear.crypto.cpace import Responder

taken = 0
while (size := largest() - 1024) >= 4096:
    _thread.stack_size(size)
    _thread.start_new_thread(time.sleep, (1000,))
    taken += size
gc.threshold(8192)  # as the program does
responder = Responder(code, ci, sid, ad_phone, ad_toy)
for _ in responder.steps(ya):
    pass
result((taken, largest(), responder.answer(ya), responder.isk))
"""


@pytest.mark.parametrize("program", [APP, HAND], ids=["app", "hand"])
def test_a_program_leaves_the_radio_its_room(target: Target, program: str) -> None:
    room = target.run(f"{LOAD}{program}{LARGEST}result(largest())")
    assert cast(int, room) >= FOR_THE_RADIO


def test_pairing_computes_in_what_the_radio_leaves(target: Target) -> None:
    sid = os.urandom(16)
    ad_toy = pairing_wire.AD_TOY + b"\2"
    phone = Initiator(CODE, pairing_wire.CI, sid, pairing_wire.AD_PHONE)
    args = {
        "code": CODE, "ci": pairing_wire.CI, "sid": sid, "ya": phone.share,
        "ad_phone": pairing_wire.AD_PHONE, "ad_toy": ad_toy,
    }  # fmt: skip
    taken, left, share, key = cast(
        tuple[int, int, bytes, bytes],
        target.run(LOAD + HAND + LARGEST + PAIR, args=args, timeout=120),
    )
    assert taken >= FOR_THE_RADIO
    assert left < 6000
    assert key == phone.finish(share, ad_toy)
