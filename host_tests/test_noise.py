"""The handshake and its records: toy, companion, published vectors, another implementation."""

from __future__ import annotations

import hashlib
import json
import pathlib
from typing import cast

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from noise.connection import NoiseConnection

from host_tests.targets import DeviceError, Target
from hushbear import wire
from hushbear_companion import noise
from hushbear_companion.noise import CipherState, Initiator, NoiseError

VECTORS = pathlib.Path(__file__).parent / "vectors"
VECTOR = json.loads((VECTORS / "noise-nnpsk0-25519-aesgcm-sha256.json").read_text())
PAYLOADS = [bytes.fromhex(message["payload"]) for message in VECTOR["messages"]]
CIPHERTEXTS = [bytes.fromhex(message["ciphertext"]) for message in VECTOR["messages"]]
PSK = bytes.fromhex(VECTOR["init_psks"][0])
PROLOGUE = bytes.fromhex(VECTOR["init_prologue"])
PHONE_SCALAR = bytes.fromhex(VECTOR["init_ephemeral"])
TOY_SCALAR = bytes.fromhex(VECTOR["resp_ephemeral"])

# The toy's side of one handshake, always with the same ephemeral, so that a second run goes on
# where the first one ended. `records` are opened and `replies` sealed after it.
RESPOND = """
    from hushbear.crypto import noise

    noise.urandom = lambda n: scalar
    responder = noise.Responder(prologue)
    assert responder.read_1(psk, message_1)
    message_2 = responder.write_2()
    rx, tx = responder.split()
    opened, sealed = [], []
    for record in records:
        buffer = bytearray(record)
        n = rx.open(buffer, 0, len(buffer))
        opened.append(bytes(buffer[:n]) if n >= 0 else None)
    for reply in replies:
        buffer = bytearray(reply + bytes(16))
        assert tx.seal(buffer, 0, len(reply)) == len(buffer)
        sealed.append(bytes(buffer))
    result((message_2, responder.handshake_hash, opened, sealed))
"""


# Message 2, the handshake's hash, what the records held (None: refused), the sealed replies
Response = tuple[bytes, bytes, list[bytes | None], list[bytes]]


def respond(
    target: Target,
    message_1: bytes,
    records: list[bytes] | None = None,
    replies: list[bytes] | None = None,
) -> Response:
    """Return what the toy makes of a handshake and of records after it."""
    args = {
        "psk": PSK,
        "prologue": wire.PROLOGUE,
        "scalar": TOY_SCALAR,
        "message_1": message_1,
        "records": records or [],
        "replies": replies or [],
    }
    return cast(Response, target.run(RESPOND, args=args))


@pytest.fixture
def fixed_phone_scalar(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every Initiator take the vectors' ephemeral."""
    scalar = X25519PrivateKey.from_private_bytes(PHONE_SCALAR)

    class Fixed:
        @staticmethod
        def generate() -> X25519PrivateKey:
            return scalar

    monkeypatch.setattr(noise, "X25519PrivateKey", Fixed)


def connection(initiator: bool, psk: bytes = PSK) -> NoiseConnection:
    """Return noiseprotocol's side of a handshake."""
    other = NoiseConnection.from_name(b"Noise_NNpsk0_25519_AESGCM_SHA256")
    other.set_psks(psk)
    other.set_prologue(wire.PROLOGUE)
    if initiator:
        other.set_as_initiator()
    else:
        other.set_as_responder()
    other.start_handshake()
    return other


def test_vectors_on_the_toy(target: Target) -> None:
    source = """
        from hushbear.crypto import noise

        noise.urandom = lambda n: scalar
        responder = noise.Responder(prologue, len(payloads[0]))
        assert responder.read_1(psk, ciphertexts[0])
        assert responder.payload == payloads[0]
        messages = [ciphertexts[0], responder.write_2(payloads[1])]
        rx, tx = responder.split()
        for i in range(2, len(payloads)):
            payload, record = payloads[i], bytearray(ciphertexts[i])
            if i & 1:
                record[:-16] = payload
                assert tx.seal(record, 0, len(payload)) == len(record)
                messages.append(bytes(record))
            else:
                assert rx.open(record, 0, len(record)) == len(payload)
                assert record[: len(payload)] == payload
                messages.append(ciphertexts[i])
        result((messages, responder.handshake_hash))
    """
    args = {
        "psk": PSK,
        "prologue": PROLOGUE,
        "scalar": TOY_SCALAR,
        "payloads": PAYLOADS,
        "ciphertexts": CIPHERTEXTS,
    }
    expected = (CIPHERTEXTS, bytes.fromhex(VECTOR["handshake_hash"]))
    assert target.run(source, args=args) == expected


@pytest.mark.usefixtures("fixed_phone_scalar")
def test_vectors_on_the_phone() -> None:
    initiator = Initiator(PSK, PROLOGUE)
    assert initiator.write_1(PAYLOADS[0]) == CIPHERTEXTS[0]
    assert initiator.read_2(CIPHERTEXTS[1]) == PAYLOADS[1]
    assert initiator.handshake_hash == bytes.fromhex(VECTOR["handshake_hash"])
    tx, rx = initiator.split()
    assert tx.seal(PAYLOADS[2]) == CIPHERTEXTS[2]
    assert rx.open(CIPHERTEXTS[3]) == PAYLOADS[3]
    assert tx.seal(PAYLOADS[4]) == CIPHERTEXTS[4]
    assert rx.open(CIPHERTEXTS[5]) == PAYLOADS[5]


def test_phone_and_toy_understand_each_other(target: Target) -> None:
    said = [b"", b"status", bytes(range(256)) * 4 + b"123456"]
    initiator = Initiator(PSK, wire.PROLOGUE)
    message_1 = initiator.write_1()
    assert len(message_1) == wire.HANDSHAKE_SIZE
    message_2, handshake_hash, _, _ = respond(target, message_1)
    assert len(message_2) == wire.HANDSHAKE_SIZE
    assert initiator.read_2(message_2) == b""
    assert initiator.handshake_hash == handshake_hash
    tx, rx = initiator.split()
    _, _, opened, sealed = respond(target, message_1, [tx.seal(text) for text in said], said)
    assert opened == said
    assert [rx.open(record) for record in sealed] == said


def test_toy_and_noiseprotocol(target: Target) -> None:
    said = [b"", b"status", b"x" * 1030]
    other = connection(initiator=True)
    message_1 = bytes(other.write_message())
    message_2, handshake_hash, _, _ = respond(target, message_1)
    other.read_message(message_2)
    assert other.get_handshake_hash() == handshake_hash
    _, _, opened, sealed = respond(target, message_1, [other.encrypt(text) for text in said], said)
    assert opened == said
    assert [other.decrypt(record) for record in sealed] == said


def test_phone_and_noiseprotocol() -> None:
    other = connection(initiator=False)
    initiator = Initiator(PSK, wire.PROLOGUE)
    assert other.read_message(initiator.write_1()) == b""
    assert initiator.read_2(bytes(other.write_message())) == b""
    assert initiator.handshake_hash == other.get_handshake_hash()
    tx, rx = initiator.split()
    for text in (b"", b"status", b"x" * 1030):
        assert other.decrypt(tx.seal(text)) == text
        assert rx.open(other.encrypt(text)) == text


def test_toy_finds_the_key_that_the_phone_has(target: Target) -> None:
    psks = [hashlib.sha256(bytes([i])).digest() for i in range(8)]
    source = """
        from hushbear.crypto import noise
        responder = noise.Responder(prologue)
        tries = [responder.read_1(psk, message_1) for psk in psks]
        again = responder.read_1(psks[5], message_1)
        result((tries, again, len(responder.write_2())))
    """
    message_1 = Initiator(psks[5], wire.PROLOGUE).write_1()
    args = {"prologue": wire.PROLOGUE, "psks": psks, "message_1": message_1}
    assert target.run(source, args=args) == ([i == 5 for i in range(8)], True, 48)


def test_toy_refuses_message_1_with_any_bit_altered_or_of_another_length(target: Target) -> None:
    message_1 = Initiator(PSK, wire.PROLOGUE).write_1()
    source = """
        from hushbear.crypto import noise
        responder = noise.Responder(prologue)
        accepted = []
        for bit in range(8 * len(message_1)):
            altered = bytearray(message_1)
            altered[bit >> 3] ^= 1 << (bit & 7)
            if responder.read_1(psk, altered):
                accepted.append(bit)
        long = message_1 + bytes(100)
        lengths = [n for n in range(len(long)) if responder.read_1(psk, long[:n])]
        result((accepted, lengths))
    """
    args = {"prologue": wire.PROLOGUE, "psk": PSK, "message_1": message_1}
    assert target.run(source, args=args) == ([], [48])


def test_toy_refuses_another_prologue(target: Target) -> None:
    source = """
        from hushbear.crypto import noise
        result(noise.Responder(prologue).read_1(psk, message_1))
    """
    message_1 = Initiator(PSK, b"Hushbear link 2").write_1()
    args = {"prologue": wire.PROLOGUE, "psk": PSK, "message_1": message_1}
    assert target.run(source, args=args) is False


@pytest.mark.usefixtures("fixed_phone_scalar")
def test_phone_refuses_message_2_with_any_bit_altered_or_of_another_length(target: Target) -> None:
    message_2, *_ = respond(target, Initiator(PSK, wire.PROLOGUE).write_1())

    def accepts(message: bytes) -> bool:
        initiator = Initiator(PSK, wire.PROLOGUE)
        initiator.write_1()
        try:
            initiator.read_2(message)
        except NoiseError:
            return False
        return True

    value = int.from_bytes(message_2, "big")
    altered = [(value ^ 1 << bit).to_bytes(48, "big") for bit in range(8 * 48)]
    assert not [message for message in altered if accepts(message)]
    long = message_2 + bytes(100)
    assert [n for n in range(len(long)) if accepts(long[:n])] == [48]


def test_phone_refuses_a_toy_without_its_key() -> None:
    other = connection(initiator=False, psk=bytes(32))
    initiator = Initiator(bytes(32), wire.PROLOGUE)
    other.read_message(initiator.write_1())
    message_2 = bytes(other.write_message())
    stranger = Initiator(PSK, wire.PROLOGUE)
    stranger.write_1()
    with pytest.raises(NoiseError, match="not genuine"):
        stranger.read_2(message_2)


def test_recorded_handshake_does_not_open_a_second_session(target: Target) -> None:
    # Message 1 is accepted again, but the toy's new ephemeral makes other keys.
    initiator = Initiator(PSK, wire.PROLOGUE)
    message_1 = initiator.write_1()
    message_2, *_ = respond(target, message_1)
    initiator.read_2(message_2)
    tx, _ = initiator.split()
    source = """
        from hushbear.crypto import noise
        responder = noise.Responder(prologue)
        assert responder.read_1(psk, message_1)
        fresh = responder.write_2() != message_2
        rx, tx = responder.split()
        result((fresh, rx.open(record, 0, len(record))))
    """
    args = {
        "prologue": wire.PROLOGUE,
        "psk": PSK,
        "message_1": message_1,
        "message_2": message_2,
        "record": bytearray(tx.seal(b"status")),
    }
    assert target.run(source, args=args) == (True, -1)


def damaged(records: list[bytes]) -> dict[str, list[bytes]]:
    """Return sequences of records of which only the first is right."""
    first, second, third = records
    flipped = second[:3] + bytes([second[3] ^ 1]) + second[4:]
    return {
        "replayed": [first, first, second],
        "out of order": [first, third, second],
        "altered": [first, flipped, second],
        "cut": [first, second[:-1], second],
        "extended": [first, second + b"\0", second],
        "only a tag": [first, second[-16:], second],
        "shorter than a tag": [first, second[:15], second],
        "empty": [first, b"", second],
    }


@pytest.mark.parametrize("damage", damaged([bytes(20)] * 3))
def test_toy_ends_at_the_first_record_that_does_not_open(target: Target, damage: str) -> None:
    initiator = Initiator(PSK, wire.PROLOGUE)
    message_1 = initiator.write_1()
    initiator.read_2(respond(target, message_1)[0])
    tx, _ = initiator.split()
    records = damaged([tx.seal(text) for text in (b"first", b"second", b"third")])[damage]
    _, _, opened, _ = respond(target, message_1, records)
    assert opened == [b"first", None, None]


@pytest.mark.parametrize("damage", damaged([bytes(20)] * 3))
def test_phone_ends_at_the_first_record_that_does_not_open(damage: str) -> None:
    tx, rx = CipherState(bytes(32)), CipherState(bytes(32))
    first, *rest = damaged([tx.seal(text) for text in (b"first", b"second", b"third")])[damage]
    assert rx.open(first) == b"first"
    for record in rest:
        with pytest.raises(NoiseError):
            rx.open(record)
    assert rx.count == 1


def test_toys_records_stop_at_the_end_of_the_count(target: Target) -> None:
    source = """
        from hushbear.crypto import noise
        seal, open = noise.CipherState(bytes(32)), noise.CipherState(bytes(32))
        seal.count = open.count = (1 << 32) - 1
        buffer = bytearray(20)
        steps = [seal.seal(buffer, 0, 4)]
        last = bytes(buffer)
        steps.append(open.open(buffer, 0, 20))
        steps.append(open.open(bytearray(20), 0, 20))
        try:
            seal.seal(buffer, 0, 4)
        except noise.NoiseError as error:
            steps.append(str(error))
        result((last, steps))
    """
    phone = CipherState(bytes(32))
    phone.count = (1 << 32) - 1
    steps = [20, 4, -1, "too many records under one key"]
    assert target.run(source) == (phone.seal(bytes(4)), steps)
    with pytest.raises(NoiseError, match="too many records"):
        phone.seal(b"")
    with pytest.raises(NoiseError, match="over"):
        phone.open(bytes(16))


def test_low_order_point_from_a_phone_is_an_error_of_the_handshake(target: Target) -> None:
    # Only who has the key can get this far: message 1 with the point 0, tag and all.
    noise_hash = hashlib.sha256(b"Noise_NNpsk0_25519_AESGCM_SHA256" + wire.PROLOGUE).digest()
    chain, psk_hash, _ = noise._hkdf(b"Noise_NNpsk0_25519_AESGCM_SHA256", PSK, 3)
    noise_hash = hashlib.sha256(noise_hash + psk_hash).digest()
    noise_hash = hashlib.sha256(noise_hash + bytes(32)).digest()
    _, key = noise._hkdf(chain, bytes(32), 2)
    message_1 = bytes(32) + AESGCM(key).encrypt(bytes(12), b"", noise_hash)
    with pytest.raises(DeviceError, match=r"NoiseError: .*small order"):
        respond(target, message_1)


@pytest.mark.parametrize(
    "calls",
    [
        "responder.write_2()",
        "responder.split()",
        "responder.read_1(psk, message_1); responder.split()",
        "responder.read_1(psk, message_1); responder.read_1(bytes(32), message_1);"
        " responder.write_2()",
        "responder.read_1(psk, message_1); responder.write_2(); responder.write_2()",
        "responder.read_1(psk, message_1); responder.write_2(); responder.split();"
        " responder.split()",
    ],
)
def test_toy_keeps_the_order_of_the_handshake(target: Target, calls: str) -> None:
    source = f"""
from hushbear.crypto import noise
responder = noise.Responder(prologue)
{calls}
"""
    message_1 = Initiator(PSK, wire.PROLOGUE).write_1()
    args = {"prologue": wire.PROLOGUE, "psk": PSK, "message_1": message_1}
    with pytest.raises(DeviceError, match="NoiseError"):
        target.run(source, args=args)


def test_phone_keeps_the_order_of_the_handshake() -> None:
    initiator = Initiator(PSK, wire.PROLOGUE)
    with pytest.raises(NoiseError):
        initiator.read_2(bytes(48))
    initiator.write_1()
    with pytest.raises(NoiseError):
        initiator.write_1()
    with pytest.raises(NoiseError):
        initiator.split()


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_of_another_size_are_refused(target: Target, size: int) -> None:
    with pytest.raises(ValueError, match="the key is 32 bytes"):
        Initiator(bytes(size), wire.PROLOGUE)
    source = """
        from hushbear.crypto import noise
        noise.Responder(b"").read_1(bytes(size), bytes(48))
    """
    with pytest.raises(DeviceError, match="ValueError: the key is 32 bytes"):
        target.run(source, args={"size": size})


def test_toys_work_in_slices_gives_the_same_message(target: Target) -> None:
    message_1 = Initiator(PSK, wire.PROLOGUE).write_1()
    source = """
        from hushbear.crypto import noise
        noise.urandom = lambda n: scalar
        responder = noise.Responder(prologue)
        messages = []
        slices = 0
        for sliced in (False, True):
            responder.read_1(psk, message_1)
            if sliced:
                for _ in responder.steps():
                    slices += 1
            messages.append(responder.write_2())
        result((messages[0] == messages[1], slices))
    """
    args = {"prologue": wire.PROLOGUE, "psk": PSK, "message_1": message_1, "scalar": TOY_SCALAR}
    same, slices = cast(tuple[bool, int], target.run(source, args=args))
    assert same
    assert slices > 60


def test_records_are_sealed_and_opened_with_the_heap_locked(target: Target) -> None:
    source = """
        import micropython
        from hushbear.crypto import noise

        tx, rx = noise.CipherState(bytes(32)), noise.CipherState(bytes(32))
        buffer = bytearray(1100)

        def run():
            good = True
            micropython.heap_lock()
            for i in range(5):
                n = tx.seal(buffer, 2, 1030)
                good = good and n == 1046 and rx.open(buffer, 2, n) == 1030
            buffer[0] = 1
            good = good and rx.open(buffer, 0, 50) == -1 and rx.open(buffer, 0, 50) == -1
            micropython.heap_unlock()
            return good

        result(run())
    """
    assert target.run(source) is True


def test_what_the_handshake_and_a_session_take_of_the_heap(target: Target) -> None:
    source = """
        import gc

        def used():
            gc.collect()
            return gc.mem_alloc()

        before = used()
        from hushbear.crypto import noise
        package = used() - before
        responder = noise.Responder(prologue)
        assert responder.read_1(psk, message_1)
        responder.write_2()
        states = responder.split()
        del responder
        result((package, used() - before - package))
    """
    message_1 = Initiator(PSK, wire.PROLOGUE).write_1()
    args = {"prologue": wire.PROLOGUE, "psk": PSK, "message_1": message_1}
    package, session = cast(tuple[int, int], target.run(source, args=args))
    assert package < 14_000
    assert session < 3_000
