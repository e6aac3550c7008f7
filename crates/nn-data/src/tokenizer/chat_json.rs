//! JSON as Python's `json.dumps` lays it out, for chat templates.

use serde_json::Value;

/// With a space after commas and colons, or by lines that are indented by so many spaces a level.
pub(super) fn write(value: &Value, indent: Option<usize>, sorted: bool) -> String {
    let mut text = String::new();
    Layout { indent, sorted }.write(value, 0, &mut text);
    text
}

struct Layout {
    indent: Option<usize>,
    sorted: bool,
}

impl Layout {
    fn write(&self, value: &Value, level: usize, text: &mut String) {
        match value {
            Value::Array(elements) => self.list(['[', ']'], elements, level, text, |element, text| {
                self.write(element, level + 1, text);
            }),
            Value::Object(fields) => {
                let mut fields: Vec<_> = fields.iter().collect();
                if self.sorted {
                    fields.sort_by_key(|(name, _)| *name);
                }
                self.list(['{', '}'], &fields, level, text, |(name, field), text| {
                    *text += &format!("{}: ", Value::from(name.as_str()));
                    self.write(field, level + 1, text);
                });
            }
            plain => *text += &plain.to_string(),
        }
    }

    fn list<T>(
        &self,
        [open, close]: [char; 2],
        elements: &[T],
        level: usize,
        text: &mut String,
        write: impl Fn(&T, &mut String),
    ) {
        text.push(open);
        for (place, element) in elements.iter().enumerate() {
            match self.indent {
                Some(_) if place > 0 => text.push(','),
                None if place > 0 => *text += ", ",
                _ => {}
            }
            self.begin_line(level + 1, text);
            write(element, text);
        }
        if !elements.is_empty() {
            self.begin_line(level, text);
        }
        text.push(close);
    }

    fn begin_line(&self, level: usize, text: &mut String) {
        if let Some(indent) = self.indent {
            text.push('\n');
            text.extend(std::iter::repeat_n(' ', indent * level));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// As `json.dumps(…, ensure_ascii=False)` of Python writes them.
    #[test]
    fn layouts_are_those_of_python() {
        let value = json!({"b": [1, 2.5, null, true], "a": {"ö\"<&>": "line\nfeed"}, "c": [], "d": {}});
        let plain = r#"{"b": [1, 2.5, null, true], "a": {"ö\"<&>": "line\nfeed"}, "c": [], "d": {}}"#;
        assert_eq!(write(&value, None, false), plain);
        let sorted = r#"{"a": {"ö\"<&>": "line\nfeed"}, "b": [1, 2.5, null, true], "c": [], "d": {}}"#;
        assert_eq!(write(&value, None, true), sorted);
        let lines = "{\n  \"b\": [\n    1,\n    {\n      \"c\": 2\n    }\n  ],\n  \"d\": []\n}";
        assert_eq!(write(&json!({"b": [1, {"c": 2}], "d": []}), Some(2), false), lines);
        assert_eq!(write(&json!([1]), Some(0), false), "[\n1\n]");
    }
}
