"""Runs `wgrad bench` and its peers on the same kernels and training steps, by turns on one machine, and prints ratios.

    python3 benches/peers/compare.py [--rounds 3] [--peer torch]... [--wgrad target/release/wgrad] [--markdown] [PART...]

Each round measures a kernel in wgrad, then in each peer: PyTorch, or those that --peer names.
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


# Commands that say in a line of JSON what they are, then answer each name on standard input by a line: see README.md.
PEERS = {
    "torch": [sys.executable, str(HERE / "torch_bench.py")],
    "burn": [str(HERE / "burn/target/release/burn-peer"), "flex"],
    "burn-wgpu": [str(HERE / "burn/target/release/burn-peer"), "wgpu"],
    "candle": [str(HERE / "candle/target/release/candle-peer")],
    "meganeura": [str(HERE / "meganeura/target/release/meganeura-peer")],
}


class Side:
    """A running program that measures what it is asked for."""

    def __init__(self, command):
        self.command = command
        environment = dict(os.environ, PYTHONWARNINGS="ignore")
        pipe = subprocess.PIPE
        try:
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=environment)
        except FileNotFoundError:
            sys.exit(f"there is no {command[0]}; {HERE / 'README.md'} says how it is built")
        self.about = self.line()

    def line(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        sys.exit(f"{' '.join(self.command)} ended with {self.process.wait()}")

    def measure(self, title):
        self.process.stdin.write(title + "\n")
        self.process.stdin.flush()
        return self.line()


def median(values):
    values = sorted(values)
    return (values[len(values) // 2] + values[(len(values) - 1) // 2]) / 2


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
    chosen = arguments.peer or ["torch"]
    listed = subprocess.run([arguments.wgrad, "bench", "--list", *arguments.parts], capture_output=True, text=True)
    if listed.returncode:
        sys.exit(listed.stderr)
    titles = [title for title in listed.stdout.splitlines() if title]
    sides = {"wgrad": Side([arguments.wgrad, "bench", "--follow", "--device", arguments.device])}
    sides |= {name: Side(PEERS[name]) for name in chosen}
    times, ratios, reasons = {}, {}, {}
    for title in titles:
        # Side after side, so that the machine's pace is the same for all of a round.
        for _ in range(arguments.rounds):
            answers = {name: side.measure(title) for name, side in sides.items()}
            for name, answer in answers.items():
                if "ms" in answer:
                    times.setdefault(title, {}).setdefault(name, []).append(answer["ms"])
                else:
                    reasons[title, name] = answer["reason"]
            if "ms" in answers["wgrad"]:
                for name in chosen:
                    if "ms" in answers[name]:
                        ratio = answers[name]["ms"] / answers["wgrad"]["ms"]
                        ratios.setdefault(title, {}).setdefault(name, []).append(ratio)
    versions = ", ".join(f"{side.about['peer']} {side.about['version']}" for side in sides.values())
    threads = sides["wgrad"].about["threads"]
    print(f"{datetime.date.today()}, {processor()}, {threads} threads, {arguments.rounds} rounds; {versions}\n")
    if arguments.markdown:
        print("| | wgrad ms |" + "".join(f" {name} ms | ratio |" for name in chosen))
        print("|---|---|" + "---|---|" * len(chosen))
    for title in titles:
        if title not in times or "wgrad" not in times[title]:
            continue
        cells = []
        for name in chosen:
            if name in ratios.get(title, {}):
                cells += [f"{median(times[title][name]):.3f}", f"{median(ratios[title][name]):.2f}"]
            else:
                cells += ["", ""]
        own = f"{median(times[title]['wgrad']):.3f}"
        if arguments.markdown:
            print(f"| {title} | {own} | " + " | ".join(cells) + " |")
        else:
            print(f"{own:>10}  " + "  ".join(f"{cell:>10}" for cell in cells) + f"  {title}")
    for (title, name), reason in reasons.items():
        print(f"without {name}: {title}: {reason}", file=sys.stderr)


if __name__ == "__main__":
    main()
