#!/usr/bin/env python3
"""Golden files of low-rank adapters: adapters of PEFT's, and the losses of their training.

Needs torch, transformers, peft and safetensors. The base models and data are those of tests/golden/transformers. Writes to
tests/golden/lora/<case>/: start/ and trained/, adapters as `save_pretrained` writes them, before and after training;
expected.json with the loss of each step; logits.safetensors with the logits of both for two rows; run.toml for
`wgrad train`. Run it from the repository's root, with names of cases for only those.

`make-golden-lora.py check` loads saved/ of each case, which wgrad wrote from start/ (see tests/lora.rs), into PEFT, and
compares the logits. `make-golden-lora.py check <case> <run>` does so with the folder of a run that trained the case: the
logits of its adapter/ on the base model and those of its merged model.safetensors.
"""

import json
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import peft
import torch
import transformers
from safetensors.numpy import load_file, save_file

BASES = Path("tests/golden/transformers")
ROOT = Path("tests/golden/lora")
STEPS, BATCH, CONTEXT = 20, 4, 16
LANGUAGE = """kind = "tokens"
path = "../../transformers/{base}/tokens.npy"
context = 16"""
TEXTS = """kind = "arrays"
inputs = "../../transformers/{base}/x.npy"
targets = "../../transformers/{base}/y.npy\""""

CASES = {
    "gpt2": dict(
        kind="gpt2", model=transformers.GPT2LMHeadModel, data=LANGUAGE, toml='targets = ["c_attn", "c_proj"]\nrank = 4\nalpha = 16',
        lora=dict(r=4, lora_alpha=16, target_modules=["c_attn", "c_proj"], task_type="CAUSAL_LM"),
    ),
    "llama": dict(
        kind="llama", model=transformers.LlamaForCausalLM, data=LANGUAGE, toml="",
        lora=dict(r=2, lora_alpha=6, use_rslora=True, target_modules=["q_proj", "self_attn.v_proj", "down_proj"], task_type="CAUSAL_LM"),
    ),
    "bert": dict(
        kind="bert", model=transformers.BertForSequenceClassification, data=TEXTS, toml='targets = ["query", "output.dense"]\nmodules_to_save = ["classifier"]',
        lora=dict(r=8, target_modules=["query", "output.dense"], task_type="SEQ_CLS"),
    ),
}


def base_model(case):
    return CASES[case]["model"].from_pretrained(BASES / case).eval()


def batches(case):
    """The rows that `data.order = "sequential"` takes in each step, with their targets."""
    if CASES[case]["data"] is TEXTS:
        x, y = (torch.tensor(np.load(BASES / case / name).astype(np.int64)) for name in ("x.npy", "y.npy"))
        return [(x[step * BATCH :][:BATCH], y[step * BATCH :][:BATCH]) for step in range(STEPS)]
    tokens = torch.tensor(np.load(BASES / case / "tokens.npy").astype(np.int64))
    rows = [(tokens[row * CONTEXT :][:CONTEXT], tokens[row * CONTEXT + 1 :][:CONTEXT]) for row in range(STEPS * BATCH)]
    x, y = (torch.stack(part) for part in zip(*rows))
    return [(x[step * BATCH :][:BATCH], y[step * BATCH :][:BATCH]) for step in range(STEPS)]


def logits(model, x):
    if hasattr(model.config, "num_labels") and "bert" in model.config.model_type:
        return model(input_ids=x, attention_mask=(x != model.config.pad_token_id).long()).logits
    return model(input_ids=x).logits


def probe(case, model):
    with torch.no_grad():
        return logits(model.eval(), batches(case)[0][0][:2]).numpy()


def save(model, folder):
    model.save_pretrained(folder)
    (folder / "README.md").unlink()


def make(case):
    what, folder = CASES[case], ROOT / case
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(3)
    # B begins with random numbers, so that at once it matters how both lie.
    model = peft.get_peft_model(base_model(case), peft.LoraConfig(init_lora_weights=False, **what["lora"]))
    save(model, folder / "start")
    found = {"start": probe(case, model)}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=3e-3, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.1)
    losses = []
    for x, y in batches(case):
        optimizer.zero_grad()
        output = logits(model.train(), x)
        loss = torch.nn.functional.cross_entropy(output.reshape(-1, output.shape[-1]), y.reshape(-1))
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    save(model, folder / "trained")
    found["trained"] = probe(case, model)
    save_file(found, folder / "logits.safetensors")
    (folder / "expected.json").write_text(json.dumps({"losses": losses}, indent=0) + "\n")
    (folder / "run.toml").write_text(f"""[model]
kind = "{what["kind"]}"
config = "../../transformers/{case}/config.json"
weights = "../../transformers/{case}/model.safetensors"
adapter = "start"
[lora]
{what["toml"]}
[data]
{what["data"].format(base=case)}
batch_size = {BATCH}
order = "sequential"
[optimizer]
kind = "adamw"
lr = 3e-3
betas = [0.9, 0.95]
eps = 1e-8
weight_decay = 0.1
[train]
steps = {STEPS}
seed = 0
""")
    print(case, losses[0], losses[-1])


def compare(what, found, expected, most=1e-5):
    worst = np.abs(found - expected).max() / np.abs(expected).max()
    print(f"{what}: logits at most {worst:.1e} apart, as a share of the largest")
    assert worst <= most, what


def check(case):
    saved = ROOT / case / "saved"
    model = peft.PeftModel.from_pretrained(base_model(case), saved)
    assert model.peft_config["default"].task_type == CASES[case]["lora"]["task_type"]
    compare(case, probe(case, model), load_file(ROOT / case / "logits.safetensors")["start"])


def check_run(case, run):
    run = Path(run)
    adapted = probe(case, peft.PeftModel.from_pretrained(base_model(case), run / "adapter"))
    # Adam makes steps of its full size of gradients that are 0 but for rounding.
    compare("the run's adapter", adapted, load_file(ROOT / case / "logits.safetensors")["trained"], 1e-4)
    whole = Path(run) / "as-transformers-has-it"
    whole.mkdir(exist_ok=True)
    shutil.copy(BASES / case / "config.json", whole)
    shutil.copy(run / "model.safetensors", whole)
    compare("the run's merged model", probe(case, CASES[case]["model"].from_pretrained(whole)), adapted)


if __name__ == "__main__":
    warnings.simplefilter("error", peft.utils.warning.PeftWarning)
    match sys.argv[1:]:
        case "check", name, run:
            check_run(name, run)
        case ["check"]:
            for name in CASES:
                check(name)
        case names:
            for name in names or CASES:
                make(name)
