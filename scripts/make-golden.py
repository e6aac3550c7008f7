#!/usr/bin/env python3
"""Makes tests/golden: values and gradients of every operator, by PyTorch, in f64 and in f32.

Needs torch, numpy and safetensors. Usage: scripts/make-golden.py [folder]   (default: tests/golden)

Each family of operators is a pair of files. <family>.json lists the cases, one a line. The numbers lie in
<family>.safetensors, one case after the other in four long tensors, because a tensor per array would need more
bytes for its name than for its numbers:
  given_f32, given_u32           the inputs in order (i32 as their bits), then the weights r if there are gradients
  reference_f64, reference_f32   the result y, then the gradient of sum(y * r) by each input in "gradients"

A case's "terms" are the lengths of the longest sums behind each reference (1: none), its "magnitudes" the largest
sum of the absolute values of those terms: what a bound on rounding errors is made of. The cases are in scripts/golden/.
The same versions on the same kind of processor give the same bytes (but for the order of the metadata); the versions
are in the files' metadata. On another kind PyTorch takes other code for exp, tanh, products and convolutions, whose last
bits differ (seen between an AMD EPYC and an Intel Xeon, both with AVX-512).
"""

import pathlib
import sys

import torch

from golden import attention, blocks, operators, pictures, runs, sequences
from golden.family import Family


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent / "tests" / "golden")
    folder.mkdir(parents=True, exist_ok=True)
    # One thread, so that the order of f32 sums does not depend on the machine's cores.
    torch.set_num_threads(1)
    seeds = [(0, operators.elementwise), (1, operators.shape), (2, operators.reduce), (3, operators.matmul),
             (4, operators.softmax), (5, operators.cross_entropy), (6, operators.rows), (7, operators.losses),
             (8, operators.random), (9, pictures.pool), (40, pictures.normalise), (40, pictures.convolution),
             (300, pictures.resample), (50, sequences.cumulative_sum), (51, sequences.along),
             (52, sequences.sort), (53, attention.attention), (54, blocks.row_norm), (55, blocks.rotary)]
    for seed, fill in seeds:
        family = Family(fill.__name__, seed)
        fill(family)
        family.write(folder)
    runs.mlp(folder / "mlp")
    runs.batch_norm(folder / "batch_norm")


if __name__ == "__main__":
    main()
