"""Instructions of the cryptography of sessions and of pairing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import cast

from host_tests.targets import ROOT

from .counting import NS_PER_INSTRUCTION, Board, on_boards
from .figures import Figure, Row

RECORD = 1024  # bytes
LIVE = 88 * 1024  # bytes of heap in use: the toy has as much when it waits for a phone
COLLECT = 4096  # bytes between two collections, as app.py has it
MHZ = 240
_BUSY = {"in_use": LIVE, "collect": COLLECT}
_IDLE = {"in_use": 0, "collect": -1}

SEAL = Figure(
    "encrypt and authenticate",
    "instructions a byte",
    f"AESGCM.seal of {RECORD} bytes, less the same calls of AES alone",
    ("≤", 300),
)
X25519 = Figure(
    "X25519", "million instructions", "one call of x25519.x25519, collections included"
)
SESSION = Figure(
    "session set-up",
    f"s at {MHZ} MHz",
    f"the toy's whole handshake with one phone (two X25519) with {LIVE // 1024} kB in use and a"
    f" collection every {COLLECT} bytes, each instruction taking {NS_PER_INSTRUCTION} ns",
    ("≤", 0.7),
)
CPACE = Figure(
    "CPace",
    "million instructions",
    "the toy's whole run of it: SHA-512, the map to the curve, two X25519",
)
PAIRING = Figure(
    "pairing",
    f"s at {MHZ} MHz",
    f"CPace, HKDF of its key and the session's handshake, with {LIVE // 1024} kB in use and a"
    f" collection every {COLLECT} bytes, each instruction taking {NS_PER_INSTRUCTION} ns",
    ("≤", 1.5),
)
FIGURES = [SEAL, X25519, SESSION, CPACE, PAIRING]


def measure() -> Iterator[Row]:
    yield from on_boards(FIGURES, _count)


_AESGCM = f"""
from hushbear.crypto import gcm
from cryptolib import aes
calls = []

class Recorder:
    def __init__(self, key, mode):
        self.encrypt_really = aes(key, mode).encrypt

    def encrypt(self, *buffers):
        calls.append(len(buffers[0]))
        return self.encrypt_really(*buffers)

if recorded:
    gcm.aes = Recorder
aead = gcm.AESGCM(bytes(range(32)))
buffer = bytearray({RECORD} + 16)
nonce = bytes(12)
encrypt = aes(bytes(range(32)), 1).encrypt
"""
_HANDSHAKE = """
import gc
from hushbear.crypto import noise
noise.urandom = lambda n: scalar
live = []
gc.collect()
while gc.mem_alloc() < in_use:
    live.append({len(live): bytearray(20)})
gc.threshold(collect)

def handshake():
    responder = noise.Responder(prologue, len(payload_1))
    assert responder.read_1(psk, message_1)
    for _ in responder.steps():
        pass
    message = responder.write_2(payload_2)
    responder.split()
    return message
"""
_CPACE = """
from hushbear.crypto import cpace, kdf
cpace.urandom = lambda n: yb

def agree():
    responder = cpace.Responder(PRS, CI, sid, ADa, ADb)
    for _ in responder.steps(Ya):
        pass
    return responder.answer(Ya), responder.isk
"""
_PAIRING = """
def pair():
    share, isk = agree()
    psk = kdf.expand(kdf.extract(b"", isk), b"Hushbear pairing psk 1", 32)
    return share, isk, len(psk), handshake()
"""


def _count(board: Board) -> Iterator[Row]:
    seal = f"aead.seal(nonce, buffer, 0, {RECORD})"
    calls = cast(
        list[int],
        board.run(_AESGCM + f"calls.clear()\n{seal}\nresult(calls)", {"recorded": True}),
    )
    plain = {"recorded": False}
    aes = {
        size: board.count("encrypt(block, block)", _AESGCM + f"block = bytearray({size})", plain)[
            0
        ]
        for size in set(calls)
    }
    aside = sum(aes[size] for size in calls)
    whole = board.count(seal, _AESGCM, plain)[0]
    yield SEAL.on(board.name, (whole - aside) / RECORD, f"AES itself {aside / RECORD:.0f}")

    scalar, point = bytes(range(32)), bytes(range(100, 132))
    count = board.count(
        "x25519.x25519(scalar, point)",
        "from hushbear.crypto import x25519",
        {"scalar": scalar, "point": point},
    )[0]
    yield X25519.on(board.name, count / 1e6)

    vector = _handshake()
    sent = vector.pop("message_2")
    message = board.run(_HANDSHAKE + "result(handshake())", vector | _BUSY)
    assert message == sent, "not the published handshake"
    yield _seconds(SESSION, board, "handshake()", _HANDSHAKE, vector)

    run = _agreement()
    outputs = run.pop("Yb"), run.pop("ISK_IR")
    assert board.run(_CPACE + "result(agree())", run) == outputs, "not the published run"
    count = board.count("agree()", _CPACE, run)[0]
    yield CPACE.on(board.name, count / 1e6)
    both = _CPACE + _PAIRING + _HANDSHAKE
    paired = board.run(both + "result(pair())", vector | run | _BUSY)
    assert paired == (*outputs, 32, sent), "not the published runs"
    yield _seconds(PAIRING, board, "pair()", both, vector | run)


def _seconds(
    figure: Figure, board: Board, statement: str, setup: str, args: dict[str, object]
) -> Row:
    """Count with little of the heap left, and beside it in an empty one."""
    count, alone = (board.count(statement, setup, args | heap)[0] for heap in (_BUSY, _IDLE))
    return figure.on(
        board.name,
        count * NS_PER_INSTRUCTION / 1e9,
        f"{count / 1e6:.0f} million instructions, in an empty heap {alone / 1e6:.0f};"
        f" {count / MHZ / 1e6:.2f} s if each took a cycle",
    )


def _agreement() -> dict[str, object]:
    """Return a run of CPace that was published, with its secrets."""
    path = ROOT / "host_tests/vectors/cpace-x25519-sha512-20.json"
    vector = json.loads(path.read_text())
    names = ("PRS", "CI", "sid", "ADa", "ADb", "Ya", "yb", "Yb", "ISK_IR")
    return {name: bytes.fromhex(vector[name]) for name in names}


def _handshake() -> dict[str, object]:
    """Return a handshake that was published, with its secrets."""
    path = ROOT / "host_tests/vectors/noise-nnpsk0-25519-aesgcm-sha256.json"
    vector = json.loads(path.read_text())
    first, second = vector["messages"][:2]
    texts = {
        "prologue": vector["init_prologue"],
        "psk": vector["init_psks"][0],
        "scalar": vector["resp_ephemeral"],
        "message_1": first["ciphertext"],
        "payload_1": first["payload"],
        "message_2": second["ciphertext"],
        "payload_2": second["payload"],
    }
    return {name: bytes.fromhex(text) for name, text in texts.items()}
