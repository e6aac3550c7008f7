//! Long texts in pieces, cut where nearly every tokenizer begins a new token.

/// Cuts a text into pieces of about `size` bytes or more, each but the last ending with a line feed that stands alone
/// between characters which are no white space.
///
/// Runs of white space stay whole, as many tokenizers make one token of them.
pub(super) fn pieces(text: &str, size: usize) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(cut(rest, size).unwrap_or(rest.len()));
        rest = after;
        Some(piece)
    })
}

/// The first place to cut after `size` bytes, if there is one.
fn cut(text: &str, size: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let is_word = |c: Option<char>| c.is_some_and(|c| !c.is_whitespace());
    let feeds = (size..bytes.len()).filter(|&place| bytes[place] == b'\n');
    // A line feed is no part of another character, so the text can be split beside it.
    feeds
        .map(|feed| feed + 1)
        .find(|&cut| is_word(text[..cut - 1].chars().next_back()) && is_word(text[cut..].chars().next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_cut_at_lone_line_feeds() {
        let text = "äb\nc\n\nd\n e\r\nf \ng\nh";
        assert_eq!(pieces(text, 1).collect::<Vec<_>>(), ["äb\n", "c\n\nd\n e\r\nf \ng\n", "h"]);
        assert_eq!(pieces(text, 4).collect::<Vec<_>>(), ["äb\nc\n\nd\n e\r\nf \ng\n", "h"]);
        assert_eq!(pieces(text, 1000).collect::<Vec<_>>(), [text]);
        assert_eq!(pieces("", 1).count(), 0);
        assert_eq!(pieces("a\n", 0).collect::<Vec<_>>(), ["a\n"]);
        for size in 0..30 {
            assert_eq!(pieces(text, size).collect::<String>(), text);
        }
    }
}
