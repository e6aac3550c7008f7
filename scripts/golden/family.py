"""Families of golden cases: inputs, what PyTorch makes of them in two precisions, and the files that keep them."""

import json
import math

import numpy
import safetensors
import safetensors.numpy
import torch

VERSIONS = {"torch": torch.__version__, "numpy": numpy.__version__, "safetensors": safetensors.__version__}

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
