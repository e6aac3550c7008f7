#!/usr/bin/env python3
"""Makes tests/golden/resnet: eight training steps of small residual networks, by PyTorch and torchvision.

Needs torch, torchvision, numpy and safetensors. Usage: scripts/make-golden-resnet.py [folder]

For each network <name>.safetensors holds the weights before ("initial.…") and after ("trained.…") the steps, the
pictures and classes of 16 rows ("inputs", "targets"), and what the trained network in evaluation makes of them
("logits"); <name>.json holds its configuration, the optimiser's, and the losses in f64 and f32. The steps take the
rows in order, four at a time, and start over at the end. The networks are torchvision's with fewer channels, so their
tensors have its names; that a file of ours loads there is seen to by loading "trained.…" before the logits are made.
"""

import json
import pathlib
import sys

import numpy
import safetensors.torch
import torch
import torchvision
from torch import nn
from torchvision.models import resnet

STEPS, BATCH, ROWS, CLASSES = 8, 4, 16, 5


class Small(resnet.ResNet):
    """torchvision's network with so many channels in the first stage, and its cifar stem where asked for."""

    def __init__(self, block, layers, width, in_channels, stem):
        super().__init__(block, [1, 1, 1, 1], num_classes=CLASSES)
        self.inplanes = width
        imagenet = stem == "imagenet"
        self.conv1 = nn.Conv2d(in_channels, width, 7 if imagenet else 3, 2 if imagenet else 1, 3 if imagenet else 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        if not imagenet:
            self.maxpool = nn.Identity()
        for stage in range(4):
            made = self._make_layer(block, width << stage, layers[stage], stride=1 if stage == 0 else 2)
            setattr(self, f"layer{stage + 1}", made)
        self.fc = nn.Linear((width << 3) * block.expansion, CLASSES)


def train(model, inputs, targets, options):
    optimizer = torch.optim.SGD(model.parameters(), **options)
    model.train()
    losses = []
    for step in range(STEPS):
        rows = [(step * BATCH + row) % ROWS for row in range(BATCH)]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(inputs[rows]), targets[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def make(folder, name, block, layers, width, in_channels, stem, size, lr, seed):
    torch.manual_seed(seed)
    blocks = {"basic": resnet.BasicBlock, "bottleneck": resnet.Bottleneck}
    build = lambda: Small(blocks[block], layers, width, in_channels, stem)
    first = build()
    initial = {key: value.clone() for key, value in first.state_dict().items() if not key.endswith("num_batches_tracked")}
    inputs = torch.randn(ROWS, in_channels, size, size)
    targets = torch.randint(0, CLASSES, (ROWS,))
    options = {"lr": lr, "momentum": 0.9, "weight_decay": 1e-4}
    losses, trained = {}, {}
    for dtype, label in [(torch.float64, "f64"), (torch.float32, "f32")]:
        model = build()
        model.load_state_dict(initial)
        model = model.to(dtype)
        losses[label] = train(model, inputs.to(dtype), targets, options)
        trained[label] = {key: value for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    # What a file of ours holds is what torchvision loads: no num_batches_tracked.
    last = build()
    last.load_state_dict({key: value.float() for key, value in trained["f64"].items()})
    last.eval()
    with torch.no_grad():
        logits = last(inputs)
    tensors = {f"initial.{key}": value for key, value in initial.items()}
    tensors |= {f"trained.{key}": value.float() for key, value in trained["f64"].items()}
    tensors |= {"inputs": inputs, "targets": targets.to(torch.int64), "logits": logits}
    safetensors.torch.save_file({key: value.contiguous() for key, value in tensors.items()}, folder / f"{name}.safetensors")
    config = {"block": block, "layers": layers, "width": width, "in_channels": in_channels, "num_classes": CLASSES, "stem": stem}
    document = {"config": config, "optimizer": options, "batch_size": BATCH, "steps": STEPS, "losses": losses,
                "versions": {"torch": torch.__version__, "torchvision": torchvision.__version__, "numpy": numpy.__version__}}
    (folder / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n")
    apart = max(abs(a - b) / abs(b) for a, b in zip(losses["f32"], losses["f64"]))
    print(f"{name}: losses {losses['f64'][0]:.4f} … {losses['f64'][-1]:.4f}; f32 and f64 are {apart:.1e} apart")


def main():
    folder = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).resolve().parent.parent / "tests/golden/resnet")
    folder.mkdir(parents=True, exist_ok=True)
    make(folder, "basic-cifar", "basic", [1, 2, 1, 1], 4, 3, "cifar", 16, 0.05, 1)
    make(folder, "bottleneck-imagenet", "bottleneck", [1, 1, 1, 1], 3, 1, "imagenet", 40, 0.01, 2)


if __name__ == "__main__":
    main()
