#!/usr/bin/env python3
"""Rows per second of each preset's training: scripts/measure-presets.py [seconds [device ...]]

Needs `cargo build --release`. By default 20 seconds each on `cpu`; `gpu:llvmpipe` is Mesa's software adapter. Each run is interrupted after that time,
so that it makes no report; what counts is the median of the steps after the third, as `metrics.jsonl` has it.
"""

import json
import pathlib
import statistics
import subprocess
import sys
import tempfile

PROGRAM = pathlib.Path(__file__).parent.parent / "target" / "release" / "wgrad"
PRESETS = ["digits", "digits-cnn", "resnet-cifar", "unet-shapes", "denoise", "vae-digits", "ddpm-digits"]
WARM_UP = 3


def measure(preset, device, seconds, folder):
    """Median and quartiles of rows per second, and the number of steps."""
    out = folder / f"{preset}-{device}"
    command = [PROGRAM, "train", preset, "--device", device, "--steps", "1000000", "--out", out]
    # SIGINT ends the run after its step; a second one ends it at once.
    ended = subprocess.run(["timeout", "--signal=INT", str(seconds), *command], capture_output=True, text=True)
    if not (out / "metrics.jsonl").is_file():
        sys.exit(f"{preset} on {device}: {ended.stderr}")
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    rates = [line["samples_per_s"] for line in lines if "samples_per_s" in line][WARM_UP:]
    return (statistics.quantiles(rates, n=4) if len(rates) > 1 else None), len(rates)


def main():
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    devices = sys.argv[2:] or ["cpu"]
    print("| preset | device | rows per second | quartiles | steps |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for preset in PRESETS:
            for device in devices:
                quartiles, steps = measure(preset, device, seconds, pathlib.Path(folder))
                if quartiles is None:
                    print(f"| `{preset}` | {device} | fewer than {WARM_UP + 2} steps in {seconds} s | | |", flush=True)
                else:
                    low, median, high = quartiles
                    print(f"| `{preset}` | {device} | {median:.0f} | {low:.0f}–{high:.0f} | {steps} |", flush=True)


if __name__ == "__main__":
    main()
