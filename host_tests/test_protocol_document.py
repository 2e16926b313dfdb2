"""docs/protocol.md says the numbers that the code has."""

from __future__ import annotations

import re
import struct

import pytest

from host_tests.targets import ROOT
from hushbear import container, family_wire, pairing_wire, settings_wire, upkeep_wire, wire
from hushbear_companion import sealing

# A document breaks its lines where it likes.
TEXT = re.sub(r"\s+", " ", (ROOT / "docs/protocol.md").read_text())


@pytest.mark.parametrize(
    "sentence",
    [
        f"length of {wire.HANDSHAKE_SIZE}",
        f"sealed record of 18 to {wire.FRAME_MAX - 2} bytes",
        f"body of 0 to {wire.RECORD_MAX - 2} bytes",
        f"u32 offset, 1 to {wire.DATA_MAX} bytes",
        f"at most {wire.WINDOW} bytes ahead",
        f"**Entry**, {wire.ENTRY_SIZE} bytes",
        f"at most {upkeep_wire.ENTRIES_MAX} a response",
        f"**STATUS**, {struct.calcsize(upkeep_wire.STATUS_BODY)} bytes: "
        f"u8 protocol ({upkeep_wire.PROTOCOL})",
        f"up to {upkeep_wire.NAME_PIECE} bytes from there on",
        f"at most {upkeep_wire.NAME_SIZE_MAX // container.BLOCK_ALIGN}, so 2.02 s",
        f"**Settings**, {struct.calcsize(settings_wire.SETTINGS_BODY)} bytes",
        f"prologue `{wire.PROLOGUE.decode()}` ({len(wire.PROLOGUE)} ASCII bytes)",
        f"({settings_wire.RECORD_MIN_MS[0]} to {settings_wire.RECORD_MIN_MS[1]})",
        f"({settings_wire.RECORD_MAX_S[0]} to {settings_wire.RECORD_MAX_S[1]})",
        f"A header of {container.HEADER_SIZE} bytes, then 1 to {container.BLOCKS_MAX} whole",
        f"followed by its tag of {container.TAG_SIZE} bytes",
        f"blocks[{sealing.CHUNK_BODY}] tag[{container.TAG_SIZE}]",
        f'"{container.INFO.decode()}"',
        f"info's first {len(container.INFO)} bytes",
        *(f"`{uuid}`" for uuid in (wire.SERVICE_UUID, wire.TO_TOY_UUID, wire.TO_PHONE_UUID)),
        f"`{pairing_wire.SERVICE_UUID}`",
        f"**Epoch**, {family_wire.EPOCH_SIZE} bytes",
        f"The toy keeps the last {family_wire.EPOCHS_MAX}.",
        f"**Phone**, {family_wire.PHONE_SIZE} bytes: u8 slot (0 to {family_wire.SLOTS - 1}), "
        f"bit {family_wire.ASKING.bit_length() - 1} set for",
        f"At most {family_wire.SLOTS}.",
        f"paired (Unix seconds, 0 = unknown), name[{family_wire.NAME_SIZE}]",
        f"u8 version ({pairing_wire.VERSION}) | sid[16] | Ya[32] a frame of "
        f"{pairing_wire.HELLO_SIZE} bytes",
        f"u8 attempts left | Yb[32] a frame of {pairing_wire.ANSWER_SIZE} bytes",
        f"after this one, {pairing_wire.ATTEMPTS - 1} to 0",
        f"prologue `{pairing_wire.PROLOGUE.decode()}` ({len(pairing_wire.PROLOGUE)} ASCII bytes)",
        f"| CI | `{pairing_wire.CI.decode()}` ({len(pairing_wire.CI)} ASCII bytes)",
        f"| ADa | `{pairing_wire.AD_PHONE.decode()}` ({len(pairing_wire.AD_PHONE)} ASCII bytes)",
        f"| ADb | `{pairing_wire.AD_TOY.decode()}` ({len(pairing_wire.AD_TOY)} ASCII bytes)",
        f'info = "{pairing_wire.PSK_INFO.decode()}", {wire.KEY_SIZE} bytes)',
    ],
)
def test_the_document_has_the_number(sentence: str) -> None:
    assert sentence in TEXT


KINDS = """STATUS TIME LIST SEND COMMIT FETCH FETCHED DELETE SETTINGS CONFIGURE CRASHLOG
    CLEAR_CRASHLOG CANCEL FAMILY PHONES RENAME REVOKE NAME RENEW PAIR PAIRED DATA GRANT END"""
LAYOUTS = wire, upkeep_wire, family_wire, pairing_wire


@pytest.mark.parametrize("name", KINDS.split())
def test_the_document_has_the_kind(name: str) -> None:
    (kind,) = [getattr(layout, name) for layout in LAYOUTS if hasattr(layout, name)]
    assert f"| {kind:02X} | {name} " in TEXT
