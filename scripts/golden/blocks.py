"""Golden cases of what blocks of transformers take beside attention: normalised rows, rotated pairs."""

import numpy
import torch
from torch.nn import functional


def row_norm(family):
    def layer(a, *parameters, eps, weighted, biased):
        weight = parameters[0] if weighted else None
        return functional.layer_norm(a, a.shape[-1:], weight, parameters[-1] if biased else None, eps)

    def rms(a, *parameters, eps, weighted, biased):
        return functional.rms_norm(a, a.shape[-1:], parameters[0] if weighted else None, eps)

    def gradient(centred):
        """The gradient by x of the sum of normalised rows times dy, as a function that can be differentiated once more."""
        def function(x, dy, *weight, eps, weighted, biased):
            difference = x - x.mean(-1, keepdim=True) if centred else x
            inverse = ((difference * difference).mean(-1, keepdim=True) + eps).rsqrt()
            normalised, g = difference * inverse, dy * weight[0] if weighted else dy
            first = g.mean(-1, keepdim=True) if centred else 0
            return inverse * (g - first - normalised * (g * normalised).mean(-1, keepdim=True))
        return function

    for sizes in ((7,), (5, 8), (2, 3, 4), (3, 33), (4, 1), (2, 16)):
        width, rows = sizes[-1], numpy.prod(sizes[:-1], dtype=int)
        for weighted, biased in ((False, False), (True, False), (False, True), (True, True)):
            options = {"eps": 0.1, "weighted": weighted, "biased": biased}
            name = f"{list(sizes)}" + ", weight" * weighted + ", bias" * biased
            given = [family.normal(*sizes)] + [family.normal(width) for _ in range(weighted + biased)]
            family.add("layer_norm", f"layer_norm {name}", given, layer, options, terms=int(max(width, rows)))
            if biased:
                continue
            given = [family.normal(*sizes)] + [family.normal(width) for _ in range(weighted)]
            family.add("rms_norm", f"rms_norm {name}", given, rms, options, terms=int(max(width, rows)))
            for op, centred in (("layer_norm_gradient", True), ("rms_norm_gradient", False)):
                given = [family.normal(*sizes), family.normal(*sizes)] + [family.normal(width) for _ in range(weighted)]
                family.add(op, f"{op} {name}", given, gradient(centred), options, terms=int(max(width, rows)))
    rows = numpy.array([[1.0, numpy.nan, 2.0], [3.0, 1.0, 2.0], [5.0, 5.0, 5.0]], dtype=numpy.float32)
    options = {"eps": 0.1, "weighted": False, "biased": False}
    family.add("layer_norm", "layer_norm with NaN and equals", [rows], layer, options, terms=3, special=True)
    family.add("rms_norm", "rms_norm with NaN and equals", [rows], rms, options, terms=3, special=True)


def rotary(family):
    def half(x, cosine, sine, interleaved):
        """As transformers' Llama has it: the second half of the rotated elements, negated, before the first."""
        pairs = cosine.shape[1]
        rotated, others = x[..., :2 * pairs], x[..., 2 * pairs:]
        turned = torch.cat([-rotated[..., pairs:], rotated[..., :pairs]], -1)
        cosine, sine = (torch.cat([table, table], -1)[None, :, None, :] for table in (cosine, sine))
        return torch.cat([rotated * cosine + turned * sine, others], -1)

    def neighbours(x, cosine, sine, interleaved):
        """As the authors of Llama have it: products of complex numbers."""
        pairs = cosine.shape[1]
        numbers = torch.view_as_complex(x[..., :2 * pairs].reshape(*x.shape[:-1], pairs, 2).contiguous())
        turned = numbers * torch.complex(cosine, sine)[None, :, None, :]
        return torch.cat([torch.view_as_real(turned).flatten(-2), x[..., 2 * pairs:]], -1)

    for sizes, pairs in (((1, 2, 1, 2), 1), ((2, 3, 2, 8), 4), ((2, 3, 2, 7), 2), ((1, 5, 3, 6), 3)):
        for interleaved, function in ((False, half), (True, neighbours)):
            given = [family.normal(*sizes), family.normal(sizes[1], pairs), family.normal(sizes[1], pairs)]
            terms = [2, 2, 2 * sizes[0] * sizes[2], 2 * sizes[0] * sizes[2]]
            family.add("rotary", f"rotary {list(sizes)}, {pairs} pairs{', interleaved' * interleaved}", given, function,
                       {"interleaved": interleaved}, terms=terms)
