"""From sound files to messages and back, against sox, ffmpeg, libsndfile and espeak-ng."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyloudnorm
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from host_tests.ffmpeg import FFMPEG
from hushbear import container
from hushbear_companion import adpcm, audio, message
from hushbear_companion.errors import BadAudio
from hushbear_companion.message import BLOCK_ALIGN, BLOCK_SAMPLES, RATE

TEXT = "Hello my bear, grandmother is thinking of you. Did you sleep well, and what did you dream?"

pytestmark = pytest.mark.skipif(
    not all(map(shutil.which, ("sox", "espeak-ng"))),
    reason="needs sox and espeak-ng: apt install sox espeak-ng",
)


def run(*command: str | Path) -> bytes:
    return subprocess.run([*map(str, command)], check=True, capture_output=True).stdout


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """22.05 kHz mono speech of about six seconds."""
    path = tmp_path_factory.mktemp("speech") / "speech.wav"
    run("espeak-ng", "-w", path, TEXT)
    return path


def sine(
    seconds: float, level: float, rate: int = RATE, hz: float = 440
) -> npt.NDArray[np.float64]:
    return level * np.sin(2 * np.pi * hz * np.arange(int(seconds * rate)) / rate)


def snr(clean: npt.NDArray[np.int16], coded: npt.NDArray[np.int16]) -> float:
    signal = clean.astype(np.float64)
    error = coded[: len(clean)].astype(np.float64) - signal
    return float(10 * np.log10(np.sum(signal**2) / np.sum(error**2)))


# Reading


@pytest.mark.parametrize(
    "arguments",
    [
        ["-r", "8000", "-b", "8", "8k8bit.wav"],
        ["-r", "48000", "-b", "24", "-c", "2", "48k24bit.wav"],
        ["-r", "44100", "-e", "floating-point", "-b", "32", "44k.wav"],
        ["-r", "96000", "-c", "6", "six.wav"],
        ["-r", "11025", "-e", "a-law", "alaw.wav"],
        ["-r", "16000", "-e", "ima-adpcm", "ima.wav"],
        ["-r", "44100", "-c", "2", "x.flac"],
        ["-r", "32000", "-c", "2", "x.ogg"],
    ],
)
def test_any_rate_width_and_channels_become_the_same_message(
    speech: Path, tmp_path: Path, arguments: list[str]
) -> None:
    path = tmp_path / arguments[-1]
    run("sox", speech, *arguments[:-1], path)
    samples = audio.load(path)
    same = audio.load(speech)
    assert abs(len(samples) - len(same)) < RATE // 20
    assert loudness(samples) == pytest.approx(loudness(same), abs=1)


def test_opus_is_read(speech: Path, tmp_path: Path) -> None:
    run(FFMPEG, "-i", speech, "-c:a", "libopus", tmp_path / "x.ogg")
    assert abs(len(audio.load(tmp_path / "x.ogg")) - len(audio.load(speech))) < RATE // 20


def test_both_channels_are_heard(tmp_path: Path) -> None:
    stereo = np.stack((sine(1, 0.3, hz=300), sine(1, 0.3, hz=2000)), axis=1)
    soundfile.write(tmp_path / "x.wav", stereo, RATE)
    spectrum = np.abs(np.fft.rfft(audio.load(tmp_path / "x.wav")))
    assert spectrum[300] == pytest.approx(spectrum[2000], rel=0.1)


def loudness(samples: npt.NDArray[np.int16]) -> float:
    return float(pyloudnorm.Meter(RATE).integrated_loudness(samples / 32768))


@pytest.mark.parametrize("gain", [-25, -6, 0, 10])
def test_loud_and_soft_recordings_come_out_alike(speech: Path, tmp_path: Path, gain: int) -> None:
    run("sox", speech, tmp_path / "x.wav", "gain", str(gain))
    samples = audio.load(tmp_path / "x.wav")
    assert loudness(samples) == pytest.approx(audio.TARGET_LUFS, abs=3)
    assert np.max(np.abs(samples)) <= 32767 * 10 ** (audio.CEILING_DBTP / 20) + 1


def test_ffmpeg_measures_the_loudness_and_peak_that_are_promised(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    soundfile.write(tmp_path / "x.wav", np.cumsum(rng.normal(0, 0.002, 5 * RATE)) % 0.2, RATE)
    soundfile.write(tmp_path / "y.wav", audio.load(tmp_path / "x.wav"), RATE)
    measured = subprocess.run(
        f"{FFMPEG} -i {tmp_path}/y.wav -af loudnorm=print_format=json -f null -".split(),
        check=True,
        capture_output=True,
        text=True,
    ).stderr
    values, _ = json.JSONDecoder().raw_decode(measured[measured.rindex("{") :])
    assert float(values["input_i"]) <= audio.TARGET_LUFS + 0.5
    assert float(values["input_tp"]) <= audio.CEILING_DBTP + 0.3


@pytest.mark.parametrize("samples", [1, 2, 100, 6399, 6400, 6401])
def test_very_short_sounds_are_sent(tmp_path: Path, samples: int) -> None:
    soundfile.write(tmp_path / "x.wav", sine(1, 0.1)[1 : samples + 1], RATE)
    assert len(audio.load(tmp_path / "x.wav")) == samples


@pytest.mark.parametrize("level", [0, 1e-5])
def test_silence_stays_silent(tmp_path: Path, level: float) -> None:
    soundfile.write(tmp_path / "x.wav", sine(2, level), RATE, subtype="FLOAT")
    assert np.max(np.abs(audio.load(tmp_path / "x.wav"))) <= 1


def test_a_click_in_silence_is_no_reason_to_fail(tmp_path: Path) -> None:
    click = np.zeros(5 * RATE)
    click[40000] = 0.9
    soundfile.write(tmp_path / "x.wav", click, RATE)
    assert np.max(np.abs(audio.load(tmp_path / "x.wav"))) > 100


# Files that cannot be sent: one clear line each


def refused(path: Path, match: str) -> None:
    with pytest.raises(BadAudio, match=match) as raised:
        audio.load(path)
    assert raised.value.hint and "\n" not in str(raised.value)


def test_what_is_not_there_or_not_a_file(tmp_path: Path) -> None:
    refused(tmp_path / "none.wav", "cannot be opened: No such file")
    refused(tmp_path, "is a directory")


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "empty"),
        (b"Dear bear, I write to you.\n" * 100, "not a sound file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(500), "not a sound file"),
        (b"RIFF", "cut short"),
        (b"RIFF\x24\0\0\0WAVEfmt ", "cut short"),
        (b"fLaC\0\0\0\x22", "cut short"),
        (b"OggS" + bytes(50), "cut short"),
    ],
)
def test_what_is_no_sound(tmp_path: Path, content: bytes, match: str) -> None:
    (tmp_path / "x.wav").write_bytes(content)
    refused(tmp_path / "x.wav", match)


def test_a_wav_without_samples(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(0), RATE)
    refused(tmp_path / "x.wav", "holds no sound")


@pytest.mark.parametrize("name", ["x.wav", "x.flac", "x.ogg"])
@pytest.mark.parametrize("part", [0.2, 0.5, 0.99])
def test_files_cut_short(speech: Path, tmp_path: Path, name: str, part: float) -> None:
    run("sox", speech, tmp_path / name)
    content = (tmp_path / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(len(content) * part)])
    refused(tmp_path / name, "cut short")


def test_a_wav_that_was_written_to_a_pipe_is_whole(speech: Path, tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(run("sox", speech, "-t", "wav", "-"))
    assert len(audio.load(tmp_path / "x.wav")) == len(audio.load(speech))


@pytest.mark.parametrize("name", ["x.wav", "x.flac", "x.ogg"])
def test_too_long_says_by_how_much(tmp_path: Path, name: str) -> None:
    run("sox", "-n", "-r", "8000", tmp_path / name, "synth", "75.5", "sine", "300")
    refused(tmp_path / name, r"75\.5 s long, 14\.9 s more than the 60\.6 s")


def test_a_whole_minute_is_sent(tmp_path: Path) -> None:
    run("sox", "-n", "-r", "44100", tmp_path / "x.wav", "synth", "60", "sine", "300")
    blocks = audio.blocks_from_file(tmp_path / "x.wav")
    size = container.sealed_size(len(blocks) // BLOCK_ALIGN)
    assert message.duration(size) == pytest.approx(60, abs=0.05)


def test_samples_that_are_no_numbers(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.full(100, np.nan), RATE, subtype="FLOAT")
    refused(tmp_path / "x.wav", "no numbers")


def test_absurd_headers(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.zeros(100), RATE)
    content = bytearray((tmp_path / "x.wav").read_bytes())
    struct.pack_into("<I", content, 24, 4_000_000)
    (tmp_path / "x.wav").write_bytes(content)
    refused(tmp_path / "x.wav", "samples per second")


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.integers(0, 60))
def test_bytes_of_any_kind_are_read_or_refused(noise: bytes, at: int) -> None:
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"hushbear-{os.getpid()}.wav"
    content = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 400, b"WAVE", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16,
        b"data", 356,
    )  # fmt: skip
    path.write_bytes(content[:at] + noise + content[at:])
    try:
        audio.load(path)
    except BadAudio:
        pass
    finally:
        path.unlink()


# The codec


def test_decoding_equals_sox_and_libsndfile_on_random_blocks(tmp_path: Path) -> None:
    content = np.random.default_rng(5).integers(0, 256, (400, BLOCK_ALIGN), np.uint8)
    content[:, 2] %= 89
    content[:, 3] = 0
    path = tmp_path / "x.wav"
    path.write_bytes(message.to_wav(content.tobytes()))
    ours = adpcm.decode(content.tobytes())
    sndfile, _ = soundfile.read(path, dtype="int16")
    assert np.array_equal(np.frombuffer(run("sox", path, "-t", "s16", "-"), "<i2"), ours)
    assert np.array_equal(sndfile, ours)


def test_the_encoder_is_better_than_sox(speech: Path, tmp_path: Path) -> None:
    samples = audio.load(speech)
    ours = adpcm.decode(adpcm.encode(samples))
    soundfile.write(tmp_path / "x.wav", samples, RATE)
    run("sox", tmp_path / "x.wav", "-e", "ima-adpcm", tmp_path / "sox.wav")
    theirs, _ = soundfile.read(tmp_path / "sox.wav", dtype="int16")
    assert snr(samples, ours) > snr(samples, theirs) + 0.5


@pytest.mark.parametrize("count", [1, 2, 504, 505, 506, 1009, 1010, 1011])
def test_odd_lengths_are_filled_up_with_the_last_sample(count: int) -> None:
    samples = (sine(1, 0.5) * 32767).astype(np.int16)[:count]
    body = adpcm.encode(samples)
    assert len(body) == -(-count // BLOCK_SAMPLES) * BLOCK_ALIGN
    out = adpcm.decode(body)
    assert out[0] == samples[0]
    # The first samples of a block may still be looking for their step.
    assert np.max(np.abs(out[count:].astype(int) - int(samples[-1])), initial=0) < 1500


@pytest.mark.parametrize("beam", [1, 3, 64])
def test_extremes_do_not_wrap(beam: int) -> None:
    square = np.where(np.arange(2020) % 404 < 202, 32767, -32768).astype(np.int16)
    assert snr(square, adpcm.decode(adpcm.encode(square, beam))) > 8
    assert not np.any(adpcm.decode(adpcm.encode(np.zeros(1000, np.int16), beam)) > 1)


def test_what_cannot_be_coded_is_refused() -> None:
    for samples in (np.zeros(0, np.int16), np.zeros((2, 2), np.int16)):
        with pytest.raises(ValueError, match="samples"):
            adpcm.encode(samples)
    with pytest.raises(ValueError, match="beam"):
        adpcm.encode(np.zeros(5, np.int16), 0)
    for body in (bytes(255), b"\0\0\x59\0" + bytes(252)):
        with pytest.raises(ValueError, match=r"blocks|range"):
            adpcm.decode(body)


# Messages and the WAV that everybody reads


def test_three_players_read_the_wav_alike(speech: Path, tmp_path: Path) -> None:
    body = audio.blocks_from_file(speech)
    path = tmp_path / "x.wav"
    path.write_bytes(message.to_wav(body))
    expected = adpcm.decode(body)
    sox = np.frombuffer(run("sox", path, "-t", "s16", "-"), "<i2")
    ffmpeg = np.frombuffer(run(FFMPEG, "-v", "error", "-i", path, "-f", "s16le", "-"), "<i2")
    sndfile, rate = soundfile.read(path, dtype="int16")
    assert rate == RATE
    assert np.array_equal(sox, expected)
    assert np.array_equal(sndfile, expected)
    assert np.array_equal(ffmpeg, expected)


def test_the_wav_is_laid_out_as_the_standard_says(speech: Path) -> None:
    wav = message.to_wav(audio.blocks_from_file(speech))
    assert wav[:4] == b"RIFF" and struct.unpack_from("<I", wav, 4)[0] == len(wav) - 8
    fmt = struct.unpack_from("<4sIHHIIHHHH", wav, 12)
    assert fmt == (b"fmt ", 20, 0x11, 1, 16000, 8110, 256, 4, 2, 505)
    blocks = (len(wav) - 60) // 256
    assert struct.unpack_from("<4sII4sI", wav, 40) == (
        b"fact",
        4,
        blocks * 505,
        b"data",
        blocks * 256,
    )
