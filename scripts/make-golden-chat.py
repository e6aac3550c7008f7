#!/usr/bin/env python3
"""Golden files of folders in Hugging Face's form, and of conversations.

Needs torch, transformers, tokenizers and jinja2. Usage, from the repository's root: scripts/make-golden-chat.py

crates/nn-data/tests/golden/chat.json holds chat templates in the styles that models use, conversations, and the texts that
`apply_chat_template` makes of them. tests/golden/hugging_face/<name>/ are folders as `save_pretrained` writes them, of small
random models, each with expected.json: what `generate` goes on with, what it answers in conversations, or classes.
"""

import json
import shutil
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

ROOT = Path("tests/golden/hugging_face")
TRAINING = ["the model reads the words and writes the answer; who are you? hello, how is the weather in the north today"] * 3

CHATML = """{% for message in messages %}
{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- endfor %}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}"""

SMOL = """{%- if messages[0]['role'] != 'system' -%}
    {{- '<|im_start|>system\\nYou answer in a few words.<|im_end|>\\n' -}}
{%- endif -%}
{%- for message in messages -%}
    {{- '<|im_start|>' ~ message['role'] ~ '\\n' ~ message['content'] ~ '<|im_end|>' ~ '\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""

LLAMA2 = """{% if messages[0]['role'] == 'system' %}
    {% set turns = messages[1:] %}
    {% set before = '<<SYS>>\\n' + messages[0]['content'] + '\\n<</SYS>>\\n\\n' %}
{% else %}
    {% set turns = messages %}
    {% set before = '' %}
{% endif %}
{% for turn in turns %}
    {% if (turn['role'] == 'user') != (loop.index0 % 2 == 0) %}
        {{ raise_exception('user and assistant must take turns') }}
    {% endif %}
    {% if turn['role'] == 'user' %}
        {{ bos_token + '[INST] ' + (before if loop.first else '') + turn['content'].strip() + ' [/INST]' }}
    {% else %}
        {{ ' ' + turn['content'].strip() + ' ' + eos_token }}
    {% endif %}
{% endfor %}"""

LLAMA3 = """{{- bos_token }}
{%- set names = namespace(seen=[]) %}
{%- for message in messages %}
    {%- set names.seen = names.seen + [message.role] %}
    {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
    {{- message['content'] | trim }}{{ '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}
{%- endif %}
{%- if strftime_now is not defined or strftime_now('%Y') | int < 2024 %}{{ raise_exception('no clock') }}{% endif %}
{%- if names.seen | length > 9 %}{{- raise_exception('too long') }}{%- endif %}"""

MISTRAL = """{%- if messages[0]["role"] == "system" %}
    {%- set system = messages[0]["content"] %}
    {%- set rest = messages[1:] %}
{%- else %}
    {%- set rest = messages %}
{%- endif %}
{{- bos_token }}
{%- for message in rest %}
    {%- if message["role"] == "user" %}
        {%- if loop.last and system is defined %}
            {{- "[INST] " + system + "\\n\\n" + message["content"] + "[/INST]" }}
        {%- else %}
            {{- "[INST] " + message["content"] + "[/INST]" }}
        {%- endif %}
    {%- elif message["role"] == "assistant" %}
        {{- " " + message["content"] | trim + eos_token }}
    {%- else %}
        {{- raise_exception("only user and assistant roles are known, with a system message before them") }}
    {%- endif %}
{%- endfor %}"""

ZEPHYR = """{% for message in messages %}
{% if message['role'] == 'user' %}
{{ '<|user|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'system' %}
{{ '<|system|>\\n' + message['content'] + eos_token }}
{% elif message['role'] == 'assistant' %}
{{ '<|assistant|>\\n' + message['content'] + eos_token }}
{% endif %}
{% if loop.last and add_generation_prompt %}
{{ '<|assistant|>' }}
{% endif %}
{% endfor %}"""

# What templates use besides: methods of Python's, JSON, macros, loops that end early, marks of what is trained on.
PYTHON = """{%- macro shout(text, mark='!') %}{{ text.upper() + mark }}{% endmacro -%}
{#- a comment -#}
{%- set settings = {'tools': tools, 'n': [1, 2.5, true, none], 'text': 'a<b> & "ü"'} -%}
{{ settings | tojson }}
{{ settings | tojson(indent=2) }}
{%- for message in messages %}
    {%- if loop.index > 3 %}{% break %}{% endif %}
    {%- if message.content.startswith('#') %}{% continue %}{% endif %}
    {{- '\\n' ~ loop.index ~ shout(message['role']) ~ shout(mark='?', text=message.role.title()) }}
    {%- if message.get('name') is none and 'name' not in message and message.name is not defined %}{{ ' nameless' }}{% endif %}
    {%- if message.role == 'assistant' and '</think>' in message.content %}
        {%- set parts = message.content.split('</think>') %}
        {{- '|' + parts[-1].lstrip('\\n') + '|' + parts[0].split('<think>')[-1].rstrip() }}
    {%- else %}
  {%- generation -%}  {{ message.content.replace('o', '0') }}  {%- endgeneration -%}
    {%- endif %}
    {%- for key, value in message.items() %}{{ key }}={{ value | length }};{% endfor %}
    {%- if loop.previtem is defined and loop.previtem.role == 'system' %} after the system{% endif %}
{%- endfor %}
{{ add_generation_prompt }} {{ none }} {{ bos_token is defined }} {{ messages | map(attribute='role') | join(',') }}
{%- if not (messages | selectattr('role', 'equalto', 'system') | list) %} no system{% endif +%}
{{ 'x' if messages[-1].content is string else 'y' }}{{ undefined_thing }}{{ messages[::-1][0].role[:2] }} {{ 7 // 2 }} {{ 'a,b'.split(',') | length }}
"""

CONVERSATIONS = [
    [("user", "Hello!")],
    [("system", "Be brief."), ("user", " Who are you?\n")],
    [("user", "One"), ("assistant", " two\n"), ("user", "thr<|im_end|>ee <&>")],
    [("system", "Ünï 日本"), ("user", "# a"), ("assistant", "<think>\nhm \n</think>\n\nYes."), ("user", ""), ("assistant", "no")],
    [("assistant", "I begin.")],
    [("user", "a"), ("tool", "b")],
]
TEMPLATES = {
    "chatml": (CHATML, {"eos_token": "<|im_end|>"}),
    "smol": (SMOL, {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>"}),
    "llama2": (LLAMA2, {"bos_token": "<s>", "eos_token": "</s>"}),
    "llama3": (LLAMA3, {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}),
    "mistral": (MISTRAL, {"bos_token": "<s>", "eos_token": "</s>"}),
    "zephyr": (ZEPHYR, {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}),
    "python": (PYTHON, {"bos_token": "<s>"}),
}


def messages_of(conversation):
    return [{"role": role, "content": content} for role, content in conversation]


def templates():
    found = []
    for name, (template, tokens) in TEMPLATES.items():
        tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=Tokenizer(models.BPE()), chat_template=template, **tokens)
        cases = []
        for conversation in CONVERSATIONS:
            for prompt in [False, True]:
                case = {"messages": conversation, "add_generation_prompt": prompt}
                try:
                    case["text"] = tokenizer.apply_chat_template(messages_of(conversation), add_generation_prompt=prompt, tokenize=False)
                except Exception as error:
                    case["error"] = str(error)
                cases.append(case)
        print(name, sum("error" in case for case in cases), "of", len(cases), "refused:", {case.get("error") for case in cases})
        found.append({"name": name, "template": template, "tokens": tokens, "cases": cases})
    path = Path("crates/nn-data/tests/golden/chat.json")
    path.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n")


def gpt2_tokenizer():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trainer = trainers.BpeTrainer(vocab_size=90, show_progress=False, special_tokens=special)
    tokenizer.train_from_iterator([*TRAINING, "system\nuser\nassistant\nOne Two Three Be brief."], trainer)
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token="<|endoftext|>", eos_token="<|im_end|>", chat_template=CHATML)


def llama_tokenizer():
    """As Llama 2's: a space is put before a text, and taken off again; a token begins it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    trainer = trainers.BpeTrainer(vocab_size=90, max_token_length=6, show_progress=False, special_tokens=["<unk>", "<s>", "</s>"])
    tokenizer.train_from_iterator([*TRAINING, "[INST] [/INST] <<SYS>> <</SYS>>\n One Two Three Be brief."], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", 1)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", bos_token="<s>", eos_token="</s>", chat_template=LLAMA2)


def go_on(model, ids, most):
    """The likeliest tokens; each by so much that rounding changes none."""
    with torch.no_grad():
        made = model.generate(torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), do_sample=False, max_new_tokens=most, output_logits=True, return_dict_in_generate=True)
    for logits in made.logits:
        best = logits[0].topk(2).values
        assert best[0] - best[1] > 1e-3, "rounding may choose otherwise; take another seed"
    return made.sequences[0].tolist()[len(ids):]


def language(name, config, model, tokenizer, seed, dtype=torch.float32, **save):
    torch.manual_seed(seed)
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    model = model(config).eval().to(dtype)
    model.generation_config.pad_token_id = 0
    prompt = "the model reads"
    ids = tokenizer(prompt)["input_ids"]
    exact = model.float() if dtype == torch.float32 else model.__class__(config).eval()
    exact.load_state_dict({key: value.float() for key, value in model.state_dict().items()})
    exact.generation_config = model.generation_config
    model.generation_config.eos_token_id = None
    free = go_on(exact, ids, 24)
    # A token of the continuation ends it, beside the tokenizer's; config.json says otherwise.
    ends = [tokenizer.eos_token_id, next(token for token in free[9:] if token not in free[:9])]
    model.generation_config.eos_token_id = ends
    ended = go_on(exact, ids, 24)
    model.generation_config.eos_token_id = ends
    model.save_pretrained(folder, **save)
    tokenizer.save_pretrained(folder, save_jinja_files=name == "gpt2")
    # What ends a text is no part of it, though it may be no special token.
    without = lambda made: made[:-1] if made[-1] in ends else made
    text = tokenizer.decode(ids + without(ended), skip_special_tokens=True)[len(prompt):]
    messages, answers = [{"role": "system", "content": "Be brief."}], []
    for said in ["hello, who are you?", "how is the weather?", "Three"]:
        messages.append({"role": "user", "content": said})
        rendered = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
        ids = tokenizer(rendered, add_special_tokens=False)["input_ids"]
        made = go_on(exact, ids, 12)
        answer = tokenizer.decode(without(made), skip_special_tokens=True)
        messages.append({"role": "assistant", "content": answer})
        answers.append({"said": said, "rendered": rendered, "prompt_tokens": len(ids), "ids": made, "text": answer})
    expected = {"prompt": prompt, "free": free, "ids": ended, "text": text, "system": "Be brief.", "answers": answers}
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    print(name, len(tokenizer), free, ended, repr(text), *[(len(answer["ids"]), answer["text"], answer["prompt_tokens"]) for answer in answers], sep="\n  ")


def gpt2():
    tokenizer = gpt2_tokenizer()
    config = transformers.GPT2Config(vocab_size=len(tokenizer), n_positions=192, n_embd=16, n_layer=2, n_head=2, initializer_range=0.4, bos_token_id=0, eos_token_id=0)
    language("gpt2", config, transformers.GPT2LMHeadModel, tokenizer, 3)


def llama():
    tokenizer = llama_tokenizer()
    config = transformers.LlamaConfig(vocab_size=len(tokenizer), hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=512, initializer_range=0.4, tie_word_embeddings=False, bos_token_id=1, eos_token_id=2)
    language("llama", config, transformers.LlamaForCausalLM, tokenizer, 19, torch.bfloat16, max_shard_size="6KB")


def bert():
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = ["the", "model", "read", "word", "write", "weather", "north", "who", "##s", "##er", "##e", "and", "an", "##sw", ";", "in"]
    vocabulary = {token: place for place, token in enumerate([*special, *words, *"abcdefghij"])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    tokenizer = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]", sep_token="[SEP]", mask_token="[MASK]")
    names = ["weather", "words", "neither"]
    config = transformers.BertConfig(vocab_size=len(tokenizer), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24, max_position_embeddings=24, initializer_range=0.4, id2label=dict(enumerate(names)), label2id={name: place for place, name in enumerate(names)})
    torch.manual_seed(5)
    model = transformers.BertForSequenceClassification(config).eval()
    folder = ROOT / "bert"
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    texts = ["The weather in the north", "who", "the model reads the words and writes the answer; " * 3]
    expected = []
    for text in texts:
        tokens = tokenizer(text, return_tensors="pt", truncation=True, max_length=24)
        with torch.no_grad():
            probabilities = model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).logits.softmax(-1)[0].tolist()
        expected.append({"text": text, "probabilities": dict(zip(names, probabilities)), "tokens": tokens["input_ids"].shape[1]})
    (folder / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    print("bert", expected)


if __name__ == "__main__":
    templates()
    gpt2()
    llama()
    bert()
