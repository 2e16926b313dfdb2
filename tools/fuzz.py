"""Run the targets of fuzz_targets.py under Atheris, one after the other.

The inputs that reached something new are kept and begun with the next time; an input that a target
fails on is saved, and the command that runs it again is printed.

Two more targets are whole conversations, which coverage does not guide: `toy` is the toy's link in
32-bit MicroPython, attacked by phones, and `phone` the companion, attacked by a toy. Each seed is
another attack, on from the one that is given.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LONGEST_S = 10  # an input that takes longer is a failure
MEMORY_MB = 1024
CONVERSATIONS = ("toy", "phone")
FRAMES = 20_000  # in each attack of a conversation


def fuzz(target: str) -> None:
    """Run one target in this process, with libFuzzer's options as arguments. Does not return."""
    import atheris

    # imports are instrumented on their way, so nothing of ours may have been imported before
    with atheris.instrument_imports(include=["hushbear", "hushbear_companion"]):
        from tools import fuzz_targets
    atheris.Setup([target, *sys.argv[3:]], fuzz_targets.TARGETS[target].run)
    atheris.Fuzz()


def main() -> None:
    from tools.fuzz_targets import TARGETS

    parser = argparse.ArgumentParser(
        prog="tools/fuzz", description="Fuzz whatever reads bytes from outside."
    )
    parser.add_argument(
        "targets",
        nargs="*",
        metavar="TARGET",
        help=f"default: all; {', '.join([*TARGETS, *CONVERSATIONS])}",
    )
    parser.add_argument("--seconds", type=int, default=30, help="for each target (default: 30)")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations (default: 1)")
    parser.add_argument("--run", type=Path, metavar="FILE", help="only run this input")
    parser.add_argument(
        "--corpus", type=Path, default=ROOT / "build/fuzz/corpus", help="default: %(default)s"
    )
    parser.add_argument(
        "--failures", type=Path, default=ROOT / "build/fuzz/failures", help="default: %(default)s"
    )
    options = parser.parse_args()
    for name in options.targets:
        if name not in [*TARGETS, *CONVERSATIONS]:
            parser.error(f"there is no target {name}")
    if options.run:
        if len(options.targets) != 1 or options.targets[0] in CONVERSATIONS:
            parser.error("--run needs one target that takes inputs")
        TARGETS[options.targets[0]].run(options.run.read_bytes())
        print("fuzz: nothing is wrong with this input")
        return
    failed = []
    for name in options.targets or [*TARGETS, *CONVERSATIONS]:
        print(f"fuzz: {name}, {options.seconds} s", flush=True)
        if name in CONVERSATIONS:
            held = _converse(name, options.seconds, options.seed)
        else:
            held = _fuzz(name, options.seconds, options.seed, options.corpus, options.failures)
        if not held:
            failed.append(name)
    if failed:
        sys.exit(f"fuzz: failed: {', '.join(failed)}")


def _converse(name: str, seconds: int, seed: int) -> bool:
    """Attack with one seed after the other; return whether the target held."""
    began = time.monotonic()
    first = seed
    while seed == first or time.monotonic() - began < seconds:
        try:
            _attack(name, seed)
        except Exception:
            traceback.print_exc()
            print(f"fuzz: run it again with: tools/fuzz {name} --seed {seed} --seconds 1")
            return False
        seed += 1
    print(f"fuzz: {seed - first} attacks of {FRAMES} frames, all well")
    return True


def _attack(name: str, seed: int) -> None:
    from host_tests import hostile_phone, hostile_toy
    from host_tests.targets.unix import Unix
    from host_tests.virtual.fixtures import run_virtual

    if name == "toy":
        hostile_phone.attack(Unix(), seed, FRAMES, strangers=5)
        return
    with tempfile.TemporaryDirectory() as directory:
        run_virtual(hostile_toy.attack(seed, FRAMES, Path(directory)))


def _fuzz(name: str, seconds: int, seed: int, corpus: Path, failures: Path) -> bool:
    """Fuzz one target; return whether it held."""
    from tools.fuzz_targets import TARGETS

    kept = corpus / name
    kept.mkdir(parents=True, exist_ok=True)
    failures.mkdir(parents=True, exist_ok=True)
    for number, seed_input in enumerate(TARGETS[name].seeds()):
        (kept / f"seed-{number:02}").write_bytes(seed_input)
    known = set(failures.glob(f"{name}-*"))
    process = subprocess.run(
        [
            *(sys.executable, "-m", "tools.fuzz", "--one", name),
            *(f"-max_total_time={seconds}", f"-seed={seed}", f"-timeout={LONGEST_S}"),
            *(f"-rss_limit_mb={MEMORY_MB}", f"-artifact_prefix={failures}/{name}-"),
            str(kept),
        ],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if process.returncode:
        said = [line for line in process.stdout.splitlines() if not line.startswith("INFO: ")]
        print(*said[-60:], sep="\n")
        for found in sorted(set(failures.glob(f"{name}-*")) - known):
            print(f"fuzz: run it again with: tools/fuzz {name} --run {found}")
        return False
    runs = re.findall(r"^Done (\d+) runs", process.stdout, re.MULTILINE)
    reached = re.findall(r" cov: (\d+) ", process.stdout)
    print(f"fuzz: {runs[-1]} inputs, none wrong; {reached[-1]} branches reached")
    return True


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        fuzz(sys.argv[2])
    else:
        main()
