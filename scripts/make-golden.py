#!/usr/bin/env python3
"""Makes tests/golden: values and gradients of every operator, by PyTorch, in f64 and in f32.

Needs torch, numpy and safetensors. Usage: scripts/make-golden.py [folder]   (default: tests/golden)

Each family of operators is a pair of files. <family>.json lists the cases, one a line. The numbers lie in
<family>.safetensors, one case after the other in four long tensors, because a tensor per array would need more
bytes for its name than for its numbers:
  given_f32, given_u32           the inputs in order (i32 as their bits), then the weights r if there are gradients
  reference_f64, reference_f32   the result y, then the gradient of sum(y * r) by each input in "gradients"

A case's "terms" are the lengths of the longest sums behind each reference (1: none), its "magnitudes" the largest
sum of the absolute values of those terms: what a bound on rounding errors is made of.
The same versions on the same kind of processor give the same bytes (but for the order of the metadata); the versions
are in the files' metadata. On another kind PyTorch takes other code for exp, tanh, products and convolutions, whose last
bits differ (seen between an AMD EPYC and an Intel Xeon, both with AVX-512).
"""

import itertools
import json
import math
import pathlib
import sys

import numpy
import safetensors
import safetensors.numpy
import torch
from torch.nn import functional

VERSIONS = {"torch": torch.__version__, "numpy": numpy.__version__, "safetensors": safetensors.__version__}
SPECIAL = numpy.array([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-30, 1e4, -1e4], dtype=numpy.float32)


PACKS = {"given_f32": numpy.float32, "given_u32": numpy.uint32, "reference_f64": numpy.float64, "reference_f32": numpy.float32}


class Family:
    """The cases of one family, in order."""

    def __init__(self, name, seed):
        self.name = name
        self.cases = []
        self.random = numpy.random.Generator(numpy.random.PCG64(seed))
        self.packs = {key: [numpy.zeros(0, dtype)] for key, dtype in PACKS.items()}

    def normal(self, *shape):
        return (self.random.standard_normal(shape) * 1.2).astype(numpy.float32)

    def positive(self, *shape):
        return self.random.uniform(0.3, 3.0, shape).astype(numpy.float32)

    def indices(self, below, *shape):
        return self.random.integers(0, below, shape).astype(numpy.uint32)

    def add(self, op, name, inputs, function, attributes=None, gradients=None, terms=None, linear=False, special=False):
        """Runs `function` on the inputs in both precisions and keeps what comes out.

        gradients: places of inputs to differentiate by; all of f32 if not given. terms: see above; one number
        stands for all references. linear: in each of the inputs, so that absolute inputs give sums of absolutes.
        """
        # As f32 holds them, so that every precision starts from the same numbers.
        attributes = {key: float(numpy.float32(value)) if isinstance(value, float) else value for key, value in (attributes or {}).items()}
        if gradients is None:
            gradients = [] if special else [place for place, value in enumerate(inputs) if value.dtype == numpy.float32]

        def run(dtype, weights, absolute=False):
            tensors = []
            for place, value in enumerate(inputs):
                if value.dtype == numpy.float32:
                    tensor = torch.tensor(numpy.abs(value) if absolute else value, dtype=dtype)
                    tensor.requires_grad_(place in gradients)
                else:
                    tensor = torch.tensor(value.astype(numpy.int64))
                tensors.append(tensor)
            y = function(*tensors, **attributes)
            results = [y.detach()]
            if gradients:
                factor = torch.tensor(numpy.abs(weights) if absolute else weights, dtype=dtype)
                results += torch.autograd.grad((y * factor).sum(), [tensors[place] for place in gradients])
            return results

        plain = [torch.tensor(value if value.dtype == numpy.float32 else value.astype(numpy.int64)) for value in inputs]
        shape = tuple(function(*plain, **attributes).shape)
        weights = (self.random.standard_normal(shape)).astype(numpy.float32) if gradients else None
        double, floats = run(torch.float64, weights), run(torch.float32, weights)

        def largest(values):
            flat = numpy.concatenate([numpy.zeros(1), *(numpy.abs(numpy.asarray(value, dtype=numpy.float64)).ravel() for value in values)])
            return float(flat[numpy.isfinite(flat)].max())

        if linear:
            magnitudes = [largest([result]) for result in run(torch.float64, weights, absolute=True)]
        else:
            size = max(1.0, largest([value for value in inputs if value.dtype == numpy.float32]),
                       *[abs(v) for v in attributes.values() if isinstance(v, float) and math.isfinite(v)])
            # A reference that sums n gradients, as that of a broadcast input does, has n times the terms.
            repeats = [double[0].numel() / max(1, inputs[place].size) for place in gradients]
            magnitudes = [max(size, largest([double[0]]))]
            magnitudes += [max(largest([g]), largest([weights]) * size * max(1.0, n)) for g, n in zip(double[1:], repeats)]
        if not isinstance(terms, list):
            terms = [terms or 1] * len(double)
        assert len(terms) == len(double), name

        for value in inputs:
            pack, dtype = ("given_f32", numpy.float32) if value.dtype == numpy.float32 else ("given_u32", numpy.uint32)
            self.packs[pack].append(value.ravel().view(dtype))
        if gradients:
            self.packs["given_f32"].append(weights.ravel())
        self.packs["reference_f64"] += [result.to(torch.float64).numpy().ravel() for result in double]
        self.packs["reference_f32"] += [result.to(torch.float32).numpy().ravel() for result in floats]
        assert all(value.size <= 200 for value in inputs), name
        self.cases.append({
            "op": op, "name": name, "inputs": [[str(value.dtype).replace("float", "f").replace("uint", "u").replace("int", "i"),
                                                list(value.shape)] for value in inputs],
            "attributes": {key: str(v) if isinstance(v, float) and math.isinf(v) else v for key, v in attributes.items()},
            "output": list(shape), "gradients": gradients, "special": special,
            "terms": terms, "magnitudes": [float(f"{m:.4g}") for m in magnitudes],
        })

    def write(self, folder):
        tensors = {key: numpy.concatenate(parts).astype(PACKS[key]) for key, parts in self.packs.items()}
        (folder / f"{self.name}.safetensors").write_bytes(safetensors_bytes(tensors))
        lines = ",\n".join(json.dumps(case) for case in self.cases)
        (folder / f"{self.name}.json").write_text(f"[\n{lines}\n]\n")


def safetensors_bytes(tensors):
    """The file by hand: safetensors' own writer keeps metadata in a hash map, in another order each time."""
    dtypes = {numpy.dtype("float32"): "F32", numpy.dtype("float64"): "F64", numpy.dtype("uint32"): "U32", numpy.dtype("int64"): "I64"}
    header, data = {"__metadata__": dict(sorted(VERSIONS.items()))}, b""
    # The widest first, so that all lie aligned.
    for name, value in sorted(tensors.items(), key=lambda item: (-item[1].itemsize, item[0])):
        start, data = len(data), data + numpy.ascontiguousarray(value).tobytes()
        header[name] = {"dtype": dtypes[value.dtype], "shape": list(value.shape), "data_offsets": [start, len(data)]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    content = len(text).to_bytes(8, "little") + text + data
    assert set(safetensors.numpy.load(content)) == set(tensors)
    return content


def softplus(a):
    """log(1 + e^a) itself; torch's softplus replaces it by a beyond 20."""
    return torch.logaddexp(a, torch.zeros_like(a))


def sign(a):
    """torch's sign of NaN is 0; here NaN is kept."""
    return torch.where(torch.isnan(a), a, torch.sign(a))


UNARY = {
    "negate": torch.neg, "abs": torch.abs, "sign": sign, "floor": torch.floor, "exp": torch.exp,
    "log": torch.log, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "sin": torch.sin, "cos": torch.cos,
    "erf": torch.erf, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu, "gelu": functional.gelu,
    "gelu_tanh": lambda a: functional.gelu(a, approximate="tanh"), "silu": functional.silu, "softplus": softplus,
    "contiguous": lambda a: a.clone(),
}
BINARY = {
    "add": torch.add, "subtract": torch.subtract, "multiply": torch.multiply, "divide": torch.divide,
    "minimum": torch.minimum, "maximum": torch.maximum, "pow": torch.pow,
}
COMPARE = {
    "less": torch.lt, "less_equal": torch.le, "greater": torch.gt, "greater_equal": torch.ge,
    "equal": torch.eq, "not_equal": torch.ne,
}
NO_GRADIENT = ("sign", "floor")
POSITIVE = ("log", "sqrt", "rsqrt")
# Shapes broadcast against each other, and how many elements meet in one gradient.
BROADCASTS = [((2, 3), (3,), [1, 1, 2]), ((4, 1), (1, 3), [1, 3, 4]), ((), (2, 2), [1, 4, 1]), ((2, 1, 3), (2, 1), [1, 2, 6])]


def elementwise(family):
    for op, function in UNARY.items():
        make = family.positive if op in POSITIVE else family.normal
        gradients = [] if op in NO_GRADIENT else None
        for shape in ((12,), (2, 3, 2)):
            family.add(op, f"{op} {list(shape)}", [make(*shape)], function, gradients=gradients)
        if op not in NO_GRADIENT + POSITIVE:
            corners = numpy.array([0.0, 1.0, -1.0, 0.5, -0.5, 3.0, -3.0, 0.125, -0.125, 2.5, -2.5], dtype=numpy.float32)
            family.add(op, f"{op} at round numbers", [corners], function)
        family.add(op, f"{op} of special values", [SPECIAL], function, special=True)

    for op, function in BINARY.items():
        make = family.positive if op in ("pow", "divide") else family.normal
        family.add(op, f"{op} [2, 5]", [make(2, 5), make(2, 5)], function)
        for left, right, terms in BROADCASTS:
            family.add(op, f"{op} {list(left)} and {list(right)}", [make(*left), make(*right)], function, terms=terms)
        family.add(op, f"{op} of special values", [SPECIAL.reshape(8, 1), SPECIAL.reshape(1, 8)], function, special=True)
    for op in ("minimum", "maximum"):
        ties = [numpy.array(v, dtype=numpy.float32) for v in ([1.0, 2.0, -3.0, 0.0, 0.5], [1.0, 1.0, -3.0, 0.0, 0.75])]
        family.add(op, f"{op} with ties", ties, BINARY[op])
    bases, exponents = [numpy.array(v, dtype=numpy.float32) for v in ([0.0, -2.0, -1.5, 2.0, 0.0], [2.0, 3.0, 2.0, -2.0, 1.0])]
    family.add("pow", "pow of zero and negative bases", [bases, exponents], torch.pow, gradients=[0])
    family.add("pow", "pow to the zeroth of zero", [numpy.zeros(1, numpy.float32), numpy.zeros(1, numpy.float32)], torch.pow)
    family.add("divide", "divide by negative numbers", [family.normal(6), -family.positive(6)], torch.divide)

    def whole(operation, bits):
        """Arithmetic modulo 2^32 on the bits of u32 or i32."""
        def function(a, b):
            result = operation(a, b) & 0xFFFFFFFF
            return result if bits == "u" else torch.where(result >= 1 << 31, result - (1 << 32), result)
        return function

    u32 = [numpy.array(v, dtype=numpy.uint32) for v in ([0, 1, 7, 4294967295, 65536, 12], [5, 1, 3, 2, 65537, 4294967290])]
    i32 = [numpy.array(v, dtype=numpy.int32) for v in ([0, -1, 7, 2147483647, -65536, 12], [5, 1, -3, 2, 65537, -12])]
    for pair, kind in ((u32, "u"), (i32, "i")):
        for op in ("add", "subtract", "multiply", "minimum", "maximum"):
            family.add(op, f"{op} of {kind}32", pair, whole(BINARY[op], kind), gradients=[])
        for op, function in COMPARE.items():
            family.add(op, f"{op} of {kind}32", pair, function, gradients=[])
        family.add("contiguous", f"contiguous of {kind}32", pair[:1], torch.clone, gradients=[])
        family.add("to_f32", f"to_f32 of {kind}32", [pair[0]], lambda a: a.to(torch.float64), gradients=[])
        mask = numpy.array([1, 0, 1, 0, 7, 0], dtype=numpy.uint32)
        family.add("select", f"select of {kind}32", [mask, *pair], lambda m, a, b: torch.where(m != 0, a, b), gradients=[])
    family.add("to_i32", "to_i32 of u32", [u32[0][[0, 1, 2, 4]]], torch.clone, gradients=[])
    family.add("to_u32", "to_u32 of i32", [i32[0][[0, 2, 3]]], torch.clone, gradients=[])
    numbers = numpy.array([0.0, 0.99, 1.5, 2.5, 1e6, 7.0], dtype=numpy.float32)
    family.add("to_u32", "to_u32 of f32", [numbers], lambda a: a.to(torch.int64), gradients=[])
    family.add("to_i32", "to_i32 of f32", [numpy.concatenate([numbers, -numbers])], lambda a: a.to(torch.int64), gradients=[])
    family.add("to_f32", "to_f32 of f32", [family.normal(5)], torch.clone)

    for op, function in COMPARE.items():
        rounded = numpy.round(family.normal(3, 4))
        family.add(op, f"{op} [3, 4] and [4]", [rounded, numpy.round(family.normal(4))], function, gradients=[])
        family.add(op, f"{op} of special values", [SPECIAL.reshape(8, 1), SPECIAL.reshape(1, 8)], function, special=True)

    def select(mask, a, b):
        return torch.where(mask != 0, a, b)

    family.add("select", "select [2, 5]", [family.indices(3, 2, 5), family.normal(2, 5), family.normal(2, 5)], select)
    family.add("select", "select broadcast", [family.indices(2, 4, 1), family.normal(3), family.normal(4, 3)], select, terms=[1, 4, 1])
    family.add("select", "select of special values", [family.indices(2, 8), SPECIAL, SPECIAL[::-1].copy()], select, special=True)

    limits = numpy.array([-1.0, 1.0, 0.0, -2.0, 0.25, 2.0], dtype=numpy.float32)
    for low, high in ((-1.0, 1.0), (0.0, 6.0), (-0.3, 0.1)):
        for name, value in (("[2, 6]", family.normal(2, 6)), ("at the limits", limits)):
            family.add("clamp", f"clamp {name} to {low} and {high}", [value], torch.clamp, {"min": low, "max": high})
    family.add("clamp", "clamp of special values", [SPECIAL], torch.clamp, {"min": -1.0, "max": 2.0}, special=True)
    bounds = [family.normal(3, 4), -family.positive(4), family.positive(3, 1)]
    family.add("clamp", "clamp between tensors", bounds, torch.clamp, gradients=[0])
    for slope in (0.01, 0.2, 1.5):
        for name, value in (("[2, 6]", family.normal(2, 6)), ("at round numbers", limits)):
            family.add("leaky_relu", f"leaky_relu {name} by {slope}", [value],
                       lambda a, slope: functional.leaky_relu(a, slope), {"slope": slope})
    family.add("leaky_relu", "leaky_relu of special values", [SPECIAL],
               lambda a, slope: functional.leaky_relu(a, slope), {"slope": 0.01}, special=True)
    for alpha in (1.0, 0.5, 2.0):
        near = numpy.array([1e-3, -1e-3, -0.2, -0.3, -6.0, -20.0], dtype=numpy.float32)
        for name, value in (("[2, 6]", family.normal(2, 6)), ("near zero", near), ("at round numbers", limits)):
            family.add("elu", f"elu {name} by {alpha}", [value], functional.elu, {"alpha": alpha})
    family.add("elu", "elu of special values", [SPECIAL], functional.elu, {"alpha": 1.0}, special=True)


def shape(family):
    for source, target in (((2, 6), (3, 4)), ((2, 3, 2), (12,)), ((6,), (1, 2, 1, 3)), ((1,), ())):
        family.add("reshape", f"reshape {list(source)} to {list(target)}", [family.normal(*source)],
                   lambda a, to: a.reshape(to), {"to": list(target)})
    for order in [*itertools.permutations(range(3)), (1, 0), (0, 2, 1, 3), (3, 1, 0, 2)]:
        sizes = (2, 3, 4, 2)[:len(order)]
        family.add("permute", f"permute {list(sizes)} by {list(order)}", [family.normal(*sizes)],
                   lambda a, order: a.permute(order), {"order": list(order)})
    for source, target in (((3,), (2, 3)), ((2, 1), (2, 4)), ((), (5,)), ((1, 3, 1), (2, 4, 3, 2)), ((2, 3), (2, 3))):
        terms = math.prod(target) // math.prod(source)
        family.add("broadcast", f"broadcast {list(source)} to {list(target)}", [family.normal(*source)],
                   lambda a, to: a.broadcast_to(to), {"to": list(target)}, terms=[1, terms], linear=True)

    def block(a, starts, sizes):
        return a[tuple(slice(start, start + size) for start, size in zip(starts, sizes))]

    for source, starts, sizes in (((7,), [2], [3]), ((4, 5), [1, 0], [2, 5]), ((4, 5), [0, 3], [4, 2]),
                                  ((3, 4, 2), [1, 1, 1], [2, 2, 1]), ((4, 5), [0, 0], [4, 5])):
        family.add("slice", f"slice {list(source)} from {starts} by {sizes}", [family.normal(*source)], block,
                   {"starts": starts, "sizes": sizes})

    def pad(a, around, value):
        return functional.pad(a, [amount for pair in reversed(around) for amount in pair], value=value)

    for source, around in (((4,), [[1, 2]]), ((2, 3), [[0, 1], [2, 0]]), ((2, 3), [[1, 1], [1, 1]]), ((2, 1, 3), [[1, 0], [0, 2], [3, 1]])):
        for value in (0.0, -1.7):
            family.add("pad", f"pad {list(source)} by {around} with {value}", [family.normal(*source)], pad,
                       {"around": around, "value": value})
    family.add("pad", "pad with minus infinity", [family.normal(3)], pad, {"around": [[1, 1]], "value": -math.inf}, special=True)
    for axis in range(3):
        parts = [family.normal(*[size if place == axis else (2, 3, 2)[place] for place in range(3)]) for size in (1, 2, 3)]
        family.add("concat", f"concat three along axis {axis}", parts, lambda *all, axis: torch.cat(all, axis), {"axis": axis})
    family.add("concat", "concat vectors", [family.normal(3), family.normal(4)], lambda *all, axis: torch.cat(all, axis), {"axis": 0})
    family.add("concat", "concat of u32", [family.indices(9, 2, 2), family.indices(9, 2, 1)],
               lambda *all, axis: torch.cat(all, axis), {"axis": 1})


def reduce(family):
    functions = {"sum": torch.sum, "mean": torch.mean, "sum_of_squares": lambda a, dim: (a * a).sum(dim=dim), "max": torch.amax, "min": torch.amin}
    grid = [((7,), [0])] + [((3, 4), axes) for axes in ([0], [1], [0, 1])]
    grid += [((2, 3, 4), axes) for axes in ([0], [1], [2], [0, 1], [0, 2], [1, 2], [0, 1, 2])]
    grid += [((2, 3, 2, 3), axes) for axes in ([0, 2], [1, 3], [0, 1, 3], [2])] + [((70,), [0]), ((40, 3), [0]), ((1, 5), [0])]
    for op, function in functions.items():
        for sizes, axes in grid:
            count = math.prod(sizes[axis] for axis in axes)
            linear = op in ("sum", "mean")
            family.add(op, f"{op} {list(sizes)} over {axes}", [family.normal(*sizes)], lambda a, axes: function(a, dim=axes),
                       {"axes": axes}, terms=[count if linear or op == "sum_of_squares" else 1, 1], linear=linear)
        rows = numpy.stack([SPECIAL, numpy.arange(8, dtype=numpy.float32), -SPECIAL])
        family.add(op, f"{op} with infinities", [rows], lambda a, axes: function(a, dim=axes), {"axes": [1]}, terms=8, special=True)
        rows = numpy.array([[1.0, numpy.nan, 2.0], [3.0, 1.0, 2.0], [numpy.nan, -1.0, 0.0]], dtype=numpy.float32)
        family.add(op, f"{op} with NaN", [rows], lambda a, axes: function(a, dim=axes), {"axes": [1]}, terms=3, special=True)
    ties = numpy.array([[1.0, 3.0, 3.0, -1.0], [2.0, 2.0, 2.0, 2.0], [0.0, -5.0, -5.0, -5.0]], dtype=numpy.float32)
    for op in ("max", "min"):
        for axes in ([0], [1], [0, 1]):
            family.add(op, f"{op} with ties over {axes}", [ties], lambda a, axes: functions[op](a, dim=axes), {"axes": axes})

    def place(op):
        return lambda a, axis: getattr(torch, op)(a, dim=axis)

    for op in ("argmax", "argmin"):
        for sizes in ((6,), (3, 4), (2, 3, 4)):
            for axis in range(len(sizes)):
                family.add(op, f"{op} {list(sizes)} along {axis}", [family.normal(*sizes)], place(op), {"axis": axis}, gradients=[])
        # torch leaves open which of equals it takes; the first is what it does, and what is promised here.
        family.add(op, f"{op} with ties", [ties[:2]], lambda a, axis: torch.tensor([{"argmax": 1, "argmin": 3}[op], 0]), {"axis": 1}, gradients=[])
        family.add(op, f"{op} with NaN", [rows], place(op), {"axis": 1}, special=True)


def matmul(family):
    grid = [((2, 3), (3, 4)), ((1, 5), (5, 1)), ((9, 7), (7, 5)), ((2, 3, 4), (4, 2)), ((2, 3, 4), (2, 4, 2)), ((2, 1, 3), (1, 3, 2)),
            ((3, 2), (2, 2, 3)), ((2, 1, 2, 3), (3, 3, 2)), ((2, 2, 2, 3), (2, 2, 3, 2)), ((1, 40), (40, 3)), ((17, 2), (2, 5))]
    for left, right in grid:
        result = torch.broadcast_shapes(left[:-2], right[:-2])
        repeats = [math.prod(result) // math.prod(side[:-2]) for side in (left, right)]
        terms = [left[-1], right[-1] * repeats[0], left[-2] * repeats[1]]
        family.add("matmul", f"matmul {list(left)} and {list(right)}", [family.normal(*left), family.normal(*right)],
                   torch.matmul, terms=terms, linear=True)
    for first, second in itertools.product((False, True), repeat=2):
        left = family.normal(*((2, 5, 3) if first else (2, 3, 5)))
        right = family.normal(*((2, 4, 5) if second else (2, 5, 4)))
        family.add("matmul", f"matmul transposed {first} and {second}", [left, right],
                   lambda a, b, transpose: torch.matmul(a.mT if transpose[0] else a, b.mT if transpose[1] else b),
                   {"transpose": [first, second]}, terms=[5, 4, 3], linear=True)
    left = family.normal(2, 3)
    left[0, 1] = math.nan
    family.add("matmul", "matmul with NaN", [left, family.normal(3, 2)], torch.matmul, terms=3, linear=True, special=True)


def softmax(family):
    for op, function in (("softmax", torch.softmax), ("log_softmax", torch.log_softmax)):
        for sizes in ((6,), (3, 4), (2, 3, 4), (2, 2, 3, 2), (2, 70), (4, 1)):
            for axis in range(len(sizes)):
                n = sizes[axis]
                family.add(op, f"{op} {list(sizes)} along {axis}", [family.normal(*sizes)], lambda a, axis: function(a, dim=axis),
                           {"axis": axis}, terms=n)
        wide = numpy.array([[80.0, -80.0, 79.0, 0.0], [1e4, 1e4, -1e4, 9999.0], [-1e4, -1e4, -1e4, -1e4]], dtype=numpy.float32)
        family.add(op, f"{op} of wide rows", [wide], lambda a, axis: function(a, dim=axis), {"axis": 1}, terms=4, special=True)
        rows = numpy.array([[0.0, -numpy.inf, 1.0], [numpy.nan, 0.0, 1.0], [numpy.inf, 0.0, 1.0], [-numpy.inf] * 3], dtype=numpy.float32)
        family.add(op, f"{op} with infinities", [rows], lambda a, axis: function(a, dim=axis), {"axis": 1}, terms=3, special=True)
        family.add(op, f"{op} with NaN", [rows[1:2]], lambda a, axis: function(a, dim=axis), {"axis": 1}, terms=3, special=True)


def cross_entropy(family):
    def losses(logits, targets):
        return functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1), reduction="none").reshape(targets.shape)

    def gradient(logits, targets, weights):
        """d sum(weights * losses) / d logits, as a function that can be differentiated once more."""
        one_hot = functional.one_hot(targets, logits.shape[-1]).to(logits.dtype)
        return (torch.softmax(logits, -1) - one_hot) * weights[:, None]

    for sizes in ((1, 3), (4, 5), (2, 70), (3, 1), (2, 3, 4)):
        logits, targets = family.normal(*sizes), family.indices(sizes[-1], *sizes[:-1])
        family.add("cross_entropy", f"cross_entropy {list(sizes)}", [logits, targets], losses, terms=sizes[-1])
        if len(sizes) == 2:
            family.add("cross_entropy_gradient", f"cross_entropy_gradient {list(sizes)}",
                       [logits, targets, family.normal(sizes[0])], gradient, terms=sizes[-1])
    zero = [family.normal(2, 3), family.indices(3, 2), numpy.array([0.0, 1.5], dtype=numpy.float32)]
    family.add("cross_entropy_gradient", "cross_entropy_gradient with a weight of zero", zero, gradient, terms=3)
    wide = numpy.array([[80.0, -80.0, 0.0], [1e4, -1e4, 9999.0]], dtype=numpy.float32)
    family.add("cross_entropy", "cross_entropy of wide rows", [wide, numpy.array([1, 2], dtype=numpy.uint32)], losses, terms=3, special=True)
    rows = numpy.array([[0.0, numpy.nan, 1.0], [0.0, 2.0, 1.0]], dtype=numpy.float32)
    family.add("cross_entropy", "cross_entropy with NaN", [rows, numpy.array([2, 0], dtype=numpy.uint32)], losses, terms=3, special=True)


def rows(family):
    def scatter(values, indices, vocabulary):
        return torch.zeros(vocabulary, values.shape[1], dtype=values.dtype).index_add(0, indices, values)

    repeated = numpy.array([3, 0, 3, 3, 1], dtype=numpy.uint32)
    for name, indices in (("repeated", repeated), ("one", repeated[:1]), ("of nine", family.indices(5, 9))):
        most = int(numpy.bincount(indices).max())
        family.add("gather_rows", f"gather_rows {name}", [family.normal(5, 3), indices], lambda table, i: table[i], terms=[1, most], linear=True)
        family.add("scatter_add_rows", f"scatter_add_rows {name}", [family.normal(len(indices), 3), indices], scatter,
                   {"vocabulary": 6}, terms=[most, 1], linear=True)
    batch = family.indices(4, 2, 3)
    family.add("gather_rows", "gather_rows of two dimensions", [family.normal(4, 2), batch], lambda table, i: table[i],
               terms=[1, int(numpy.bincount(batch.ravel()).max())], linear=True)


def normalise(family):
    outputs = {
        "mean": lambda a, axes, eps: a.mean(dim=axes, keepdim=True),
        "variance": lambda a, axes, eps: a.var(dim=axes, correction=0, keepdim=True),
        "inverse": lambda a, axes, eps: (a.var(dim=axes, correction=0, keepdim=True) + eps).rsqrt(),
    }
    grid = [((7,), [0]), ((40, 3), [0]), ((3, 40), [1]), ((2, 3, 4), [0, 2]), ((2, 3, 4), [1]), ((2, 3, 2, 4), [0, 2, 3])]
    for which, function in outputs.items():
        for sizes, axes in grid:
            count = math.prod(sizes[axis] for axis in axes)
            family.add("moments", f"moments {list(sizes)} over {axes}, {which}", [family.normal(*sizes)],
                       lambda a, which, axes, eps: function(a, axes, eps), {"which": which, "axes": axes, "eps": 1.0}, terms=count)
        rows = numpy.array([[1.0, numpy.nan, 2.0], [3.0, 1.0, 2.0]], dtype=numpy.float32)
        family.add("moments", f"moments with NaN, {which}", [rows], lambda a, which, axes, eps: function(a, axes, eps),
                   {"which": which, "axes": [1], "eps": 1.0}, terms=3, special=True)

    def batch(a, *parameters, eps, **_):
        return functional.batch_norm(a, None, None, *parameters, training=True, eps=eps)

    def layer(a, *parameters, eps, axes, **_):
        return functional.layer_norm(a, tuple(a.shape[axis] for axis in axes), *parameters, eps=eps)

    def instance(a, *parameters, eps, **_):
        return functional.instance_norm(a, None, None, *parameters, eps=eps)

    def group(a, *parameters, eps, groups, **_):
        return functional.group_norm(a, groups, *parameters, eps=eps)

    # What is normalised, over which axes, the parameters' shape and how it is seen, and the groups of channels.
    cases = [
        (batch, (6, 4), [0], (4,), [4], 0), (batch, (3, 4, 5), [0, 2], (4,), [4, 1], 0),
        (batch, (3, 2, 3, 4), [0, 2, 3], (2,), [2, 1, 1], 0), (batch, (2, 1), [0], (1,), [1], 0),
        (layer, (5, 7), [1], (7,), [7], 0), (layer, (2, 3, 4), [2], (4,), [4], 0), (layer, (3, 2, 5), [1, 2], (2, 5), [2, 5], 0),
        (layer, (1, 6), [1], (6,), [6], 0), (layer, (3, 1), [1], (1,), [1], 0),
        (instance, (3, 4, 5), [2], (4,), [4, 1], 0), (instance, (2, 3, 2, 4), [2, 3], (3,), [3, 1, 1], 0),
        (group, (3, 4, 5), [2, 3], (4,), [2, 2, 1], 2), (group, (2, 6, 2, 3), [2, 3], (6,), [3, 2, 1], 3),
        (group, (4, 4), [2, 3], (4,), [2, 2, 1], 2),
    ]
    for function, sizes, axes, parameter, seen, groups in cases:
        count = math.prod(sizes) // (parameter[0] if function is batch else 1)
        for affine in (False, True):
            inputs = [family.normal(*sizes)] + ([family.normal(*parameter), family.normal(*parameter)] if affine else [])
            options = {"eps": 0.1, "axes": axes, "seen": seen, "groups": groups}
            family.add("normalised", f"{function.__name__} norm {list(sizes)}{', affine' if affine else ''}", inputs, function,
                       options, terms=min(count, 40))
def pool(family):
    def largest(x, **options):
        return getattr(functional, f"max_pool{x.dim() - 2}d")(x, return_indices=True, **options)

    def even(x, output):
        return getattr(functional, f"adaptive_max_pool{x.dim() - 2}d")(x, output, return_indices=True)

    def scattered(pooling):
        """The gradient of a maximum by x, weighted, as a function that can be differentiated by the weights."""
        def gradient(x, weights, **options):
            places = pooling(x, **options)[1]
            flat = torch.zeros(*x.shape[:2], math.prod(x.shape[2:]), dtype=weights.dtype)
            return flat.scatter_add(2, places.flatten(2), weights.flatten(2)).reshape(x.shape)
        return gradient

    def mean(x, **options):
        return getattr(functional, f"avg_pool{x.dim() - 2}d")(x, **options)

    def even_mean(x, output):
        return getattr(functional, f"adaptive_avg_pool{x.dim() - 2}d")(x, output)

    def spread(pooling):
        """The gradient of a mean by x, weighted."""
        def gradient(x, weights, **options):
            x = x.detach().requires_grad_()
            return torch.autograd.grad((pooling(x, **options) * weights).sum(), x, create_graph=True)[0]
        return gradient

    def add(name, x, of_maximum, of_mean, most, pooling, mean_pooling):
        """most: the most windows over one element, and elements in one window."""
        for op, function, options in (("max_pool", pooling, of_maximum), ("average_pool", mean_pooling, of_mean)):
            if options is None:
                continue
            linear = op == "average_pool"
            result = function if linear else lambda x, **options: pooling(x, **options)[0]
            family.add(op, f"{op} {name}", [x], result, options, terms=[most[1] if linear else 1, most[0]], linear=linear)
            shape = tuple(result(torch.tensor(x), **options).shape)
            backward = spread(function) if linear else scattered(function)
            family.add(f"{op}_gradient", f"{op}_gradient {name}", [x, family.normal(*shape)], backward, options, gradients=[1],
                       terms=[most[0], most[1] if linear else 1], linear=linear)

    grid = [
        # input, kernel, stride, padding, dilation, ceil_mode
        ((2, 2, 4, 6), (2, 2), (2, 2), (0, 0), (1, 1), False),
        ((1, 1, 5, 7), (2, 2), (2, 2), (0, 0), (1, 1), False),
        ((1, 1, 5, 7), (2, 2), (2, 2), (0, 0), (1, 1), True),
        ((1, 1, 7, 8), (3, 3), (2, 2), (1, 1), (1, 1), False),
        ((1, 1, 8, 8), (3, 3), (2, 2), (1, 1), (1, 1), True),
        ((1, 1, 6, 5), (3, 4), (1, 1), (1, 2), (1, 1), False),
        ((1, 1, 9, 8), (2, 1), (4, 3), (0, 0), (1, 1), True),
        ((1, 1, 5, 3), (2, 2), (2, 2), (1, 1), (1, 1), True),
        ((1, 1, 9, 8), (3, 2), (2, 1), (1, 0), (2, 3), False),
        ((2, 3, 9), (3,), (2,), (1,), (1,), False),
        ((2, 3, 8), (3,), (3,), (0,), (1,), True),
        ((2, 3, 9), (2,), (1,), (1,), (4,), False),
    ]
    for sizes, kernel, stride, padding, dilation, ceil_mode in grid:
        common = {"kernel_size": list(kernel), "stride": list(stride), "padding": list(padding), "ceil_mode": ceil_mode}
        most = [math.prod(-(-((k - 1) * d + 1) // s) for k, d, s in zip(kernel, dilation, stride)), math.prod(kernel)]
        x = family.normal(*sizes)
        name = f"{list(sizes)} by {list(kernel)}, {list(stride)}, {list(padding)}, {list(dilation)}, {ceil_mode}"
        plain = all(d == 1 for d in dilation)
        means = [{**common, "count_include_pad": include} for include in (True, False)] if plain else []
        if plain and len(sizes) == 4:
            means.append({**common, "divisor_override": 5})
        for number, of_mean in enumerate(means or [None]):
            of_maximum = {**common, "dilation": list(dilation)} if number == 0 else None
            add(f"{name}, {number}", x, of_maximum, of_mean, most, largest, mean)
    for sizes, output in (((2, 2, 6, 8), (3, 2)), ((1, 1, 7, 10), (3, 4)), ((1, 2, 2, 3), (5, 4)), ((2, 3, 5, 4), (1, 3)), ((2, 3, 7), (3,)), ((2, 2, 3), (4,))):
        most = [math.prod(-(-o // i) + 1 for i, o in zip(sizes[2:], output)), math.prod(-(-i // o) + 1 for i, o in zip(sizes[2:], output))]
        options = {"output": list(output)}
        add(f"{list(sizes)} to {list(output)}", family.normal(*sizes), options, options, most, even, even_mean)
    ties = numpy.round(family.normal(1, 1, 6, 7))
    for stride in (1, 2):
        options = {"kernel_size": [3, 3], "stride": [stride] * 2, "padding": [1, 1], "dilation": [1, 1], "ceil_mode": False}
        add(f"with equals, {stride}", ties, options, None, [9, 9], largest, mean)
    add("with equals, adaptive", ties, {"output": [4, 3]}, None, [4, 9], even, even_mean)
    special = family.normal(1, 1, 6, 8)
    special.ravel()[[3, 11, 20, 29, 30]] = [math.nan, math.inf, -math.inf, math.nan, math.nan]
    special[0, 0, 4:, :3] = -math.inf
    options = {"kernel_size": [2, 3], "stride": [2, 2], "padding": [1, 1], "ceil_mode": False}
    family.add("max_pool", "max_pool with NaN", [special], lambda x, **options: largest(x, **options)[0], {**options, "dilation": [1, 1]}, special=True)
    family.add("average_pool", "average_pool with NaN", [special], mean, {**options, "count_include_pad": True}, terms=6, special=True)


def losses(family):
    def squares(output, targets, reduction):
        return functional.mse_loss(output, functional.one_hot(targets, output.shape[1]).to(output.dtype), reduction=reduction)

    def reduced(function):
        """The mean over all elements, or over those of each row."""
        def loss(output, targets, rows, **options):
            if not rows:
                return function(output, targets, reduction="mean", **options)
            elements = function(output, targets, reduction="none", **options)
            return elements.reshape(len(elements), -1).mean(1)
        return loss

    for rows in (False, True):
        name = "per row" if rows else "mean"
        for count, classes in ((4, 3), (7, 10)):
            given = [family.normal(count, classes), family.indices(classes, count)]
            for op, function in (("cross_entropy", functional.cross_entropy), ("mse_one_hot", squares)):
                family.add(f"loss/{op}", f"{op} {name} [{count}, {classes}]", given, reduced(function), {"rows": rows},
                           terms=[count * classes, classes])
        for sizes in ((5, 1), (3, 4), (2, 3, 2)):
            n = math.prod(sizes)
            output, targets = family.normal(*sizes), family.normal(*sizes)
            for op, function in (("mse", functional.mse_loss), ("l1", functional.l1_loss)):
                family.add(f"loss/{op}", f"{op} {name} {list(sizes)}", [output, targets], reduced(function), {"rows": rows}, terms=[n, 1, 1])
            for delta in (0.5, 1.0):
                family.add("loss/huber", f"huber {name} {list(sizes)} by {delta}", [output, targets],
                           reduced(functional.huber_loss), {"rows": rows, "delta": delta}, terms=[n, 1, 1])
            for kind, goal in (("parts", family.random.uniform(0, 1, sizes).astype(numpy.float32)),
                               ("classes", family.indices(2, *sizes).astype(numpy.float32))):
                family.add("loss/binary_cross_entropy", f"binary_cross_entropy {name} {list(sizes)} of {kind}", [3 * output, goal],
                           reduced(functional.binary_cross_entropy_with_logits), {"rows": rows}, gradients=[0], terms=[n, 1])
    corners = [numpy.array([[1.0, 0.5, -0.5, -1.0, 0.0]], dtype=numpy.float32), numpy.zeros((1, 5), numpy.float32)]
    for delta in (0.5, 1.0):
        family.add("loss/huber", f"huber at its corners by {delta}", corners, reduced(functional.huber_loss), {"rows": False, "delta": delta}, terms=[5, 1, 1])
    family.add("loss/l1", "l1 of equals", corners, reduced(functional.l1_loss), {"rows": False}, terms=[5, 1, 1])
    wide = [numpy.array([[1e4, -1e4, 80.0, -80.0, 0.0]], dtype=numpy.float32), numpy.array([[1.0, 0.0, 0.0, 1.0, 1.0]], dtype=numpy.float32)]
    family.add("loss/binary_cross_entropy", "binary_cross_entropy of wide logits", wide,
               reduced(functional.binary_cross_entropy_with_logits), {"rows": False}, terms=5, special=True)


def convolution(family):
    def padded(x, padding):
        return functional.pad(x, padding[2:] + padding[:2] if x.dim() == 4 else padding[2:])

    def forward(x, weight, stride, padding, dilation, groups):
        if x.dim() == 3:
            return functional.conv1d(padded(x, padding), weight, None, stride[1], 0, dilation[1], groups[0])
        return functional.conv2d(padded(x, padding), weight, None, stride, 0, dilation, groups[0])

    def transposed(x, weight, stride, padding, dilation, groups, output_padding):
        # PyTorch takes the same padding before and after.
        if x.dim() == 3:
            return functional.conv_transpose1d(x, weight, None, stride[1], padding[2], output_padding[1], groups[0], dilation[1])
        return functional.conv_transpose2d(x, weight, None, stride, (padding[0], padding[2]), output_padding, groups[0], dilation)

    def by_weight(x, dy, weight, **options):
        weight = weight.detach().requires_grad_()
        y = forward(x, weight, **options)
        return torch.autograd.grad((y * dy).sum(), weight, create_graph=True)[0]

    def options(stride=(1, 1), padding=(0, 0, 0, 0), dilation=(1, 1), groups=1):
        return {"stride": list(stride), "padding": list(padding), "dilation": list(dilation), "groups": [groups]}

    def terms(x, weight, y, groups):
        outputs, kernel, area = weight.shape[0] // groups, math.prod(weight.shape[2:]), math.prod(y.shape[2:])
        return [weight.shape[1] * kernel, outputs * kernel, x.shape[0] * area]

    grid = [((2, 3, 5, 6), (4, 3, 3, 2), options()), ((1, 2, 6, 5), (3, 2, 3, 3), options(padding=(1, 1, 1, 1))),
            ((2, 2, 7, 6), (3, 2, 3, 3), options((2, 2), (1, 1, 1, 1))), ((2, 5, 3, 4), (3, 5, 1, 1), options()),
            ((2, 5, 3, 4), (3, 5, 1, 1), options((2, 3))), ((1, 2, 7, 8), (3, 2, 3, 2), options(dilation=(2, 3))),
            ((1, 3, 6, 5), (2, 3, 3, 3), options((2, 1), (0, 2, 3, 1), (1, 2))),
            ((1, 4, 4, 5), (6, 2, 3, 2), options(padding=(1, 1, 0, 1), groups=2)),
            ((2, 3, 5, 6), (3, 1, 3, 3), options(padding=(1, 1, 1, 1), groups=3)),
            ((1, 3, 7, 6), (6, 1, 3, 3), options((2, 2), (1, 1, 1, 1), groups=3)),
            ((2, 1, 5, 5), (4, 1, 3, 3), options(padding=(1, 1, 1, 1))),
            ((1, 2, 2, 3), (2, 2, 4, 5), options(padding=(1, 2, 2, 1)))]
    for sizes, kernel, how in grid:
        name, groups = f"{list(sizes)} by {list(kernel)}", how["groups"][0]
        x, weight = family.normal(*sizes), family.normal(*kernel)
        y = forward(torch.tensor(x), torch.tensor(weight), **how)
        counts = terms(x, weight, y, groups)
        family.add("convolution", f"convolution of {name}", [x, weight], forward, how, terms=counts, linear=True)
        inputs = [x, family.normal(*y.shape), weight]
        # dw, then its gradients by x and by dy, which are sums over the weight's kernel.
        family.add("convolution_weight_gradient", f"weight gradient of {name}", inputs, by_weight, how, gradients=[0, 1],
                   terms=[counts[2], counts[1], counts[0]], linear=True)
    rows = [((2, 3, 9), (4, 3, 3), options()), ((2, 2, 10), (4, 1, 4), options((1, 3), (0, 0, 2, 1), (1, 2), 2))]
    for sizes, kernel, how in rows:
        x, weight = family.normal(*sizes), family.normal(*kernel)
        y = forward(torch.tensor(x), torch.tensor(weight), **how)
        family.add("convolution", f"convolution of {list(sizes)} by {list(kernel)}", [x, weight], forward, how,
                   terms=terms(x, weight, y, how["groups"][0]), linear=True)
    grid = [((2, 3, 3, 4), (3, 4, 3, 2), options(), (0, 0)), ((1, 4, 3, 3), (4, 2, 3, 3), options((2, 2), (1, 1, 1, 1)), (1, 1)),
            ((1, 4, 3, 2), (4, 3, 2, 3), options((3, 2), (1, 1, 0, 0), (1, 2), 2), (2, 0)),
            ((2, 3, 4, 3), (3, 2, 3, 3), options((2, 2), (1, 1, 1, 1), groups=3), (0, 1)),
            ((2, 3, 5), (3, 4, 3), options(), (0, 0)), ((2, 4, 4), (4, 1, 4), options((1, 3), (0, 0, 1, 1), groups=2), (0, 2))]
    for sizes, kernel, how, more in grid:
        x, weight = family.normal(*sizes), family.normal(*kernel)
        how = {**how, "output_padding": list(more)}
        y = transposed(torch.tensor(x), torch.tensor(weight), **how)
        inputs, outputs, field = sizes[1] // how["groups"][0], kernel[1], math.prod(kernel[2:])
        counts = [inputs * field, outputs * field, sizes[0] * math.prod(sizes[2:])]
        family.add("convolution_input_gradient", f"transposed convolution of {list(sizes)} by {list(kernel)}", [x, weight], transposed,
                   how, terms=counts, linear=True)


def philox(counter, key):
    """Philox 4x32-10 of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011."""
    counter, key = list(counter), list(key)
    for _ in range(10):
        first, second = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [(second >> 32) ^ counter[1] ^ key[0], second & 0xFFFFFFFF, (first >> 32) ^ counter[3] ^ key[1], first & 0xFFFFFFFF]
        key = [(key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return counter


def random(family):
    # The known answers of the authors' Random123 library, file kat_vectors.
    assert philox([0] * 4, [0] * 2) == [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
    assert philox([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2) == [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]
    assert philox([0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344], [0xA4093822, 0x299F31D0]) == [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1]
    for seed, step, stream, count in ((0, 0, 0, 4), (1, 2, 3, 10), (0xFFFFFFFF, 7, 0xFFFFFFFE, 33), (0x243F6A88, 0x85A308D3, 9, 6)):
        words = [word for block in range(-(-count // 4)) for word in philox([block, step, 0, 0], [seed, stream])][:count]
        uniform = torch.tensor([(word >> 8) / 2**24 for word in words], dtype=torch.float64)
        family.add("unit_interval", f"random seed {seed} step {step} stream {stream}", [], lambda **_: uniform,
                   {"seed": seed, "step": step, "stream": stream})


def mlp(folder):
    """The losses of fifty steps of SGD with momentum, and all that is needed to run them again."""
    random = numpy.random.Generator(numpy.random.PCG64(77))
    sizes, batch, steps, rate, momentum = [12, 16, 8, 5], 32, 50, float(numpy.float32(0.1)), float(numpy.float32(0.9))
    x = random.standard_normal((256, 12)).astype(numpy.float32)
    y = random.integers(0, 5, 256).astype(numpy.int64)
    weights = {}
    for place, (inputs, outputs) in enumerate(zip(sizes, sizes[1:])):
        limit = 1 / math.sqrt(inputs)
        weights[f"{2 * place}.weight"] = random.uniform(-limit, limit, (outputs, inputs)).astype(numpy.float32)
        weights[f"{2 * place}.bias"] = random.uniform(-limit, limit, outputs).astype(numpy.float32)

    def curve(dtype):
        layers = [torch.nn.Linear(12, 16), torch.nn.Tanh(), torch.nn.Linear(16, 8), torch.nn.Tanh(), torch.nn.Linear(8, 5)]
        model = torch.nn.Sequential(*layers).to(dtype)
        model.load_state_dict({name: torch.tensor(value, dtype=dtype) for name, value in weights.items()})
        optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum)
        losses = []
        for step in range(steps):
            part = slice(step * batch % 256, step * batch % 256 + batch)
            loss = functional.cross_entropy(model(torch.tensor(x[part], dtype=dtype)), torch.tensor(y[part]))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        return losses

    folder.mkdir(parents=True, exist_ok=True)
    numpy.save(folder / "x.npy", x)
    numpy.save(folder / "y.npy", y)
    (folder / "model.safetensors").write_bytes(safetensors_bytes(weights))
    about = {"sizes": sizes, "activation": "tanh", "batch_size": batch, "steps": steps, "lr": rate, "momentum": momentum}
    text = json.dumps({**about, "versions": VERSIONS, "f64": curve(torch.float64), "f32": curve(torch.float32)}, indent=1)
    (folder / "losses.json").write_text(text + "\n")


def batch_norm(folder):
    """Three steps of a net with batch norms: its tensors before and after, and what it then makes of the inputs."""
    random = numpy.random.Generator(numpy.random.PCG64(78))
    x, y = random.standard_normal((24, 2, 3, 4)).astype(numpy.float32), random.standard_normal((24, 2)).astype(numpy.float32)
    x[:, 1] = 2 * x[:, 1] + 5
    layers = [torch.nn.BatchNorm2d(2), torch.nn.Flatten(), torch.nn.Linear(24, 5), torch.nn.BatchNorm1d(5), torch.nn.Tanh(), torch.nn.Linear(5, 2)]
    model = torch.nn.Sequential(*layers).to(torch.float64)
    for name, tensor in model.state_dict().items():
        if tensor.dtype == torch.float64 and not name.endswith("running_var"):
            tensor.copy_(torch.tensor((0.4 * random.standard_normal(tuple(tensor.shape)) + name.endswith("0.weight")).astype(numpy.float32)))

    def tensors():
        # As numbers of steps are whole, torch saves them as such.
        return {name: value.numpy().astype(numpy.int64 if value.dtype == torch.int64 else numpy.float32) for name, value in model.state_dict().items()}

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "before.safetensors").write_bytes(safetensors_bytes(tensors()))
    optimizer = torch.optim.SGD(model.parameters(), lr=float(numpy.float32(0.1)), momentum=float(numpy.float32(0.9)))
    for step in range(3):
        part = slice(8 * step, 8 * step + 8)
        loss = functional.mse_loss(model(torch.tensor(x[part], dtype=torch.float64)), torch.tensor(y[part], dtype=torch.float64))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    (folder / "after.safetensors").write_bytes(safetensors_bytes(tensors()))
    output = model.eval()(torch.tensor(x, dtype=torch.float64)).detach().numpy().astype(numpy.float32)
    (folder / "data.safetensors").write_bytes(safetensors_bytes({"x": x, "y": y, "output": output}))


def resample(family):
    def resized(a, size=None, factor=None, mode="nearest", corners=False):
        axes = a.dim() - 2
        names = {"nearest": "nearest", "linear": "linear" if axes == 1 else "bilinear"}
        more = {"align_corners": corners} if mode == "linear" else {}
        return functional.interpolate(a, size=size, scale_factor=factor, mode=names[mode], **more)

    extents = [((2, 3, 4), [8]), ((1, 2, 7), [3]), ((2, 1, 5), [5]), ((1, 2, 1), [4]), ((1, 2, 6), [1]),
               ((2, 2, 3, 4), [6, 8]), ((1, 2, 5, 4), [3, 9]), ((1, 1, 4, 3), [2, 3]), ((2, 1, 1, 5), [4, 2])]
    factors = [((1, 2, 5), [2.0]), ((1, 2, 9), [0.5]), ((2, 2, 3, 4), [2.0, 2.0]), ((1, 2, 6, 5), [1.5, 0.75]),
               ((1, 1, 7, 4), [1.3, 3.0]), ((1, 1, 10, 3), [1.05, 2.0]), ((1, 1, 4, 10), [0.5, 1.05])]
    for mode, corners in (("nearest", False), ("linear", False), ("linear", True)):
        about = {"mode": mode, "corners": corners}
        name = mode + (", corners aligned" if corners else "")
        for key, cases in (("size", extents), ("factor", factors)):
            for sizes, extent in cases:
                # The most results that one input takes part in, along each axis.
                factor = [e if key == "factor" else e / s for e, s in zip(extent, sizes[2:])]
                whole = [e if key == "size" else math.floor(s * e) for e, s in zip(extent, sizes[2:])]
                if whole == list(sizes[2:]) and key == "size":
                    continue
                terms = math.prod(min(w, math.ceil((1 if mode == "nearest" else 2) * f) + 1) for w, f in zip(whole, factor))
                family.add("resample", f"{name}: {list(sizes)} by {key} {extent}", [family.normal(*sizes)], resized,
                           {key: extent, **about}, terms=[1 if mode == "nearest" else 2 ** len(extent), terms], linear=True)


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).parent.parent / "tests" / "golden")
    folder.mkdir(parents=True, exist_ok=True)
    # One thread, so that the order of f32 sums does not depend on the machine's cores.
    torch.set_num_threads(1)
    first = (elementwise, shape, reduce, matmul, softmax, cross_entropy, rows, losses, random)
    for seed, fill in [*enumerate(first), (9, pool), (40, normalise), (40, convolution), (300, resample)]:
        family = Family(fill.__name__, seed)
        fill(family)
        family.write(folder)
    mlp(folder / "mlp")
    batch_norm(folder / "batch_norm")


if __name__ == "__main__":
    main()
