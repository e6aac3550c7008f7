//! Reads and replaces the `const` declarations of a WGSL text, and evaluates its workgroup's size and memory.
//!
//! Only what a specialised kernel needs: a full WGSL front end at run time would weigh a megabyte in a
//! browser. The device still validates every specialised text when its pipeline is made.

/// A constant may be defined by another one; deeper chains than this are taken for a cycle.
const MAX_DEPTH: u32 = 16;

/// The parts of a line `const NAME: type = value;`.
struct Declaration<'a> {
    /// Everything up to and including `=`.
    head: &'a str,
    name: &'a str,
    value: &'a str,
    /// Everything after the `;`, such as a comment.
    tail: &'a str,
}

fn declaration(line: &str) -> Option<Declaration<'_>> {
    let rest = line.strip_prefix("const ")?;
    let equals = line.find('=')?;
    let semicolon = equals + line[equals..].find(';')?;
    let name_end = rest.find([':', '=', ' '])?;
    Some(Declaration {
        head: &line[..=equals],
        name: &rest[..name_end],
        value: line[equals + 1..semicolon].trim(),
        tail: &line[semicolon + 1..],
    })
}

/// The text with the value of `const name` replaced, or `None` where no line declares it.
pub(crate) fn replace(source: &str, name: &str, value: u32) -> Option<String> {
    let mut found = false;
    let mut text = String::with_capacity(source.len() + 16);
    for line in source.split_inclusive('\n') {
        match declaration(line) {
            Some(declared) if declared.name == name => {
                found = true;
                // Without a suffix the literal takes the declared type.
                text.push_str(&format!("{} {value};{}", declared.head, declared.tail));
            }
            _ => text.push_str(line),
        }
    }
    found.then_some(text)
}

/// The workgroup size that the text's `@workgroup_size(…)` states, or why it cannot be told.
pub(crate) fn workgroup_size(source: &str) -> Result<[u32; 3], String> {
    let code = without_comments(source);
    let marker = "@workgroup_size";
    let start = code.find(marker).ok_or("no @workgroup_size")? + marker.len();
    let mut scanner = Scanner { rest: code[start..].trim_start(), source: &code, depth: 0 };
    scanner.expect('(')?;
    let mut size = [1u32; 3];
    for (dimension, place) in size.iter_mut().enumerate() {
        let value = scanner.sum()?;
        *place = u32::try_from(value)
            .ok()
            .filter(|value| *value > 0)
            .ok_or_else(|| format!("workgroup size {value} in dimension {dimension}"))?;
        if !scanner.accept(',') || scanner.peek() == Some(')') {
            break;
        }
    }
    scanner.expect(')')?;
    Ok(size)
}

/// The bytes of the text's `var<workgroup>` declarations, each rounded up to 16, or why they cannot be told.
pub(crate) fn workgroup_bytes(source: &str) -> Result<u32, String> {
    let code = without_comments(source);
    let mut sum = 0u64;
    for rest in code.split("var<workgroup>").skip(1) {
        let (_, ty) = rest.split_once(':').ok_or("a workgroup variable without a type")?;
        let (bytes, _) = Scanner { rest: ty, source: &code, depth: 0 }.size()?;
        sum = sum.saturating_add(bytes.checked_next_multiple_of(16).unwrap_or(u64::MAX));
    }
    u32::try_from(sum).map_err(|_| format!("{sum} bytes"))
}

fn without_comments(source: &str) -> String {
    source.lines().map(|line| line.split("//").next().unwrap_or("")).collect::<Vec<_>>().join("\n")
}

/// A recursive-descent reader of constant integer expressions.
struct Scanner<'a> {
    rest: &'a str,
    source: &'a str,
    depth: u32,
}

impl<'a> Scanner<'a> {
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn accept(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.rest = &self.rest[wanted.len_utf8()..];
        }
        found
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.accept(wanted) { Ok(()) } else { Err(format!("expected '{wanted}' before \"{}\"", self.near())) }
    }

    fn near(&self) -> &'a str {
        self.rest.lines().next().unwrap_or("")
    }

    fn word(&mut self) -> &'a str {
        self.peek();
        let end = self.rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    /// Bytes and alignment of a type: a number, an atomic, a vector or an array of them.
    fn size(&mut self) -> Result<(u64, u64), String> {
        let name = self.word();
        let lanes: u64 = match name {
            "f16" => return Ok((2, 2)),
            "f32" | "u32" | "i32" => return Ok((4, 4)),
            "atomic" => 1,
            "vec2" => 2,
            "vec3" => 3,
            "vec4" => 4,
            "array" => 0,
            _ => return Err(format!("the size of type \"{name}\" is not known here")),
        };
        self.expect('<')?;
        let (element, alignment) = self.size()?;
        let size = if name == "array" {
            self.expect(',')?;
            let count = self.sum()?;
            self.accept(',');
            let stride = element.next_multiple_of(alignment);
            let bytes = u64::try_from(count).ok().and_then(|count| count.checked_mul(stride));
            (bytes.ok_or_else(|| format!("an array of {count} elements"))?, alignment)
        } else {
            (lanes * element, lanes.next_power_of_two() * alignment)
        };
        self.expect('>')?;
        Ok(size)
    }

    fn sum(&mut self) -> Result<i64, String> {
        let mut left = self.product()?;
        loop {
            let result = match self.peek() {
                Some('+') => (self.accept('+'), left.checked_add(self.product()?)).1,
                Some('-') => (self.accept('-'), left.checked_sub(self.product()?)).1,
                _ => return Ok(left),
            };
            left = result.ok_or("a constant overflows")?;
        }
    }

    fn product(&mut self) -> Result<i64, String> {
        let mut left = self.atom()?;
        loop {
            let result = match self.peek() {
                Some('*') => (self.accept('*'), left.checked_mul(self.atom()?)).1,
                Some('/') => (self.accept('/'), left.checked_div(self.atom()?)).1,
                Some('%') => (self.accept('%'), left.checked_rem(self.atom()?)).1,
                _ => return Ok(left),
            };
            left = result.ok_or("a constant overflows or divides by zero")?;
        }
    }

    fn atom(&mut self) -> Result<i64, String> {
        if self.accept('(') {
            let value = self.sum()?;
            self.expect(')')?;
            return Ok(value);
        }
        let word = self.word();
        if word.starts_with(|c: char| c.is_ascii_digit()) {
            let digits = word.trim_end_matches(['u', 'i']);
            let value = match digits.strip_prefix("0x") {
                Some(hexadecimal) => i64::from_str_radix(hexadecimal, 16),
                None => digits.parse(),
            };
            return value.map_err(|_| format!("\"{word}\" is not an integer"));
        }
        if (word == "u32" || word == "i32") && self.peek() == Some('(') {
            return self.atom();
        }
        self.constant(word)
    }

    fn constant(&self, name: &str) -> Result<i64, String> {
        if self.depth >= MAX_DEPTH {
            return Err(format!("constant \"{name}\" is defined by itself"));
        }
        let declared = self
            .source
            .lines()
            .filter_map(declaration)
            .find(|declared| declared.name == name)
            .ok_or_else(|| format!("no constant \"{name}\" near \"{}\"", self.near()))?;
        let mut inner = Scanner { rest: declared.value, source: self.source, depth: self.depth + 1 };
        let value = inner.sum()?;
        match inner.peek() {
            None => Ok(value),
            Some(_) => Err(format!("constant \"{name}\" is not a plain integer expression")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "// @workgroup_size(9)\nconst WIDTH: u32 = 64; // lanes\nconst ROWS = WIDTH / (2u * 4u);\n\
                        fn f() {\n    const WIDTH = 3;\n}\n@compute @workgroup_size(WIDTH, ROWS - 1, 0x2u)\nfn k() {}\n";

    #[test]
    fn evaluates_sizes_through_constants() {
        assert_eq!(workgroup_size(TEXT), Ok([64, 7, 2]));
        assert_eq!(workgroup_size("@compute @workgroup_size(8,)\nfn k() {}"), Ok([8, 1, 1]));
        assert_eq!(
            workgroup_size("const A = B;\nconst B = A;\n@workgroup_size(A) fn k() {}")
                .map_err(|m| m.contains("itself")),
            Err(true)
        );
        assert!(workgroup_size("@workgroup_size(MISSING) fn k() {}").is_err());
        assert!(workgroup_size("@workgroup_size(4 - 4) fn k() {}").is_err());
        assert!(workgroup_size("const A = 4 / 0;\n@workgroup_size(A) fn k() {}").is_err());
    }

    #[test]
    fn adds_up_workgroup_memory() {
        assert_eq!(workgroup_bytes(TEXT), Ok(0));
        let text = "const WIDTH = 5;\n// var<workgroup> not: array<u32, 9>;\nvar<workgroup> flag: u32;\n\
                    var<workgroup> a: array<vec3<f32>, WIDTH * 2u,>;\nvar<workgroup> b: array<atomic<u32>, 3>;\n\
                    var<workgroup> c: array<array<vec2<f16>, 3>, 4>; // (4, 3)\n";
        assert_eq!(workgroup_bytes(text), Ok(16 + 160 + 16 + 48));
        assert!(workgroup_bytes("var<workgroup> a: Tile;").is_err());
        assert!(workgroup_bytes("var<workgroup> a: array<f32, N>;").is_err());
        assert!(workgroup_bytes("var<workgroup> a: array<f32, 0 - 4>;").is_err());
    }

    #[test]
    fn replaces_only_declarations_at_line_start() {
        let text = replace(TEXT, "WIDTH", 32).unwrap();
        assert!(text.contains("const WIDTH: u32 = 32; // lanes\n"));
        assert!(text.contains("    const WIDTH = 3;\n"));
        assert_eq!(workgroup_size(&text), Ok([32, 3, 2]));
        assert_eq!(replace(TEXT, "WIDT", 1), None);
    }
}
