"""Runs `wgrad bench` and its peers on the same kernels and training steps, by turns on one machine, and prints ratios.

    python benches/peers/compare.py [--rounds 3] [--peer torch]... [--wgrad target/release/wgrad] [--markdown] [PART...]

PART chooses as in `wgrad bench`; without one all of it is measured, which takes about ten minutes. A ratio is the peer's time
over wgrad's: above 1 wgrad is faster. Each figure is the median over the rounds, each ratio the median of the rounds' ratios.
"""
import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent


# Commands that read names and print a line of JSON about themselves, then one for each.
PEERS = {"torch": [sys.executable, str(HERE / "torch_bench.py")]}


def median(values):
    values = sorted(values)
    return (values[len(values) // 2] + values[(len(values) - 1) // 2]) / 2


def run_wgrad(program, device, titles):
    found = subprocess.run([program, "bench", "--device", device, "--json", *titles], capture_output=True, text=True)
    if found.returncode:
        sys.exit(found.stderr)
    document = json.loads(found.stdout)
    return document, {f"{r['kernel']} {r['shape']}": r["ms"] for r in document["results"]}


def run_peer(command, titles):
    environment = dict(os.environ, PYTHONWARNINGS="ignore")
    found = subprocess.run(
        command, input="\n".join(titles) + "\n", capture_output=True, text=True, env=environment, check=False
    )
    if found.returncode:
        sys.exit(found.stderr)
    lines = [json.loads(line) for line in found.stdout.splitlines() if line.startswith("{")]
    return lines[0], {f"{r['kernel']} {r['shape']}": r["ms"] for r in lines[1:] if "ms" in r}


def processor():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or "unknown processor"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer", action="append", choices=list(PEERS))
    parser.add_argument("--wgrad", default=str(ROOT / "target" / "release" / "wgrad"))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--markdown", action="store_true", help="print a table for documents")
    arguments = parser.parse_args()
    chosen = arguments.peer or list(PEERS)
    listed = subprocess.run([arguments.wgrad, "bench", "--list", *arguments.parts], capture_output=True, text=True)
    if listed.returncode:
        sys.exit(listed.stderr)
    titles = [title for title in listed.stdout.splitlines() if title]
    # Groups of one kind alternate closely, so that the machine's pace is the same for both.
    groups = {}
    for title in titles:
        kind = title if title.startswith("step") else title.split("_")[0].split(" ")[0]
        groups.setdefault(kind, []).append(title)
    times, ratios, about, roof = {}, {}, {}, None
    for group in groups.values():
        for _ in range(arguments.rounds):
            document, own = run_wgrad(arguments.wgrad, arguments.device, group)
            roof = document
            for title, ms in own.items():
                times.setdefault(title, {}).setdefault("wgrad", []).append(ms)
            for name in chosen:
                about[name], found = run_peer(PEERS[name], [title for title in group if title in own])
                for title, ms in found.items():
                    times.setdefault(title, {}).setdefault(name, []).append(ms)
                    ratios.setdefault(title, {}).setdefault(name, []).append(ms / own[title])
    versions = ", ".join(f"{a['peer']} {a['version']}" for a in about.values())
    print(f"{datetime.date.today()}, {processor()}, {roof['threads']} threads, {arguments.rounds} rounds; {versions}\n")
    if arguments.markdown:
        print("| | wgrad ms |" + "".join(f" {name} ms | ratio |" for name in chosen))
        print("|---|---|" + "---|---|" * len(chosen))
    for title in titles:
        if title not in times or "wgrad" not in times[title]:
            continue
        cells = []
        for name in chosen:
            if name in times[title]:
                cells += [f"{median(times[title][name]):.3f}", f"{median(ratios[title][name]):.2f}"]
            else:
                cells += ["", ""]
        own = f"{median(times[title]['wgrad']):.3f}"
        if arguments.markdown:
            print(f"| {title} | {own} | " + " | ".join(cells) + " |")
        else:
            print(f"{own:>10}  " + "  ".join(f"{cell:>10}" for cell in cells) + f"  {title}")


if __name__ == "__main__":
    main()
