#!/usr/bin/env python3
"""Makes tests/golden/models: what torchvision's models are called inside and what they compute.

Needs torch, torchvision and numpy. Usage: scripts/make-golden-models.py [folder]

<name>.txt lists the tensors of a model, a line each: name and sizes. numbers.json holds for each model, whose tensors
are filled by the rule of `fill` (so that no weights need to be kept), the logits in evaluation, and the loss and the
norm of all gradients of a training step without dropout, in double precision.
"""

import json
import pathlib
import sys

import numpy
import torch
import torchvision
from torch import nn
from torchvision import models
from torchvision.models import vgg

ROWS, CLASSES = 2, 7


def fnv(name):
    value = 0x811C9DC5
    for byte in name.encode():
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def units(name, count):
    """Numbers in [0, 1), multiples of 2⁻²⁴, decided by the name."""
    x = (numpy.arange(count, dtype=numpy.uint64) * 0x9E3779B9 + fnv(name)).astype(numpy.uint32)
    for shift, factor in [(16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)]:
        x = (x ^ (x >> numpy.uint32(shift))).astype(numpy.uint64) * factor
        x = x.astype(numpy.uint32)
    return (x >> numpy.uint32(8)).astype(numpy.float64) / 2.0**24


def fill(name, shape):
    u = units(name, int(numpy.prod(shape)))
    if name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1):
        values = 0.5 + u
    elif len(shape) == 1:
        values = (u - 0.5) * 0.2
    else:
        values = (2.0 * u - 1.0) * numpy.sqrt(6.0 / numpy.prod(shape[1:]))
    return torch.tensor(values.astype(numpy.float32).reshape(shape))


class SmallVgg(vgg.VGG):
    """torchvision's, with a classifier that is not a hundred million numbers large."""

    def __init__(self, stages, batch_norm, pool, hidden):
        nn.Module.__init__(self)
        self.features = vgg.make_layers([item for stage in stages for item in [*stage, "M"]], batch_norm)
        self.avgpool = nn.AdaptiveAvgPool2d((pool, pool))
        width = stages[-1][-1] * pool * pool
        self.classifier = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(0.0), nn.Linear(hidden, hidden),
                                        nn.ReLU(), nn.Dropout(0.0), nn.Linear(hidden, CLASSES))


def kept(model):
    return {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}


def numbers(model, size):
    model.load_state_dict({key: fill(key, tuple(value.shape)) for key, value in kept(model).items()})
    model = model.double()
    inputs = torch.tensor(units("inputs", ROWS * 3 * size * size).reshape(ROWS, 3, size, size) * 2.0 - 1.0)
    targets = torch.tensor([1, 4])
    model.eval()
    with torch.no_grad():
        logits = model(inputs)
    model.train()
    outputs = model(inputs)
    loss = nn.functional.cross_entropy
    if isinstance(outputs, torch.Tensor):
        total = loss(outputs, targets)
    else:
        total = loss(outputs.logits, targets) + 0.3 * (loss(outputs.aux_logits1, targets) + loss(outputs.aux_logits2, targets))
    total.backward()
    norm = torch.sqrt(sum((p.grad**2).sum() for p in model.parameters()))
    return {"size": size, "logits": logits.flatten().tolist(), "loss": total.item(), "gradient_norm": norm.item()}


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent / "tests/golden/models")
    folder.mkdir(parents=True, exist_ok=True)
    googlenet = lambda: models.GoogLeNet(num_classes=CLASSES, init_weights=False, dropout=0.0, dropout_aux=0.0)
    named = {
        "resnet18": models.resnet18, "resnet34": models.resnet34, "resnet50": models.resnet50, "resnet101": models.resnet101,
        "vgg16": models.vgg16, "vgg11_bn": models.vgg11_bn, "mobilenet_v2": models.mobilenet_v2,
        "googlenet": lambda: models.googlenet(init_weights=False),
    }
    for name, build in named.items():
        with torch.device("meta"):
            lines = [f"{key} {list(value.shape)}" for key, value in kept(build()).items()]
        (folder / f"{name}.txt").write_text("\n".join(lines) + "\n")
    made = {
        "resnet18": numbers(models.resnet18(num_classes=CLASSES), 64),
        "googlenet": numbers(googlenet(), 64),
        "mobilenet_v2": numbers(models.MobileNetV2(num_classes=CLASSES, width_mult=0.35, dropout=0.0), 64),
        "vgg": numbers(SmallVgg([[8], [12, 16]], False, 3, 20), 32),
        "vgg_bn": numbers(SmallVgg([[8], [12, 16]], True, 3, 20), 32),
    }
    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "numpy": numpy.__version__}
    (folder / "numbers.json").write_text(json.dumps({"versions": versions, "models": made}, indent=1) + "\n")
    for name, found in made.items():
        print(f"{name}: loss {found['loss']:.4f}, gradient norm {found['gradient_norm']:.4f}")


if __name__ == "__main__":
    main()
