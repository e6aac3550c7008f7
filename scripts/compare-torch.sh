#!/usr/bin/env bash
# Alternates wgrad's training step of the 784-512-256-10 MLP (batch 128, Adam, CPU) with PyTorch's in one run, so that
# both meet the same machine. Needs a Python with torch (variable PYTHON) and the PyTorch side of the workload
# (variable TORCH_STEPS, a script that takes `mlp` and prints a line with `median=<ms>`).
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3} steps=${TORCH_STEPS:-../shared/bench/torch_steps.py} rounds=${1:-5}
cargo bench --bench train_step --no-run
bench=$(cargo bench --bench train_step --no-run 2>&1 | sed -nE 's/.*\((.*train_step-[0-9a-f]+)\).*/\1/p')
median() { sed -nE 's/.*RESULT.*median=([0-9.]+).*/\1/p'; }
for round in $(seq "$rounds"); do
    ours=$("$bench" cpu | median)
    theirs=$("$python" "$steps" mlp | median)
    awk -v r="$round" -v a="$ours" -v b="$theirs" 'BEGIN {printf "round %d: wgrad %.2f ms, torch %.2f ms, torch/wgrad %.2f\n", r, a, b, b / a}'
done
