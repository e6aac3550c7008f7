#!/usr/bin/env python3
"""Shows that the tests bite: puts one fault at a time into a copy of the code and asks that a test goes red.

    scripts/mutate.py                        every fault of scripts/mutations.toml
    scripts/mutate.py matmul gradient        those whose description, kind or file contains one of the words
    scripts/mutate.py --table FILE.md        writes the table there, too

A fault is one piece of text that stands once in one file, and what to put in its place. The tests it names are run
first; if none fails, the whole suite is. They must pass without any fault, which is seen to before. A fault that nothing catches, that does not build or whose text is gone makes
the script end with status 1. Works on a copy of the last commit, in a worktree of its own that is kept for the next time.
Takes the better part of an hour on two cores, so it is run by hand and not in CI.
"""

import argparse
import os
import pathlib
import re
import subprocess
import sys
import time
import tomllib

ROOT = pathlib.Path(__file__).resolve().parent.parent
COPY = ROOT / "target" / "mutations"
# A fault may make a loop endless.
LIMIT = 900
ENVIRONMENT = os.environ | {
    # Of its own: cargo takes the same crate of two worktrees for one.
    "CARGO_TARGET_DIR": str(COPY / "target"),
    "WGRAD_REQUIRE_GPU": "1",
    "LP_NUM_THREADS": "0",
    "RUST_BACKTRACE": "0",
}


def run(command, **options):
    return subprocess.run(command, cwd=COPY, env=ENVIRONMENT, capture_output=True, text=True, **options)


def fresh_copy():
    if not COPY.exists():
        subprocess.run(["git", "worktree", "prune"], cwd=ROOT, check=True)
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(COPY)], cwd=ROOT, check=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
    run(["git", "reset", "--quiet", "--hard", head], check=True)


def test(arguments):
    """None if every test passes, else the name of the first that fails, or what else went wrong."""
    try:
        done = run(["cargo", "test", "--locked", *arguments], timeout=LIMIT)
    except subprocess.TimeoutExpired:
        return f"no answer in {LIMIT} s"
    if done.returncode == 0:
        return None
    if re.search(r"^error(\[E\d+\])?: (?!test failed)", done.stderr, re.M) and "running" not in done.stdout:
        raise BuildFailure(done.stderr)
    failed = re.search(r"^test (\S+)(?: - should panic)? \.\.\. FAILED", done.stdout, re.M)
    binary = re.findall(r"Running (?:unittests )?(\S+)", done.stderr)
    name = failed.group(1) if failed else "a test binary that ended abruptly"
    place = pathlib.Path(binary[-1]).stem if binary else "doc"
    return f"`{name}`" if place in name else f"`{place}`: `{name}`"


class BuildFailure(Exception):
    pass


def attempt(fault):
    """What caught the fault, and whether that is a success."""
    path = COPY / fault["file"]
    original = path.read_text()
    if original.count(fault["find"]) != 1:
        return f"its text stands {original.count(fault['find'])} times in the file", False
    path.write_text(original.replace(fault["find"], fault["replace"]))
    try:
        for tests in fault["tests"]:
            caught = test(tests.split())
            if caught:
                return caught, True
        caught = test(["--workspace"])
        return (caught, True) if caught else ("**nothing**", False)
    except BuildFailure as failure:
        print(failure, file=sys.stderr)
        return "it does not build", False
    finally:
        path.write_text(original)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("words", nargs="*", help="only faults that contain one of these")
    parser.add_argument("--table", type=pathlib.Path, help="write the table to this file")
    arguments = parser.parse_args()
    faults = tomllib.loads((ROOT / "scripts" / "mutations.toml").read_text())["fault"]
    chosen = [f for f in faults if not arguments.words or any(w in f"{f['what']} {f['kind']} {f['file']}" for w in arguments.words)]
    fresh_copy()
    for tests in sorted({tests for fault in chosen for tests in fault["tests"]}):
        caught = test(tests.split())
        if caught:
            sys.exit(f"error: {caught} fails without any fault; a red suite catches everything: make it pass first")
    lines = ["| # | kind | fault | file | caught by | s |", "|---|---|---|---|---|---|"]
    survived = 0
    for number, fault in enumerate(chosen, 1):
        started = time.monotonic()
        caught, success = attempt(fault)
        survived += not success
        seconds = round(time.monotonic() - started)
        lines.append(f"| {number} | {fault['kind']} | {fault['what']} | {fault['file']} | {caught} | {seconds} |")
        print(lines[-1], flush=True)
    if arguments.table:
        arguments.table.write_text("\n".join(lines) + "\n")
    print(f"{len(chosen) - survived} of {len(chosen)} faults caught")
    sys.exit(1 if survived else 0)


if __name__ == "__main__":
    main()
