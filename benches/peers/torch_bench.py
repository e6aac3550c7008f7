"""The kernels and training steps of `wgrad bench` in PyTorch: names on standard input, one line of JSON for each.

Outputs are reused wherever PyTorch has a form that does. Steps are those of `wgrad bench --help`.
"""
import json
import os
import sys
import time

import torch
import torch.nn as nn
import torch.nn.functional as F

THREADS = int(os.environ.get("THREADS", os.cpu_count() or 1))
DEVICE = os.environ.get("TORCH_DEVICE", "cpu")
torch.set_num_threads(THREADS)
torch.manual_seed(0)
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
GROUP, GROUPS = 0.04, 7
aten = torch.ops.aten


def rand(*shape):
    return torch.rand(*shape, device=DEVICE) * 2 - 1


def sync():
    if DEVICE != "cpu":
        torch.cuda.synchronize()


def median(times):
    return sorted(times)[len(times) // 2]


def timed(f, group=GROUP, groups=GROUPS):
    """The median time of a call, in seconds, over groups of calls."""

    def run(count):
        begin = time.perf_counter()
        for _ in range(count):
            f()
        sync()
        return (time.perf_counter() - begin) / count

    run(2)
    count = int(min(max(group / max(run(2), 1e-6), 1), 2000))
    return median([run(count) for _ in range(groups)])


def matmul(kernel, shape):
    m, k, n = map(int, shape.split("x"))
    ta, tb = {"matmul": "nn"}.get(kernel, kernel[-2:])
    a = rand(k, m).t() if ta == "t" else rand(m, k)
    b = rand(n, k).t() if tb == "t" else rand(k, n)
    out = torch.empty(m, n, device=DEVICE)
    return lambda: torch.mm(a, b, out=out)


def matmul_batched(_, shape):
    s, m, k, n = map(int, shape.split("x"))
    a, b, out = rand(s, m, k), rand(s, k, n), torch.empty(s, m, n, device=DEVICE)
    return lambda: torch.bmm(a, b, out=out)


def convolution(kernel, shape):
    x, w, _, stride, *depthwise = shape.split(" ")
    x, w, stride = rand(*map(int, x.split("x"))), rand(*map(int, w.split("x"))), int(stride)
    pad, groups = w.shape[2] // 2, x.shape[1] if depthwise else 1
    if kernel == "convolution":
        return lambda: F.conv2d(x, w, None, stride, pad, 1, groups)
    dy = torch.rand_like(F.conv2d(x, w, None, stride, pad, 1, groups))
    mask = [kernel == "convolution_input_gradient", kernel == "convolution_weight_gradient", False]
    return lambda: aten.convolution_backward(
        dy, x, w, None, [stride] * 2, [pad] * 2, [1, 1], False, [0, 0], groups, mask
    )


def attention(kernel, shape):
    batch, length, heads, size = map(int, shape.split("x"))
    q, k, v, d = (rand(batch, heads, length, size) for _ in range(4))
    attend = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True)
    if kernel == "attention":
        return attend
    for x in (q, k, v):
        x.requires_grad_()
    return lambda: torch.autograd.grad(attend(), (q, k, v), d)


def softmax(_, shape):
    x = rand(*map(int, shape.split("x")))
    out = torch.empty_like(x)
    return lambda: aten._softmax.out(x, 1, False, out=out)


def norm(kernel, shape):
    x = rand(*map(int, shape.split("x")))
    w, b, d = rand(x.shape[1]), rand(x.shape[1]), torch.rand_like(x)
    if kernel == "layer_norm":
        out, mean, rstd = torch.empty_like(x), *(torch.empty(x.shape[0], 1, device=DEVICE) for _ in range(2))
        return lambda: aten.native_layer_norm.out(x, [x.shape[1]], w, b, 1e-5, out0=out, out1=mean, out2=rstd)
    if kernel == "rms_norm":
        return lambda: F.rms_norm(x, (x.shape[1],), w, 1e-5)
    for t in (x, w, b):
        t.requires_grad_()
    if kernel == "layer_norm_with_gradients":
        return lambda: torch.autograd.grad(F.layer_norm(x, (x.shape[1],), w, b, 1e-5), (x, w, b), d)
    return lambda: torch.autograd.grad(F.rms_norm(x, (x.shape[1],), w, 1e-5), (x, w), d)


def cross_entropy(kernel, shape):
    rows, classes = map(int, shape.split("x"))
    x, y = rand(rows, classes), torch.arange(rows, device=DEVICE) * 7919 % classes
    if kernel == "cross_entropy":
        return lambda: F.cross_entropy(x, y, reduction="none")
    x.requires_grad_()
    return lambda: torch.autograd.grad(F.cross_entropy(x, y, reduction="sum"), x)


def embedding(kernel, shape):
    tokens, _, table = shape.split(" ")
    tokens, (words, width) = int(tokens), map(int, table.split("x"))
    ids = torch.arange(tokens, device=DEVICE) * 7919 % words
    if kernel == "embedding":
        table, out = rand(words, width), torch.empty(tokens, width, device=DEVICE)
        return lambda: torch.index_select(table, 0, ids, out=out)
    d = rand(tokens, width)
    return lambda: aten.embedding_dense_backward(d, ids, words, -1, False)


def elements(kernel, shape):
    a, b, c = (rand(int(shape)) for _ in range(3))
    out = torch.empty_like(a)
    if kernel == "adamw":
        a.grad = b
        step = torch.optim.AdamW([a], lr=1e-3, fused=True).step
        return step
    return {
        "multiply_add": lambda: torch.addcmul(c, a, b, out=out),
        "relu": lambda: torch.clamp_min(a, 0, out=out),
        "gelu": lambda: aten.gelu.out(a, out=out),
        "tanh": lambda: torch.tanh(a, out=out),
        "exp": lambda: torch.exp(a, out=out),
        "sum": lambda: torch.sum(a),
    }[kernel]


def matrix(kernel, shape):
    x = rand(*map(int, shape.split("x")))
    if kernel == "transpose":
        out = torch.empty(x.shape[1], x.shape[0], device=DEVICE)
        return lambda: out.copy_(x.t())
    axis = 1 if kernel == "sum_rows" else 0
    out = torch.empty(x.shape[1 - axis], device=DEVICE)
    return lambda: torch.sum(x, axis, out=out)


KERNELS = {
    **dict.fromkeys(("matmul", "matmul_tn", "matmul_nt", "matmul_tt"), matmul),
    "matmul_batched": matmul_batched,
    **dict.fromkeys(("convolution", "convolution_input_gradient", "convolution_weight_gradient"), convolution),
    **dict.fromkeys(("attention", "attention_with_gradients"), attention),
    "softmax": softmax,
    **dict.fromkeys(("layer_norm", "rms_norm", "layer_norm_with_gradients", "rms_norm_with_gradients"), norm),
    **dict.fromkeys(("cross_entropy", "cross_entropy_with_gradient"), cross_entropy),
    **dict.fromkeys(("embedding", "embedding_gradient"), embedding),
    **dict.fromkeys(("multiply_add", "relu", "gelu", "tanh", "exp", "sum", "adamw"), elements),
    **dict.fromkeys(("sum_rows", "sum_columns", "transpose"), matrix),
}


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.ln1, self.ln2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.o = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.f1, self.f2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, h):
        batch, length, width = h.shape
        heads = self.qkv(self.ln1(h)).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(*heads, is_causal=True)
        h = h + self.o(y.transpose(1, 2).reshape(batch, length, width))
        return h + self.f2(F.gelu(self.f1(self.ln2(h))))


class Gpt(nn.Module):
    def __init__(self, words, length, width, layers, heads):
        super().__init__()
        self.te, self.pe = nn.Embedding(words, width), nn.Embedding(length, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.ln, self.head = nn.LayerNorm(width), nn.Linear(width, words, bias=False)

    def forward(self, x):
        h = self.te(x) + self.pe.weight[: x.shape[1]]
        for block in self.blocks:
            h = block(h)
        return self.head(self.ln(h)).flatten(0, 1)


def tokens(batch, length, words):
    x = torch.randint(words, (batch, length + 1), device=DEVICE)
    return x[:, :-1], x[:, 1:].flatten()


def step(name):
    """The model, its input, the classes, the optimiser."""
    if name == "w2":
        layers = nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10)
        model, x, y = nn.Sequential(*layers), torch.rand(128, 784), torch.arange(128) * 7 % 10
        optimizer = lambda p: torch.optim.Adam(p, lr=1e-3)
    elif name == "w3":
        stage = lambda i, o: (nn.Conv2d(i, o, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
        head = nn.Flatten(), nn.Linear(3136, 128), nn.ReLU(), nn.Linear(128, 10)
        model, x, y = nn.Sequential(*stage(1, 32), *stage(32, 64), *head), torch.rand(64, 1, 28, 28), torch.arange(64) % 10
        optimizer = lambda p: torch.optim.Adam(p, lr=1e-3)
    elif name == "w4":
        model, (x, y) = Gpt(96, 128, 128, 4, 4), tokens(8, 128, 96)
        optimizer = lambda p: torch.optim.AdamW(p, lr=3e-4)
    elif name == "w5":
        import torchvision

        model, x, y = torchvision.models.resnet50(), torch.randn(4, 3, 224, 224), torch.randint(1000, (4,))
        optimizer = lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9)
    elif name in ("w6", "w7"):
        from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

        if name == "w6":
            config = LlamaConfig(
                vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9,
                num_key_value_heads=3, max_position_embeddings=2048, tie_word_embeddings=True,
            )
            inner, (x, y) = LlamaForCausalLM(config), tokens(1, 128, 49152)
        else:
            config = GPT2Config(resid_pdrop=0, embd_pdrop=0, attn_pdrop=0)
            inner, (x, y) = GPT2LMHeadModel(config), tokens(4, 1024, 50257)

        class Logits(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = inner

            def forward(self, x):
                return self.inner(input_ids=x, use_cache=False).logits.flatten(0, 1)

        model = Logits()
        optimizer = lambda p: torch.optim.AdamW(p, lr=1e-4)
    else:
        raise ValueError(name)
    model, x, y = model.to(DEVICE).train(), x.to(DEVICE), y.to(DEVICE)
    optimizer = optimizer(model.parameters())

    def run():
        loss = F.cross_entropy(model(x), y)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss

    return run


def steps(name):
    run = step(name)
    run().item()
    begin = time.perf_counter()
    run().item()
    count = int(min(max(2.0 / (time.perf_counter() - begin), 5), 200))
    times = []
    for place in range(count + 3):
        begin = time.perf_counter()
        run()
        sync()
        if place >= 3:
            times.append(time.perf_counter() - begin)
    return median(times)


def main():
    for line in sys.stdin:
        kernel, _, shape = line.strip().partition(" ")
        try:
            if kernel == "step":
                seconds = steps(shape)
            else:
                with torch.set_grad_enabled("_with_" in kernel):
                    seconds = timed(KERNELS[kernel](kernel, shape))
            print(json.dumps({"kernel": kernel, "shape": shape, "ms": seconds * 1e3}), flush=True)
        except (KeyError, RuntimeError, ValueError, ImportError) as error:
            print(json.dumps({"kernel": kernel, "shape": shape, "reason": repr(error)}), flush=True)


if __name__ == "__main__":
    print(json.dumps({"peer": "PyTorch", "version": torch.__version__, "threads": THREADS}), flush=True)
    main()
