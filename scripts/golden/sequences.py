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


def along(family):
    def gather(a, indices, axis):
        return torch.gather(a, axis, indices)

    def scatter_add(base, indices, source, axis):
        return torch.scatter_add(base, axis, indices, source)

    def most(indices, axis):
        """How many indices along the axis are the same at most."""
        return max(int(numpy.bincount(line).max()) for line in numpy.moveaxis(indices, axis, -1).reshape(-1, indices.shape[axis]))

    # What is gathered from, the indices' shape, the axis: some with fewer indices along other axes, too.
    grid = [((5,), (9,), 0), ((4, 3), (6, 3), 0), ((4, 3), (4, 5), 1), ((4, 3), (2, 2), 0), ((4, 3), (3, 7), 1),
            ((3, 4, 5), (2, 4, 5), 0), ((3, 4, 5), (3, 6, 5), 1), ((3, 4, 5), (3, 4, 2), 2), ((3, 4, 5), (2, 3, 4), 1), ((2, 3), (2, 90), 1)]
    for sizes, chosen, axis in grid:
        indices = family.indices(sizes[axis], *chosen)
        repeats = most(indices, axis)
        name = f"{list(chosen)} of {list(sizes)} along {axis}"
        family.add("gather", f"gather {name}", [family.normal(*sizes), indices], gather, {"axis": axis}, terms=[1, repeats], linear=True)
        family.add("scatter_add", f"scatter_add {name}", [family.normal(*sizes), indices, family.normal(*chosen)], scatter_add,
                   {"axis": axis}, terms=[1 + repeats, 1, 1], linear=True)
    indices = family.indices(4, 3, 2)
    # By such a source torch cannot differentiate.
    family.add("scatter_add", "scatter_add of a part of the elements", [family.normal(4, 5), indices, family.normal(4, 3)], scatter_add,
               {"axis": 0}, gradients=[0], terms=[1 + most(indices, 0), 1], linear=True)
    values = numpy.array([[1.0, numpy.nan, 2.0], [3.0, 1.0, numpy.nan]], dtype=numpy.float32)
    indices = numpy.array([[1, 1, 0], [2, 0, 0]], dtype=numpy.uint32)
    family.add("gather", "gather with NaN", [values, indices], gather, {"axis": 1}, special=True)
    family.add("scatter_add", "scatter_add with NaN", [family.normal(2, 3), indices, values], scatter_add, {"axis": 1}, terms=3, special=True)


def sort(family):
    def part(result, which):
        return result[0] if which == "values" else result[1]

    def whole(a, axis, descending, which):
        return part(torch.sort(a, dim=axis, descending=descending, stable=True), which)

    def top(a, axis, count, largest, which):
        return part(torch.topk(a, count, dim=axis, largest=largest), which)

    for sizes in ((7,), (1, 1), (3, 5), (2, 3, 4), (2, 90)):
        for axis in range(len(sizes)):
            for which in ("values", "indices"):
                gradients = None if which == "values" else []
                for descending in (False, True):
                    family.add("sort", f"sort {list(sizes)} along {axis}, descending {descending}, {which}", [family.normal(*sizes)], whole,
                               {"axis": axis, "descending": descending, "which": which}, gradients=gradients)
                for largest in (False, True):
                    count = 1 + sizes[axis] // 2
                    family.add("sort", f"topk {list(sizes)}: {min(count, sizes[axis])} along {axis}, largest {largest}, {which}", [family.normal(*sizes)], top,
                               {"axis": axis, "count": min(count, sizes[axis]), "largest": largest, "which": which}, gradients=gradients)
    equals = numpy.array([[1.0, 3.0, 3.0, -1.0, 3.0, 1.0], [0.0, -0.0, 0.0, 2.0, -0.0, 2.0]], dtype=numpy.float32)
    rows = numpy.array([[1.0, numpy.nan, 2.0, numpy.inf, numpy.nan], [-numpy.inf, 1.0, numpy.nan, 0.0, -0.0]], dtype=numpy.float32)
    for descending in (False, True):
        for which in ("values", "indices"):
            given = {"axis": 1, "descending": descending, "which": which}
            gradients = None if which == "values" else []
            family.add("sort", f"sort of equals, descending {descending}, {which}", [equals], whole, given, gradients=gradients)
            family.add("sort", f"sort with NaN, descending {descending}, {which}", [rows], whole, given, special=True)
