"""Golden cases of elementwise operators, views, products, rows, losses and random numbers."""

import itertools
import math

import numpy
import torch
from torch.nn import functional

SPECIAL = numpy.array([math.nan, math.inf, -math.inf, 0.0, -0.0, 1e-30, 1e4, -1e4], dtype=numpy.float32)

def softplus(a):
    """log(1 + e^a) itself; torch's softplus replaces it by a beyond 20."""
    return torch.logaddexp(a, torch.zeros_like(a))


def sign(a):
    """torch's sign of NaN is 0; here NaN is kept."""
    return torch.where(torch.isnan(a), a, torch.sign(a))


def slope(function):
    """The derivative, itself differentiable; at the ends its limit, where torch multiplies infinity by zero."""
    def result(a):
        a = a if a.requires_grad else a.detach().requires_grad_()
        limited = a.clamp(-1000.0, 1000.0)
        return torch.autograd.grad(function(limited).sum(), limited, create_graph=True)[0]
    return result


UNARY = {
    "negate": torch.neg, "abs": torch.abs, "sign": sign, "floor": torch.floor, "exp": torch.exp,
    "log": torch.log, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "sin": torch.sin, "cos": torch.cos,
    "erf": torch.erf, "tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu, "gelu": functional.gelu,
    "gelu_tanh": lambda a: functional.gelu(a, approximate="tanh"), "silu": functional.silu, "softplus": softplus,
    "contiguous": lambda a: a.clone(),
}
SLOPES = {
    "gelu_slope": slope(functional.gelu), "silu_slope": slope(functional.silu),
    # As a sigmoid: torch's 1 + tanh cancels where the slope is nearly 0.
    "gelu_tanh_slope": slope(lambda a: a * torch.sigmoid(math.sqrt(8 / math.pi) * (a + 0.044715 * a**3))),
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

    # Last, so that the cases before keep their numbers.
    for op, function in SLOPES.items():
        family.add(op, f"{op} [3, 5]", [family.normal(3, 5)], function)
        corners = numpy.array([0.0, 1.0, -1.0, 0.5, -0.5, 3.0, -3.0, 6.0, -6.0, 9.5, -9.5], dtype=numpy.float32)
        family.add(op, f"{op} at round numbers", [corners], function)
        family.add(op, f"{op} of special values", [SPECIAL], function, special=True)

    def weighted_sum(a, factor, b, weight):
        return a * factor + b * weight

    def adam_step(a, shrink, mean, rate, square, correction, eps):
        return a * shrink - mean / (torch.sqrt(square) * correction + eps) * rate

    family.add("weighted_sum", "weighted_sum [3, 5]", [family.normal(3, 5) for _ in range(4)], weighted_sum)
    broadcast = [family.normal(4, 3), family.positive(), family.normal(4, 3), family.positive()]
    family.add("weighted_sum", "weighted_sum by numbers", broadcast, weighted_sum, terms=[1, 1, 12, 1, 12])
    numbers = [numpy.array(value, dtype=numpy.float32) for value in (0.99, 1e-3, 1.5, 1e-8)]
    shrink, rate, correction, eps = numbers
    operands = [family.normal(4, 3), shrink, family.normal(4, 3), rate, family.positive(4, 3), correction, eps]
    family.add("adam_step", "adam_step [4, 3]", operands, adam_step, gradients=[])
    small = [family.normal(5), shrink, family.normal(5) * numpy.float32(1e-6), rate,
             numpy.array([0.0, 1e-12, 1e-16, 1e-20, 1e-30], dtype=numpy.float32), correction, eps]
    family.add("adam_step", "adam_step of small squares", small, adam_step, gradients=[])


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
    family.add("detach", "detach [2, 3]", [family.normal(2, 3)], lambda a: a.detach(), gradients=[])


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
    cross_entropy_options(family)


def cross_entropy_options(family):
    """Ignored rows, smoothed targets, weights of classes: losses, their mean, and the gradient of weighted losses."""
    def losses(logits, targets, *weight, ignore_index, label_smoothing, reduction="none"):
        return functional.cross_entropy(logits, targets, weight[0] if weight else None, ignore_index=ignore_index,
                                        label_smoothing=label_smoothing, reduction=reduction)

    def mean(*inputs, **options):
        return losses(*inputs, **options, reduction="mean")

    def gradient(logits, targets, factors, *weight, ignore_index, label_smoothing):
        """d sum(factors * losses) / d logits, as a function that can be differentiated once more."""
        classes = logits.shape[-1]
        used = (targets != ignore_index).to(logits.dtype)[:, None]
        hot = functional.one_hot(torch.where(targets == ignore_index, 0, targets), classes).to(logits.dtype)
        q = (hot * (1 - label_smoothing) + label_smoothing / classes) * (weight[0] if weight else 1)
        return (torch.softmax(logits, -1) * q.sum(-1, keepdim=True) - q) * used * factors[:, None]

    for sizes, ignore_index, smoothing, weighted in (((5, 4), 2, 0.0, False), ((5, 4), 4294967295, 0.3, False), ((4, 6), 6, 0.0, True),
                                                     ((3, 7), 1, 0.1, True), ((2, 33), 9, 1.0, True), ((3, 2), 0, 0.5, False)):
        targets = family.indices(sizes[1], sizes[0])
        targets[-1], targets[0] = ignore_index, (ignore_index + 1) % sizes[1]
        weight = [family.positive(sizes[1])] if weighted else []
        options = {"ignore_index": ignore_index, "label_smoothing": smoothing}
        name = f"{list(sizes)}, ignored {ignore_index}, smoothing {smoothing}" + ", weighted" * weighted
        given = [family.normal(*sizes), targets]
        family.add("cross_entropy", f"cross_entropy {name}", given + weight, losses, options, gradients=[0], terms=sizes[1])
        family.add("loss/cross_entropy_mean", f"cross_entropy_mean {name}", given + weight, mean, options, gradients=[0],
                   terms=[math.prod(sizes), sizes[1]])
        family.add("cross_entropy_gradient", f"cross_entropy_gradient {name}", [*given, family.normal(sizes[0]), *weight], gradient,
                   options, gradients=[0, 2], terms=sizes[1])
    nothing = [family.normal(2, 3), numpy.array([1, 1], dtype=numpy.uint32)]
    family.add("loss/cross_entropy_mean", "cross_entropy_mean of ignored rows", nothing, mean,
               {"ignore_index": 1, "label_smoothing": 0.0}, terms=6, special=True)


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
