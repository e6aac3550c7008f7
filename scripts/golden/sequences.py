"""Golden cases of operators along an axis: cumulative sums, sorting, elements by index."""

import numpy
import torch


def cumulative_sum(family):
    def sums(a, axis, exclusive, reverse):
        if reverse:
            a = a.flip(axis)
        result = torch.cumsum(a, axis)
        if exclusive:
            # Without subtracting, which would not be exact.
            length = a.shape[axis]
            result = torch.cat([torch.zeros_like(result.narrow(axis, 0, 1)), result.narrow(axis, 0, length - 1)], axis)
        return result.flip(axis) if reverse else result

    grid = [(sizes, axis) for sizes in ((7,), (3, 4), (2, 3, 4)) for axis in range(len(sizes))] + [((2, 90), 1), ((4, 1), 1)]
    for sizes, axis in grid:
        for exclusive in (False, True):
            for reverse in (False, True):
                family.add("cumulative_sum", f"cumulative_sum {list(sizes)} along {axis}, exclusive {exclusive}, reverse {reverse}",
                           [family.normal(*sizes)], sums, {"axis": axis, "exclusive": exclusive, "reverse": reverse},
                           terms=sizes[axis], linear=True)
    rows = numpy.array([[1.0, numpy.nan, 2.0], [3.0, 1.0, 2.0]], dtype=numpy.float32)
    family.add("cumulative_sum", "cumulative_sum with NaN", [rows], sums, {"axis": 1, "exclusive": False, "reverse": False}, terms=3, special=True)
