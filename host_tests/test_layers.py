"""Which device module may reach which: one way only, and from the link never to the microphone.

Imports are read from the source, so what is not reached here is not reached on any board.
"""

from __future__ import annotations

import ast

import pytest

from host_tests.targets import LIB

PACKAGE = LIB / "hushbear"
KERNELS = ("ima", "ima_encoder", "ring", "dsp", "crypto")
SERVICES = (
    *("audio", "store", "link", "leds", "paws", "one_paw", "two_paws", "keys"),
    *("settings", "settings_file", "clock", "clock_file", "crashlog", "crashlog_file"),
)
SELDOM = {
    *("link.upkeep", "link.renewal", "upkeep_wire", "settings_wire"),
    *("expiry", "spoken_name"),
    *("settings_file", "clock_file", "crashlog_file"),
}
HARDWARE = {"machine", "bluetooth", "esp32", "neopixel", "asyncio", "os", "time", "network"}
RANDOM = ("crypto.noise", "crypto.cpace")  # kernels that make secrets


def modules() -> dict[str, set[str]]:
    """Return what each module of the library imports, by dotted names without `hushbear.`."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        found[name] = {target for node in ast.walk(ast.parse(path.read_text()))
                       for target in imported(node, parts)}  # fmt: skip
    return found


def imported(node: ast.AST, parts: tuple[str, ...]) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.removeprefix("hushbear.") for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = ".".join([*parts[: -node.level], node.module or ""]) if node.level else node.module
    base = (base or "").strip(".")
    if base == "hushbear":
        return [alias.name for alias in node.names]
    base = base.removeprefix("hushbear.")
    return [base, *(f"{base}.{alias.name}" for alias in node.names)]


IMPORTS = modules()


def reached(module: str) -> set[str]:
    """Return all modules of the library that importing one brings with it."""
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in IMPORTS and name not in seen:
            seen.add(name)
            waiting += IMPORTS[name]
            waiting += [name.rsplit(".", 1)[0]] if "." in name else []
    return seen - {module}


def within(names: tuple[str, ...]) -> list[str]:
    return sorted(m for m in IMPORTS if m.split(".")[0] in names)


@pytest.mark.parametrize("module", within(KERNELS))
def test_a_kernel_does_no_input_or_output(module: str) -> None:
    assert not IMPORTS[module] & (HARDWARE - ({"os"} if module in RANDOM else set()))
    assert {m.split(".")[0] for m in reached(module)} <= {*KERNELS, "container", "wire"}


@pytest.mark.parametrize("module", within(SERVICES))
def test_a_service_does_not_know_the_app(module: str) -> None:
    assert not reached(module) & {"app", "supervisor"}


@pytest.mark.parametrize("module", [*within(("link",)), "services"])
def test_nothing_on_a_link_can_reach_the_microphone(module: str) -> None:
    assert not {m for m in reached(module) if m.startswith(("audio", "paws", "leds", "app"))}


def test_only_the_app_reaches_the_microphone() -> None:
    assert [m for m in IMPORTS if "audio.mic" in IMPORTS[m]] == ["app"]


def test_the_app_does_not_keep_what_it_needs_seldom() -> None:
    assert not reached("app") & SELDOM


def test_the_app_does_not_load_what_only_pairing_needs() -> None:
    assert not reached("app") & {"crypto.cpace", "crypto.sha512", "pairing_wire"}
    assert not [module for module in reached("app") if module.startswith("hand")]
