"""Golden cases of operators on pictures: normalisation, pools, convolution, resampling."""

import math

import numpy
import torch
from torch.nn import functional


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
