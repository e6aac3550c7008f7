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


def llama3():
    rope = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 12, "rope_theta": 100.0}
    c = transformers.LlamaConfig(vocab_size=61, hidden_size=32, intermediate_size=56, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64, attention_bias=True, mlp_bias=True, tie_word_embeddings=False, initializer_range=0.15, rope_parameters=rope)
    token_run("llama3", "llama", c, transformers.LlamaForCausalLM)


def encoder_run(name, kind, model, labels, length=12):
    """Trains an encoder on rows of token ids of which the ends are padding. With `sep_token_id` rows are pairs of texts."""
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
    separator = config.sep_token_id
    if separator is not None:
        ids[np.arange(rows), rng.integers(1, lengths - 2)] = separator
        ids[np.arange(rows), lengths - 1] = separator
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

    def inputs(x):
        found = {"input_ids": x, "attention_mask": (x != pad).long()}
        if separator is not None:
            # As BertTokenizer has it: the second text and its end are of the second segment.
            ends = (x == separator).long()
            found["token_type_ids"] = ((ends.cumsum(1) - ends > 0) & (x != pad)).long()
        return found

    def loss_of(x, y):
        if labels == "span":
            return model(**inputs(x), start_positions=y[:, 0], end_positions=y[:, 1]).loss
        return model(**inputs(x), labels=y).loss

    def probe():
        output = model(**inputs(x[:3]))
        if labels == "span":
            return torch.stack([output.start_logits, output.end_logits], 1)
        return output.logits

    if separator is not None:
        with torch.no_grad():
            known = (x[:3] != pad).float()[..., None]
            last = model.base_model(**inputs(x[:3])).last_hidden_state
            mean = (last * known).sum(1) / known.sum(1)
        save_file({"mean": mean.numpy()}, folder / "embedding.safetensors")
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


def bert_pairs():
    c = transformers.BertConfig(**bert_settings(2), sep_token_id=2)
    encoder_run("bert_pairs", "bert", transformers.BertForQuestionAnswering(c), "span")


def roberta():
    c = transformers.RobertaConfig(**bert_settings(), layer_norm_eps=1e-5, pad_token_id=1, type_vocab_size=1)
    encoder_run("roberta", "bert", transformers.RobertaForSequenceClassification(c), "sequence")


def distilbert():
    c = transformers.DistilBertConfig(vocab_size=53, dim=32, n_layers=2, n_heads=4, hidden_dim=48, max_position_embeddings=20, dropout=0.0, attention_dropout=0.0, seq_classif_dropout=0.0, initializer_range=0.15, num_labels=3)
    encoder_run("distilbert", "distilbert", transformers.DistilBertForSequenceClassification(c), "sequence")


class Seq2Seq(torch.nn.Module):
    """Embeddings with sines and cosines around torch.nn.Transformer."""

    def __init__(self, c):
        super().__init__()
        self.c, d = c, c["d_model"]
        self.src_embedding = torch.nn.Embedding(c["vocab_size"], d)
        if not c["tie_word_embeddings"]:
            self.tgt_embedding = torch.nn.Embedding(c["vocab_size"], d)
            self.generator = torch.nn.Linear(d, c["vocab_size"], bias=False)
        self.transformer = torch.nn.Transformer(d, c["nhead"], c["num_encoder_layers"], c["num_decoder_layers"], c["dim_feedforward"], c["dropout"], c["activation"], norm_first=c["norm_first"], batch_first=True)
        places, pairs = np.arange(max(c["max_source"], c["max_target"])), np.arange(0, d, 2)
        angles = places[:, None] / 10000.0 ** (pairs / d)
        self.positions = torch.tensor(np.stack([np.sin(angles), np.cos(angles)], 2).reshape(len(places), d))
        with torch.no_grad():
            for table in self.children():
                if table is not self.transformer:
                    table.weight.normal_(0.0, d**-0.5)
            # Biases and norms begin where nothing tells them apart.
            for parameter in self.transformer.parameters():
                if parameter.dim() == 1:
                    parameter.add_(torch.randn_like(parameter) * 0.1)

    def embed(self, table, ids):
        x = table(ids) * self.c["d_model"] ** 0.5
        return x + self.positions[: ids.shape[1]].to(x.dtype)

    def forward(self, rows):
        source, target = rows[:, : self.c["max_source"]], rows[:, self.c["max_source"] :]
        tied = self.c["tie_word_embeddings"]
        padding = source == self.c["pad_token_id"]
        future = torch.ones(target.shape[1], target.shape[1], dtype=torch.bool).triu(1)
        y = self.transformer(
            self.embed(self.src_embedding, source),
            self.embed(self.src_embedding if tied else self.tgt_embedding, target),
            tgt_mask=future, src_key_padding_mask=padding, memory_key_padding_mask=padding,
        )
        return y @ (self.src_embedding if tied else self.generator).weight.T


def seq2seq_settings(**changes):
    return dict(vocab_size=29, d_model=32, nhead=4, num_encoder_layers=2, num_decoder_layers=2, dim_feedforward=48, dropout=0.0, activation="relu", norm_first=True, max_source=9, max_target=7, pad_token_id=0, bos_token_id=1, eos_token_id=2, tie_word_embeddings=True, label_smoothing=0.0) | changes


def seq2seq_folder(name, c):
    torch.manual_seed(0)
    model = Seq2Seq(c).train()
    folder = ROOT / name
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(c, indent=2) + "\n")
    return model, folder


def save_model(model, folder):
    save_file({name: value.float().numpy() for name, value in model.state_dict().items()}, folder / "model.safetensors")


def reversals(c, count, rng):
    """Rows of sources and their reversals, so far as these have room, and the targets."""
    rows = np.full((count, c["max_source"] + c["max_target"]), c["pad_token_id"])
    targets = np.full((count, c["max_target"]), -100)
    for row, target in zip(rows, targets):
        source = rng.integers(3, c["vocab_size"], rng.integers(2, c["max_source"] + 1))
        reversal = source[::-1][: c["max_target"] - 1]
        row[: len(source)] = source
        row[c["max_source"] :][: len(reversal) + 1] = [c["bos_token_id"], *reversal]
        target[: len(reversal) + 1] = [*reversal, c["eos_token_id"]]
    return rows, targets


def seq2seq_run(name, **changes):
    c = seq2seq_settings(**changes)
    model, folder = seq2seq_folder(name, c)
    save_model(model, folder)
    rows, targets = reversals(c, STEPS * BATCH, np.random.default_rng(3))
    np.save(folder / "x.npy", rows.astype(np.uint32))
    np.save(folder / "y.npy", targets.astype(np.int64))
    x, y = torch.tensor(rows), torch.tensor(targets)

    def batch(step):
        return x[step * BATCH :][:BATCH], y[step * BATCH :][:BATCH]

    def loss_of(x, y):
        return torch.nn.functional.cross_entropy(model(x).transpose(1, 2), y, label_smoothing=c["label_smoothing"])

    train(folder, name, "seq2seq", model, batch, loss_of, lambda: model(x[:3]), f"""[data]
kind = "arrays"
inputs = "x.npy"
targets = "y.npy"
batch_size = {BATCH}
order = "sequential"
""", "")


def seq2seq_pre():
    seq2seq_run("seq2seq_pre", label_smoothing=0.1)


def seq2seq_post():
    seq2seq_run("seq2seq_post", norm_first=False, activation="gelu", tie_word_embeddings=False)


def best_text(after, c, beams, penalty):
    """Beam search to the greatest length, without any shortcut: `after` gives the logarithms of the next token's
    probabilities. Returns tokens, score, whether it ended, and the smallest gap between two candidates that were told apart."""
    begun, done, gap = [([], 0.0)], [], float("inf")
    most, end = c["max_target"], c["eos_token_id"]
    for length in range(1, most + 1):
        candidates = []
        for tokens, total in begun:
            for token, logarithm in enumerate(after(tokens)):
                if token == end or token not in (c["pad_token_id"], c["bos_token_id"]):
                    candidates.append((tokens + [token], total + logarithm))
        candidates.sort(key=lambda candidate: -candidate[1])
        gap = min([gap, *(a[1] - b[1] for a, b in zip(candidates, candidates[1 : 2 * beams + 1]))])
        over = lambda candidate: candidate[0][-1] == end or length == most
        done += [(tokens, total / length**penalty) for tokens, total in candidates[:beams] if over((tokens, total))]
        begun = [candidate for candidate in candidates[: 2 * beams] if not over(candidate)][:beams]
        if beams == 1 and done:
            break
    done.sort(key=lambda text: -text[1])
    if len(done) > 1:
        gap = min(gap, done[0][1] - done[1][1])
    tokens, score = done[0]
    ended = tokens[-1] == end
    return tokens[:-1] if ended else tokens, score, ended, gap


def compare_search():
    """`best_text` finds what `transformers` finds where that stops only when nothing better can come."""
    torch.manual_seed(1)
    c = dict(max_target=9, eos_token_id=2, pad_token_id=0, bos_token_id=1)
    bart = transformers.BartForConditionalGeneration(transformers.BartConfig(vocab_size=13, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=32, init_std=0.6, pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, forced_eos_token_id=None)).double().eval()
    for seed in range(6):
        source = torch.randint(3, 13, (1, 6), generator=torch.Generator().manual_seed(seed))

        def after(tokens):
            with torch.no_grad():
                return bart(input_ids=source, decoder_input_ids=torch.tensor([[1, *tokens]])).logits[0, -1].log_softmax(-1).tolist()

        for beams, penalty in [(2, 0.5), (4, 1.0), (4, 2.0), (3, 0.0)]:
            found = bart.generate(source, num_beams=beams, length_penalty=penalty, early_stopping="never", max_new_tokens=c["max_target"], do_sample=False, suppress_tokens=[0, 1], forced_bos_token_id=None, return_dict_in_generate=True, output_scores=True)
            text = [token for token in found.sequences[0].tolist()[1:] if token not in (0, 2)]
            tokens, score, _, _ = best_text(after, c, beams, penalty)
            assert text == tokens and abs(found.sequences_scores.item() - score) < 1e-6, (seed, beams, penalty, text, tokens, found.sequences_scores, score)


def seq2seq_beams():
    """The best translations by several searches, of a model that has learned a little."""
    compare_search()
    c = seq2seq_settings(vocab_size=13, d_model=16, dim_feedforward=24, max_source=6, max_target=9)
    model, folder = seq2seq_folder("seq2seq_beams", c)
    rng = np.random.default_rng(4)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(60):
        x, y = map(torch.tensor, reversals(c, 32, rng))
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(x).transpose(1, 2), y).backward()
        optimizer.step()
    save_model(model, folder)
    model = model.double()
    sources = [rng.integers(3, c["vocab_size"], rng.integers(1, c["max_source"] + 1)).tolist() for _ in range(7)]
    searches = []
    for beams, penalty, most in [(1, 1.0, 9), (2, 0.0, 9), (3, 0.6, 9), (4, 1.0, 9), (4, 2.0, 9), (5, -1.0, 9), (1, 0.0, 4), (3, 1.0, 4)]:
        translations = []
        for source in sources:
            def after(tokens):
                row = source + [c["pad_token_id"]] * (c["max_source"] - len(source)) + [c["bos_token_id"], *tokens]
                with torch.no_grad():
                    return model(torch.tensor([row]))[0, -1].log_softmax(-1).tolist()

            tokens, score, ended, gap = best_text(after, c | {"max_target": most}, beams, penalty)
            assert gap > 1e-4, "single precision may choose otherwise; take another seed"
            translations.append({"tokens": tokens, "score": score, "ended": ended})
        searches.append({"beams": beams, "length_penalty": penalty, "max_target": most, "translations": translations})
        print("seq2seq_beams", beams, penalty, most, [(t["tokens"], t["ended"]) for t in translations])
    (folder / "translations.json").write_text(json.dumps({"sources": sources, "searches": searches}) + "\n")


CASES = {case.__name__: case for case in [gpt2, llama, llama3, qwen2, bert, bert_tokens, bert_span, bert_pairs, roberta, distilbert, seq2seq_pre, seq2seq_post, seq2seq_beams]}
if __name__ == "__main__":
    transformers.set_seed(0)
    for case in sys.argv[1:] or CASES:
        CASES[case]()
