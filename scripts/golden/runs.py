"""Golden runs of small models: losses and weights over steps."""

import json
import math

import numpy
import torch
from torch.nn import functional

from .family import VERSIONS, safetensors_bytes

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
