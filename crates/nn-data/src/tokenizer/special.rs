//! Special tokens by their usual names.

/// The ids of special tokens; `None` for those that a tokenizer lacks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpecialTokens {
    /// What fills short rows up.
    pub pad: Option<u32>,
    /// What begins a text.
    pub bos: Option<u32>,
    /// What ends a text.
    pub eos: Option<u32>,
    /// What stands for text that the vocabulary lacks.
    pub unk: Option<u32>,
    /// What hides a token that is to be guessed.
    pub mask: Option<u32>,
    /// What a class is read from.
    pub cls: Option<u32>,
    /// What separates texts.
    pub sep: Option<u32>,
}

impl SpecialTokens {
    /// Looks for the usual names, the most telling first; `id_of` gives the id of a special token.
    pub(super) fn find(id_of: impl Fn(&str) -> Option<u32>) -> Self {
        let first = |names: &[&str]| names.iter().find_map(|name| id_of(name));
        Self {
            pad: first(&["[PAD]", "<pad>", "<|pad|>", "<PAD>", "<|finetune_right_pad_id|>"]),
            // GPT-2 has one token between texts, which begins and ends them.
            bos: first(&[
                "<s>",
                "<bos>",
                "[BOS]",
                "<|startoftext|>",
                "<|begin_of_text|>",
                "<|bos|>",
                "<｜begin▁of▁sentence｜>",
                "<|endoftext|>",
            ]),
            eos: first(&[
                "</s>",
                "<eos>",
                "[EOS]",
                "<|endoftext|>",
                "<|end_of_text|>",
                "<|eos|>",
                "<｜end▁of▁sentence｜>",
                "<|im_end|>",
            ]),
            unk: first(&["[UNK]", "<unk>", "<|unk|>", "<UNK>"]),
            mask: first(&["[MASK]", "<mask>", "<|mask|>"]),
            // RoBERTa's `<s>` and `</s>` are its `[CLS]` and `[SEP]`.
            cls: first(&["[CLS]", "<cls>", "<s>"]),
            sep: first(&["[SEP]", "<sep>", "</s>"]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(names: &[&str]) -> SpecialTokens {
        SpecialTokens::find(|name| names.iter().position(|own| *own == name).map(|place| place as u32))
    }

    #[test]
    fn the_usual_names_are_known() {
        let bert = of(&["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]);
        let expected = SpecialTokens {
            pad: Some(0),
            unk: Some(1),
            cls: Some(2),
            sep: Some(3),
            mask: Some(4),
            ..Default::default()
        };
        assert_eq!(bert, expected);
        let gpt2 = of(&["<|endoftext|>"]);
        assert_eq!(gpt2, SpecialTokens { bos: Some(0), eos: Some(0), ..Default::default() });
        let roberta = of(&["<s>", "<pad>", "</s>", "<unk>", "<mask>"]);
        assert_eq!((roberta.bos, roberta.cls, roberta.eos, roberta.sep), (Some(0), Some(0), Some(2), Some(2)));
        assert_eq!(of(&["<|end_of_text|>", "<|begin_of_text|>"]).eos, Some(0));
        assert_eq!(of(&["other"]), SpecialTokens::default());
    }
}
