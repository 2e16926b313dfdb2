"""Speech for the toy, from words and from recordings: what is made, and what is refused."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import soundfile

from hushbear_companion import adpcm, audio, speech, voice_table
from hushbear_companion.errors import BadAudio, BadVoice, NoSpeech
from hushbear_companion.message import BLOCK_ALIGN, BLOCK_SAMPLES, RATE
from tools import voice, voice_file
from tools.voice_file import PROMPT_BLOCKS_MAX

pytestmark = pytest.mark.skipif(
    not shutil.which("espeak-ng"), reason="needs espeak-ng: apt install espeak-ng"
)

LANGUAGES = voice_table.languages()
SECOND = RATE // BLOCK_SAMPLES  # blocks that are said within a second
PROMPTS = voice_table.PROMPTS

Signal = npt.NDArray[np.float64]


def tone(seconds: float, level: float = 0.3, hz: float = 330, rate: int = RATE) -> Signal:
    return level * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)


def silence(seconds: float, level: float = 0.0, rate: int = RATE) -> Signal:
    return np.random.default_rng(1).normal(0, 1, round(seconds * rate)) * level


def decoded(blocks: bytes) -> Signal:
    return adpcm.decode(blocks).astype(np.float64) / 32768


def loudness(signal: Signal) -> float:
    """Return dB of what is not silence."""
    frames = signal[: len(signal) // 160 * 160].reshape(-1, 160)
    power = np.mean(frames**2, axis=1)
    return float(10 * np.log10(np.mean(power[power > np.max(power) / 100])))


# Every language


@pytest.fixture(scope="module", params=LANGUAGES)
def spoken(request: pytest.FixtureRequest) -> tuple[str, dict[str, bytes]]:
    return voice_file.parse(voice.spoken(voice_table.table(request.param)))


def test_the_four_languages_are_there() -> None:
    assert {"de", "en", "es", "fr"} <= set(LANGUAGES)


def test_every_prompt_is_there_and_fits(spoken: tuple[str, dict[str, bytes]]) -> None:
    language, said = spoken
    assert language in LANGUAGES
    assert set(said) == set(PROMPTS)
    blocks = {name: len(content) // BLOCK_ALIGN for name, content in said.items()}
    assert max(blocks.values()) <= PROMPT_BLOCKS_MAX
    # They are counted down by seconds.
    assert max(blocks[digit] for digit in "0123456789") < SECOND
    # Hands are on the paws while this is said.
    assert blocks["let-go"] < 4 * SECOND


def test_all_prompts_sound_equally_loud_and_begin_at_once(
    spoken: tuple[str, dict[str, bytes]],
) -> None:
    for name, content in spoken[1].items():
        signal = decoded(content)
        assert -23 < loudness(signal) < -13, name
        loud = np.flatnonzero(np.abs(signal) > 0.05)
        assert loud[0] < RATE / 8, name
        assert len(signal) - loud[-1] < RATE / 4, name
        assert np.max(np.abs(signal)) < 10 ** ((audio.CEILING_DBTP + 0.5) / 20), name
        assert abs(signal[0]) < 0.01 and abs(signal[-1]) < 0.01, f"{name} clicks"


def test_all_prompts_of_a_language_differ(spoken: tuple[str, dict[str, bytes]]) -> None:
    assert len(set(spoken[1].values())) == len(PROMPTS)


def test_the_same_espeak_makes_the_same_file() -> None:
    table = voice_table.table("en")
    assert voice.spoken(table) == voice.spoken(table)


def test_what_was_made_is_kept_until_the_words_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = tmp_path / "tables"
    shutil.copytree(voice_table.TABLES, tables)
    monkeypatch.setattr(voice_table, "TABLES", tables)
    first = voice.kept("de", tmp_path / "cache")
    inode = first.stat().st_ino
    assert voice.kept("de", tmp_path / "cache") == first
    assert first.stat().st_ino == inode
    text = (tables / "de.toml").read_text()
    (tables / "de.toml").write_text(text.replace("Ich habe keinen Platz mehr.", "Voll."))
    second = voice.kept("de", tmp_path / "cache")
    assert second != first
    assert len(second.read_bytes()) < len(first.read_bytes())
    assert len(list((tmp_path / "cache").iterdir())) == 2  # nothing half made is left


# Tables


def table_of(tmp_path: Path, old: str, new: str, name: str = "de.toml") -> Path:
    text = (voice_table.TABLES / "en.toml").read_text()
    assert old in text
    path = tmp_path / name
    path.write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        (
            "wrong =",
            "worng =",
            "de.toml has worng, which the toy never says. The prompts are 0, 1",
        ),
        ("closed =", "# closed =", "de.toml lacks closed. The toy needs every prompt."),
        ('"seven"', '""', "de.toml: 7 cannot be ''"),
        ('"seven"', "7", "de.toml: 7 cannot be 7"),
        ('"seven"', '"seven', "de.toml is no table: "),
        ("[espeak]", "[espoke]", "de.toml: voice cannot be None"),
        ('"en-gb+f3"', '"-x"', "de.toml: voice cannot be '-x'"),
        ("speed = 150", "speed = 5", "de.toml: speed cannot be '5'"),
        ("{name}", "{0.__class__}", "de.toml: name cannot be 'I am {0.__class__}.'"),
        ("[espeak]\n", "espeak = 1\n[other]\n", "espeak and prompts have to be"),
    ],
)
def test_a_table_that_is_wrong_is_told_in_a_line(
    tmp_path: Path, old: str, new: str, line: str
) -> None:
    with pytest.raises(BadVoice) as caught:
        voice_table.read_table(table_of(tmp_path, old, new))
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_table_is_named_by_its_language(tmp_path: Path) -> None:
    with pytest.raises(BadVoice, match="'german' is not the code of a language"):
        voice_table.read_table(table_of(tmp_path, "zero", "null", "german.toml"))
    with pytest.raises(BadVoice, match=r"no table for the language 'xx', but for de, en, es, fr"):
        voice_table.table("xx")
    with pytest.raises(BadVoice, match=r"no table for the language '\.\./en'"):
        voice_table.table("../en")


def test_a_voice_that_espeak_lacks_is_told(tmp_path: Path) -> None:
    path = table_of(tmp_path, "en-gb+f3", "nobody")
    with pytest.raises(NoSpeech, match=r"espeak-ng failed: .*Check the voice in the table"):
        voice.spoken(voice_table.read_table(path))


def test_a_sentence_that_is_too_long_is_told(tmp_path: Path) -> None:
    path = table_of(tmp_path, "I have no room left.", "I have no room left. " * 6)
    with pytest.raises(BadVoice, match=r"takes \d+\.\d s to say, and has 6\.1 s"):
        voice.spoken(voice_table.read_table(path))
    path = table_of(tmp_path, "I have no room left.", "no room " * 50)
    with pytest.raises(BadVoice, match="is too long to be said"):
        voice.spoken(voice_table.read_table(path))


def test_without_espeak_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoSpeech, match=r"espeak-ng is not installed. Install it"):
        speech.spoken_name("Bruno", "de")
    assert voice.main(["build", "--out", str(tmp_path)]) == 1


# Recordings


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    """A directory as a family makes it: noisy, in several formats, too loud and too soft."""
    directory = tmp_path / "ours"
    directory.mkdir()
    formats = ((44100, ".wav"), (48000, ".flac"), (22050, ".ogg"), (8000, ".WAV"))
    for number, name in enumerate(PROMPTS):
        rate, suffix = formats[number % 4]
        level = (0.02, 0.3, 0.9)[number % 3]
        sound = np.concatenate(
            (
                silence(0.7, level / 500, rate),
                tone(0.3 + number / 50, level, 200 + 40 * number, rate),
                silence(1.1, level / 500, rate),
            )
        )
        channels = np.stack((sound, 0.8 * sound), axis=1) if number % 2 else sound
        soundfile.write(directory / (name + suffix), channels, rate)
    return directory


def test_recordings_become_prompts_trimmed_and_levelled(recordings: Path) -> None:
    language, said = voice_file.parse(voice.recorded("it", recordings))
    assert language == "it"
    assert list(said) == list(PROMPTS)
    for number, (name, blocks) in enumerate(said.items()):
        signal = decoded(blocks)
        heard = np.flatnonzero(np.abs(signal) > 0.03)
        assert 0.01 * RATE < heard[0] < 0.05 * RATE, name
        assert (heard[-1] - heard[0]) / RATE == pytest.approx(0.3 + number / 50, abs=0.03), name
        assert -23 < loudness(signal) < -13, name
        spectrum = np.abs(np.fft.rfft(signal))
        assert np.argmax(spectrum) * RATE / len(signal) == pytest.approx(200 + 40 * number, abs=5)


def test_a_recording_gives_the_same_blocks_each_time(recordings: Path) -> None:
    assert voice.recorded("it", recordings) == voice.recorded("it", recordings)


def test_recordings_that_lack_a_prompt_or_have_another_are_told(recordings: Path) -> None:
    (recordings / "full.WAV").rename(recordings / "fool.WAV")
    with pytest.raises(BadVoice, match="has fool, which the toy never says"):
        voice.recorded("it", recordings)
    (recordings / "fool.WAV").unlink()
    with pytest.raises(BadVoice, match=r"lacks full. The toy needs every prompt"):
        voice.recorded("it", recordings)


def test_two_recordings_of_one_prompt_are_told(recordings: Path) -> None:
    soundfile.write(recordings / "0.flac", tone(0.5), RATE)
    with pytest.raises(BadVoice, match=r"has 0\.\w+ in two formats"):
        voice.recorded("it", recordings)


@pytest.mark.parametrize(
    ("sound", "error", "line"),
    [
        (silence(1), BadVoice, r"Nothing is to be heard in 0\.wav\. Record it again, louder"),
        (silence(1, 0.0001), BadVoice, r"Nothing is to be heard in 0\.wav"),
        (tone(7), BadVoice, r"0\.wav takes 7\.\d s to say, and has 6\.1 s"),
        (tone(70), BadAudio, r"0\.wav is 70\.0 s long"),
        (silence(0), BadAudio, r"0\.wav holds no sound"),
    ],
    ids=["silent", "noise", "long", "longer", "empty"],
)
def test_a_recording_that_is_no_prompt_is_told(
    recordings: Path, sound: Signal, error: type[Exception], line: str
) -> None:
    soundfile.write(recordings / "0.wav", sound, RATE)
    with pytest.raises(error, match=line):
        voice.recorded("it", recordings)


def test_a_long_pause_in_a_recording_stays(tmp_path: Path) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.concatenate((tone(0.3), silence(1), tone(0.3))), RATE)
    blocks = speech.from_file(path, PROMPT_BLOCKS_MAX)
    assert len(decoded(blocks)) / RATE == pytest.approx(1.64, abs=0.04)


def test_a_soft_beginning_and_end_are_kept() -> None:
    """As in "five": an f is 30 dB below the vowel."""
    soft = silence(0.2, 0.3 * 10 ** (-30 / 20))
    signal = speech.trim(np.concatenate((silence(0.5), soft, tone(0.3), soft, silence(0.5))))
    assert len(signal) / RATE == pytest.approx(0.7 + 0.08, abs=0.02)


def test_the_shortest_sounds_are_trimmed() -> None:
    for samples in (0, 1, 2, 79, 80, 161):
        signal = speech.trim(np.ones(samples) * 0.5)
        assert len(signal) == samples


# The file


def test_what_is_packed_is_parsed_and_the_rest_is_refused() -> None:
    said = {"0": bytes(256), "let-go": b"\1" * 512}
    content = voice_file.pack("de", said)
    assert voice_file.parse(content) == ("de", said)
    for damaged in (b"", content[:11], content[:-1], content + b"\0", content[:40] + content):
        with pytest.raises(ValueError):
            voice_file.parse(damaged)
    for at in range(len(content)):
        flipped = bytearray(content)
        flipped[at] ^= 0x10
        with pytest.raises(ValueError):
            voice_file.parse(bytes(flipped))


@pytest.mark.parametrize(
    ("language", "said"),
    [
        ("de", {"0": b""}),
        ("de", {"0": bytes(255)}),
        ("de", {"0": bytes(256 * (PROMPT_BLOCKS_MAX + 1))}),
        ("de", {"twelve chars": bytes(256)}),
        ("de", {"": bytes(256)}),
        ("de", {"zwölf": bytes(256)}),
        ("deu", {"0": bytes(256)}),
        ("de", {}),
        ("de", {str(n): bytes(256) for n in range(256)}),
    ],
)
def test_what_no_file_can_hold_is_refused(language: str, said: dict[str, bytes]) -> None:
    with pytest.raises(ValueError):
        voice_file.pack(language, said)


# A name


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", ["Bruno", "Ole-Hündchen", "-v", "Zoë", "d'Artagnan", "熊"])
def test_a_name_is_spoken_in_every_language(language: str, name: str) -> None:
    blocks = speech.spoken_name(name, language)
    assert 0 < len(blocks) // BLOCK_ALIGN <= speech.NAME_BLOCKS_MAX
    assert len(blocks) % BLOCK_ALIGN == 0
    assert -23 < loudness(decoded(blocks)) < -13


def test_another_name_sounds_otherwise_and_the_same_name_the_same() -> None:
    first = speech.spoken_name("Bruno", "de")
    assert first == speech.spoken_name("  Bruno\n", "de")
    assert first != speech.spoken_name("Bruna", "de")
    assert first != speech.spoken_name("Bruno", "fr")


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("", "There is no letter in that name"),
        ("  \n", "There is no letter in that name"),
        ("?!", "There is no letter in that name"),
        ("x" * 61, "That name has 61 letters, and may have 60"),
        ("Johann Sebastian Maximilian Alexander", r"takes \d\.\d s to say, and has 2\.0 s"),
    ],
)
def test_a_name_that_cannot_be_said_is_told(name: str, line: str) -> None:
    with pytest.raises(BadVoice, match=line):
        speech.spoken_name(name, "de")


def test_a_recorded_name_is_at_most_two_seconds(tmp_path: Path) -> None:
    path = tmp_path / "name.flac"
    around = silence(2, rate=44100)
    soundfile.write(path, np.concatenate((around, tone(1.5, rate=44100), around)), 44100)
    blocks = speech.recorded_name(path)
    assert len(decoded(blocks)) / RATE == pytest.approx(1.6, abs=0.05)
    soundfile.write(path, tone(2.1), RATE)
    with pytest.raises(BadVoice, match=r"name\.flac takes 2\.1 s to say, and has 2\.0 s"):
        speech.recorded_name(path)
    with pytest.raises(BadAudio, match="cannot be opened"):
        speech.recorded_name(tmp_path / "nothing.wav")


# The command


def voice_says(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str]:
    status = voice.main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return status, said.err or said.out


def test_the_command_builds_and_lets_listen(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, recordings: Path
) -> None:
    status, line = voice_says(capsys, "build", "it", "--recordings", recordings, "--out", tmp_path)
    made = tmp_path / "voice-it"
    assert status == 0
    assert line == f"{made}: 21 prompts, {made.stat().st_size:,} bytes\n"
    assert voice_says(capsys, "wav", made, tmp_path / "wavs")[0] == 0
    sound, rate = soundfile.read(tmp_path / "wavs/pairing.wav", dtype="int16")
    assert rate == RATE
    assert np.array_equal(sound, adpcm.decode(voice_file.parse(made.read_bytes())[1]["pairing"]))
    # What one listened to can be improved in part, and made again.
    again = voice_says(capsys, "build", "it", "--recordings", tmp_path / "wavs", "--out", tmp_path)
    assert again[0] == 0


def test_the_command_makes_a_name(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    out = tmp_path / "name"
    assert voice_says(capsys, "name", "Bruno", "--language", "fr", "--out", out)[0] == 0
    assert out.read_bytes() == speech.spoken_name("Bruno", "fr")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["build", "xx"], "voice: There is no table for the language 'xx', but for"),
        (["build", "de", "en", "--recordings", "."], "voice: Recordings are in one language."),
        (["build", "de", "--recordings", "nowhere"], "voice: nowhere is not a directory."),
        (["build", "deu", "--recordings", "."], "voice: 'deu' is not the code of a language."),
        (["wav", "nowhere", "out"], "voice: nowhere cannot be read: No such file or directory."),
        (["name", "!"], "voice: There is no letter in that name."),
        (["name", "Bo", "--out", "no/such/place"], "voice: no/such/place: No such file"),
    ],
)
def test_the_command_says_in_a_line_what_is_wrong(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    line: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    status, said = voice_says(capsys, *arguments)
    assert status == 1
    assert said.startswith(line)
    assert said.count("\n") == 1
    assert os.listdir(tmp_path) in ([], ["voice-out"])
