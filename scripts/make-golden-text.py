#!/usr/bin/env python3
"""Makes crates/nn-data/tests/golden: what Python's packages for text compute.

Needs tokenizers, transformers, sacrebleu and scikit-learn. Usage: scripts/make-golden-text.py [folder]

tokenizers/<name>.json are small tokenizers of the kinds that models use, trained on the texts of training.json, and
tokenizers/cases.json is what they make of some texts: ids, spans in bytes, decoded text. bleu.json, answers.json and
macro_f1.json hold texts or tables with their scores.
"""

import json
import pathlib
import re
import string
import sys
from collections import Counter

import sacrebleu
import tokenizers
from sklearn.metrics import f1_score
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

ROOT = pathlib.Path(__file__).resolve().parent.parent
LICENCES = [(ROOT / name).read_text() for name in ["LICENSE-APACHE", "LICENSE-MIT"]]
MORE = """Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich. Voilà, ça va? El niño comió una piña mañana.
let mut total = 0; for (index, value) in values.iter().enumerate() { total += index * value; } // 2 + 3 = 5
Don't say we'll, I'm, they've, you're, he'd or it's. 12,345.67 and 0.5 % of 1000000. 日本語 日本 中文 русский язык 😀😀 👍🏽
"""
TRAINING = [*LICENCES, MORE]

TEXTS = [
    "",
    " ",
    "a",
    "The Licensor grants You a licence, subject to the terms below.",
    "  two  spaces,   three\tand a tab\t\t and a trailing one ",
    "line one\nline two\n\n\nline five\r\nwindows\r\n\r\n  indented",
    "I'm sure they've said: don't, won't, WON'T! he'd; we'll…",
    "Zwölf große Füße, Ærøskøbing, Łódź, İstanbul, ﬁnd ½ №5 Ⅷ",
    "e\u0301 combined, n\u0303, \u200b zero width, \u00a0 no-break, \u3000 wide, \ufeff mark",
    "日本語のテキスト。中文文本，русский, العربية, हिन्दी, ไทย, 한국어",
    "😀 👍🏽 👨‍👩‍👧 🇩🇪 in a row 😀😀",
    "x = a[i] ** 2 + b // 3  # comment\n\tif x != 0x1F: return {'k': \"v\"}",
    "1 22 333 4444 55555 3.14159 1,000,000 2021-03-03 1e-8 ٣٤",
    "supercalifragilisticexpialidocious antidisestablishmentarianism",
    "control \x00 \x07 \x1b[0m and \ufffd itself, \U0010ffff last",
    "special <|endoftext|> inside [CLS] and [SEP] or <s> and </s>.",
    "Tail without end",
]
PAIRS = [("Where is it?", "It is in the große Küche."), ("a", ""), ("日本", "two words")]


def byte_level_bpe():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500, min_frequency=2, show_progress=False, special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(TRAINING, trainer)
    return tokenizer


def split_bpe():
    """As Llama 3's: numbers in threes, spaces with the word after them, a token in front."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    pattern = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
               r"|\s+(?!\S)|\s+")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(pattern), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=450, min_frequency=2, show_progress=False,
        special_tokens=["<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(TRAINING, trainer)
    tokenizer.post_processor = processors.Sequence([
        processors.ByteLevel(trim_offsets=True),
        processors.TemplateProcessing(
            single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|>:1 $B:1",
            special_tokens=[("<|begin_of_text|>", 0)])])
    # What such a file says of lengths must not change a text's ids.
    tokenizer.enable_truncation(max_length=8)
    tokenizer.enable_padding(pad_id=2, pad_token="<|finetune_right_pad_id|>", length=16)
    return tokenizer


def word_piece():
    """As BERT's, uncased."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=500, show_progress=False, special_tokens=special)
    tokenizer.train_from_iterator(TRAINING, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    return tokenizer


def unigram():
    """As T5's and ALBERT's, by a SentencePiece model."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(" {2,}"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=400, show_progress=False, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>")
    tokenizer.train_from_iterator(TRAINING, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", pair="$A </s> $B </s>", special_tokens=[("</s>", 1)])
    return tokenizer


def fallback_bpe():
    """As Llama 2's: one word for the whole text, bytes for characters that the vocabulary lacks."""
    words = Tokenizer(models.BPE(unk_token="<unk>"))
    words.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    words.pre_tokenizer = pre_tokenizers.Split(Regex("(?=▁)"), "isolated")
    trainer = trainers.BpeTrainer(
        vocab_size=600, min_frequency=2, show_progress=False, limit_alphabet=70,
        special_tokens=["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)])
    words.train_from_iterator(TRAINING, trainer)
    file = json.loads(words.to_str())
    file["pre_tokenizer"] = None
    file["model"].update(fuse_unk=True, byte_fallback=True)
    file["added_tokens"] = file["added_tokens"][:3]
    tokenizer = Tokenizer.from_str(json.dumps(file))
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s>:1 $B:1", special_tokens=[("<s>", 1)])
    return tokenizer


def word_level():
    tokenizer = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.WordLevelTrainer(vocab_size=200, show_progress=False, special_tokens=["[UNK]", "[PAD]"])
    tokenizer.train_from_iterator(TRAINING, trainer)
    tokenizer.add_tokens([AddedToken("Licensor grants", single_word=True, normalized=False)])
    return tokenizer


def in_bytes(text, span):
    return [len(text[:place].encode()) for place in span]


def encoding(texts, found):
    spans = [
        None if text is None else [text, *in_bytes(texts[text], span)]
        for text, span in zip(found.sequence_ids, found.offsets)]
    return {"ids": found.ids, "types": found.type_ids, "spans": spans}


def cases(tokenizer):
    tokenizer.no_truncation()
    tokenizer.no_padding()
    singles = []
    for text in TEXTS:
        plain = tokenizer.encode(text, add_special_tokens=False)
        whole = tokenizer.encode(text)
        singles.append({
            "text": text, "plain": encoding([text], plain), "whole": encoding([text], whole),
            "decoded": tokenizer.decode(whole.ids, skip_special_tokens=False),
            "skipped": tokenizer.decode(whole.ids, skip_special_tokens=True)})
    pairs = [{"texts": pair, "pair": encoding(pair, tokenizer.encode(*pair))} for pair in PAIRS]
    return {"size": max(tokenizer.get_vocab().values()) + 1, "singles": singles, "pairs": pairs}


HYPOTHESES = [
    "The cat sat on the mat.", "It's 5,000.5 dollars - no, 3-4 more (or less)!", "", "<skipped>Two men &amp; a &quot;dog&quot; &lt;x&gt;",
    "a a a a a", "Ein Mann, der etwas anstarrt .", "end-\nof line\nand more", "1.5.2, .5 ,x. 10- 20 -30 e.g. U.S.A.",
    "trailing space \t", "日本語。テスト", "one", "what / ever {is} [in] `ticks` ~ ^ _ | \\ @home #1 $5 %", "no\u00a0break \x1c here",
    "A man in an orange hat staring at something.", "&amp;lt; twice", "3-", "..,, --",
]
REFERENCES = [
    ["The cat is on the mat.", "There is a cat on the mat."], ["It is 5,000.5 dollars - no, 3-4 more!", "It's 5,000.5 dollars"],
    ["Something", "was here"], ["Two men & a \"dog\" <x>", "Two men and a dog"], ["a a", "a a a b"],
    ["Ein Mann mit einem Hut, der etwas anstarrt.", "Mann"], ["end of line and more", "endof line and more"],
    ["1.5.2, .5, x. 10-20 -30 e.g. U.S.A.", "x"], ["trailing space", "space"], ["日本語。テスト", "日本語"], ["one", "two"],
    ["whatever {is} [in] `ticks` ~ ^ _ | \\ @home #1 $5 %", ""], ["no break here", "no\u00a0break \x1c here"],
    ["A man in an orange hat starring at something.", "A man with an orange hat is looking at something."], ["< twice", "&lt; twice"],
    ["3 -", "3-"], ["..,, --", ". ."],
]


def bleu():
    groups = [list(range(len(HYPOTHESES)))] + [[index] for index in range(len(HYPOTHESES))]
    groups += [[0, 5, 13], [4, 10], [2, 10], [2], [7, 8, 9, 11]]
    found = []
    for group in groups:
        for count in [1, 2]:
            hypotheses = [HYPOTHESES[index] for index in group]
            references = [REFERENCES[index][:count] for index in group]
            result = sacrebleu.corpus_bleu(hypotheses, [list(stream) for stream in zip(*references)])
            found.append({
                "hypotheses": hypotheses, "references": references, "score": result.score, "precisions": result.precisions,
                "brevity_penalty": result.bp, "words": [result.sys_len, result.ref_len]})
    return found


def normalise(text):
    """The rules of SQuAD's script."""
    text = "".join(c for c in text.lower() if c not in set(string.punctuation))
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def answer_f1(answer, accepted):
    found, wanted = normalise(answer).split(), normalise(accepted).split()
    if not found or not wanted:
        return float(found == wanted)
    shared = sum((Counter(found) & Counter(wanted)).values())
    if shared == 0:
        return 0.0
    precision, recall = shared / len(found), shared / len(wanted)
    return 2 * precision * recall / (precision + recall)


ANSWERS = [
    ("The red ball", ["red ball"]), ("a, an, THE!", [""]), ("", [""]), ("kitchen", ["the garden", "in the kitchen"]),
    ("the 1990s.", ["1990's", "the nineties"]), ("Anna–the–great", ["anna – great"]), ("an apple a day", ["apple day", "the day"]),
    ("theatre another a1 the2", ["theatre"]), ("one one two", ["one two two", "one one"]), ("Größe ÄPFEL", ["größe äpfel"]),
    ("no", ["yes"]), ("U.S.A.", ["USA"]), ("“the quoted”", ["“quoted”"]), ("tab\tand\nline", ["tab and line"]),
    ("naïve the", ["naïve"]), ("a_b the_c", ["ab thec"]),
]


def answers():
    return [{
        "answer": answer, "accepted": accepted, "normalised": normalise(answer),
        "exact": any(normalise(answer) == normalise(other) for other in accepted),
        "f1": max(answer_f1(answer, other) for other in accepted)} for answer, accepted in ANSWERS]


def macro_f1():
    tables = [[[5, 1], [2, 7]], [[3, 0, 1], [0, 0, 0], [2, 0, 4]], [[0, 2, 0], [0, 3, 1], [1, 0, 9]], [[0, 4], [5, 0]], [[7]]]
    found = []
    for table in tables:
        labels = [row for row, counts in enumerate(table) for column, count in enumerate(counts) for _ in range(count)]
        guesses = [column for row, counts in enumerate(table) for column, count in enumerate(counts) for _ in range(count)]
        score = f1_score(labels, guesses, average="macro", zero_division=0.0)
        found.append({"confusion": table, "score": score})
    return found


def main():
    folder = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "crates/nn-data/tests/golden"
    (folder / "tokenizers").mkdir(parents=True, exist_ok=True)

    def write(name, value):
        (folder / name).write_text(json.dumps(value, ensure_ascii=True, separators=(",", ":")) + "\n")

    made = {
        "bytes": byte_level_bpe(), "split": split_bpe(), "wordpiece": word_piece(), "unigram": unigram(),
        "fallback": fallback_bpe(), "words": word_level()}
    for name, tokenizer in made.items():
        (folder / "tokenizers" / f"{name}.json").write_text(tokenizer.to_str(pretty=False) + "\n")
    write("tokenizers/training.json", TRAINING)
    write("tokenizers/cases.json", {name: cases(tokenizer) for name, tokenizer in made.items()})
    write("bleu.json", bleu())
    write("answers.json", answers())
    write("macro_f1.json", macro_f1())
    print(f"tokenizers {tokenizers.__version__}, sacrebleu {sacrebleu.__version__}")


if __name__ == "__main__":
    main()
