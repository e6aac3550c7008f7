#!/usr/bin/env python3
"""Golden files of transformers: small random models, data, and the losses of PyTorch's training.

Needs torch, transformers, numpy and safetensors. Writes to tests/golden/transformers/<case>/: config.json and
model.safetensors as `save_pretrained` does, the data, run.toml for `wgrad train`, and expected.json with the loss of each
step, the weights' logits before and after. Run it from the repository's root, with names of cases for only those.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
import transformers
from safetensors.numpy import save_file

ROOT = Path("tests/golden/transformers")
STEPS, BATCH = 40, 4


def token_run(name, kind, config, model, context=16, extra="", optimizer="adamw"):
    """Trains on consecutive rows of random tokens, as `data.kind = "tokens"` with `order = "sequential"` does."""
    torch.manual_seed(0)
    model = model(config).train()
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    rng = np.random.default_rng(1)
    tokens = rng.integers(0, config.vocab_size, STEPS * BATCH * context + 1)
    # Something to learn: every third token is that of two before.
    tokens[2::3] = tokens[0 : len(tokens[2::3]) * 3 : 3]
    np.save(folder / "tokens.npy", tokens.astype(np.uint16))
    rows = torch.tensor(tokens)
    probe = rows[:context][None]

    def batch(step):
        start = step * BATCH * context
        x = torch.stack([rows[start + b * context :][:context] for b in range(BATCH)])
        y = torch.stack([rows[start + b * context + 1 :][:context] for b in range(BATCH)])
        return x, y

    def loss_of(x, y):
        logits = model(x).logits
        return torch.nn.functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), y.reshape(-1))

    train(folder, name, kind, model, batch, loss_of, lambda: model(probe).logits, f"""[data]
kind = "tokens"
path = "tokens.npy"
context = {context}
batch_size = {BATCH}
order = "sequential"
""", extra)


def train(folder, name, kind, model, batch, loss_of, probe, data, extra):
    with torch.no_grad():
        before = probe()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(*batch(step))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad():
        after = probe()
    (folder / "expected.json").write_text(json.dumps({"losses": losses}, indent=0) + "\n")
    save_file({"before": before.numpy(), "after": after.numpy()}, folder / "logits.safetensors")
    (folder / "run.toml").write_text(f"""[model]
kind = "{kind}"
config = "config.json"
weights = "model.safetensors"
{data}[optimizer]
kind = "adamw"
lr = 3e-3
betas = [0.9, 0.95]
eps = 1e-8
weight_decay = 0.1
[train]
steps = {STEPS}
seed = 0
{extra}""")
    print(name, losses[0], losses[9], losses[-1])


def gpt2():
    c = transformers.GPT2Config(vocab_size=61, n_positions=32, n_embd=32, n_layer=2, n_head=4, initializer_range=0.15, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0)
    token_run("gpt2", "gpt2", c, transformers.GPT2LMHeadModel)


def llama():
    c = transformers.LlamaConfig(vocab_size=61, hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, initializer_range=0.15, tie_word_embeddings=True, rms_norm_eps=1e-5)
    token_run("llama", "llama", c, transformers.LlamaForCausalLM)


def qwen2():
    c = transformers.Qwen2Config(vocab_size=61, hidden_size=32, intermediate_size=56, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=1, max_position_embeddings=64, tie_word_embeddings=False, initializer_range=0.15, bos_token_id=1, eos_token_id=2, rope_parameters={"rope_type": "linear", "factor": 2.0, "rope_theta": 1000.0})
    token_run("qwen2", "llama", c, transformers.Qwen2ForCausalLM)


def encoder_run(name, kind, model, labels, length=12, extra_model=""):
    """Trains an encoder on rows of token ids of which the ends are padding."""
    torch.manual_seed(0)
    config = model.config
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    # Biases and norms begin where nothing tells them apart.
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 1:
                parameter.add_(torch.randn_like(parameter) * 0.1)
    model = model.train()
    model.save_pretrained(folder)
    rng = np.random.default_rng(2)
    rows = STEPS * BATCH
    pad = config.pad_token_id
    ids = rng.integers(3, config.vocab_size, (rows, length))
    lengths = rng.integers(4, length + 1, rows)
    ids[np.arange(length)[None] >= lengths[:, None]] = pad
    if labels == "sequence":
        targets = (ids[:, 1] + ids[:, 2]) % config.num_labels
    elif labels == "token":
        targets = np.where(ids == pad, -100, ids % config.num_labels)
    else:
        starts = rng.integers(1, lengths - 1)
        targets = np.stack([starts, rng.integers(starts, lengths)], 1)
    np.save(folder / "x.npy", ids.astype(np.uint32))
    np.save(folder / "y.npy", targets.astype(np.int64))
    x, y = torch.tensor(ids), torch.tensor(targets)

    def batch(step):
        return x[step * BATCH :][:BATCH], y[step * BATCH :][:BATCH]

    def loss_of(x, y):
        mask = (x != pad).long()
        if labels == "span":
            return model(x, attention_mask=mask, start_positions=y[:, 0], end_positions=y[:, 1]).loss
        return model(x, attention_mask=mask, labels=y).loss

    def probe():
        x0 = x[:3]
        output = model(x0, attention_mask=(x0 != pad).long())
        if labels == "span":
            return torch.stack([output.start_logits, output.end_logits], 1)
        return output.logits

    train(folder, name, kind, model, batch, loss_of, probe, f"""[data]
kind = "arrays"
inputs = "x.npy"
targets = "y.npy"
batch_size = {BATCH}
order = "sequential"
""", "")


def bert_settings(num_labels=3):
    return dict(vocab_size=53, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48, max_position_embeddings=20, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, initializer_range=0.15, num_labels=num_labels)


def bert():
    encoder_run("bert", "bert", transformers.BertForSequenceClassification(transformers.BertConfig(**bert_settings())), "sequence")


def bert_tokens():
    encoder_run("bert_tokens", "bert", transformers.BertForTokenClassification(transformers.BertConfig(**bert_settings())), "token")


def bert_span():
    encoder_run("bert_span", "bert", transformers.BertForQuestionAnswering(transformers.BertConfig(**bert_settings(2))), "span")


def roberta():
    c = transformers.RobertaConfig(**bert_settings(), layer_norm_eps=1e-5, pad_token_id=1, type_vocab_size=1)
    encoder_run("roberta", "bert", transformers.RobertaForSequenceClassification(c), "sequence")


def distilbert():
    c = transformers.DistilBertConfig(vocab_size=53, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=20, dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0, initializer_range=0.15, num_labels=3)
    encoder_run("distilbert", "distilbert", transformers.DistilBertForSequenceClassification(c), "sequence")


CASES = {case.__name__: case for case in [gpt2, llama, qwen2, bert, bert_tokens, bert_span, roberta, distilbert]}
if __name__ == "__main__":
    transformers.set_seed(0)
    for case in sys.argv[1:] or CASES:
        CASES[case]()
