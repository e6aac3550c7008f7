//! The page of a report: `report.html`, which stands alone.

use std::fmt::Write as _;

use super::{Plot, RunReport};

/// The page's only style; light or dark as the reader's system is.
const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1f242a;--faint:#5c636c;--line:#d9dde2;--paper:#fff;--card:#f5f7f9}\
@media(prefers-color-scheme:dark){:root{--ink:#e6e9ed;--faint:#a3abb5;--line:#3a4149;--paper:#16191d;--card:#20252b}}\
*{box-sizing:border-box}\
body{margin:0 auto;max-width:1060px;padding:24px 20px 60px;font:16px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper)}\
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .2em;overflow-wrap:anywhere}\
h2{font-size:1.2rem;margin:2em 0 .6em;border-bottom:1px solid var(--line);padding-bottom:.2em}\
p.lead{color:var(--faint);margin:0}\
.scroll{overflow-x:auto}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
th,td{padding:.3em .9em .3em 0;text-align:left;border-bottom:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}\
td.n,th.n{text-align:right;padding:.3em 0 .3em 1.4em}\
th{font-weight:600}\
img{max-width:100%;height:auto;background:#fff;border:1px solid var(--line);border-radius:6px;display:block}\
pre{background:var(--card);border:1px solid var(--line);border-radius:6px;padding:12px 14px;overflow-x:auto;font-size:.85rem}";

/// Makes the page from the report and its pictures.
pub(super) fn page(report: &RunReport, plots: &[Plot]) -> String {
    let title = if report.title.is_empty() { "Training run" } else { &report.title };
    let title = escape(title);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    if !report.device.is_empty() {
        push(&mut page, format_args!("<p class=\"lead\">Trained on {}</p>\n", escape(&report.device)));
    }
    let summary = summary(report);
    if !summary.is_empty() {
        push(&mut page, format_args!("<h2>Summary</h2>\n{}", pairs(&summary)));
    }
    if !report.mistakes.is_empty() {
        push(&mut page, format_args!("<h2>Most confident mistakes</h2>\n{}", pairs(&report.mistakes)));
    }
    for plot in plots {
        push(
            &mut page,
            format_args!(
                "<h2>{}</h2>\n<img alt=\"{}\" src=\"data:image/png;base64,{}\">\n",
                escape(&plot.heading),
                escape(&plot.description),
                base64(&plot.png)
            ),
        );
        if !plot.note.is_empty() {
            push(&mut page, format_args!("<p>{}</p>\n", escape(&plot.note)));
        }
    }
    if let Some((names, counts)) = &report.confusion {
        page.push_str("<h2>Classes</h2>\n");
        page.push_str(&class_table(names, counts));
    }
    if !report.evaluations.is_empty() {
        page.push_str("<h2>Evaluations</h2>\n");
        page.push_str(&evaluation_table(report));
    }
    if !report.config_toml.is_empty() {
        push(&mut page, format_args!("<h2>Configuration</h2>\n<pre>{}</pre>\n", escape(&report.config_toml)));
    }
    page.push_str("</body>\n</html>\n");
    page
}

/// Writing to a `String` cannot fail, so the result of `write!` carries nothing.
fn push(page: &mut String, text: std::fmt::Arguments<'_>) {
    let _ = page.write_fmt(text);
}

/// The caller's summary, with what the series say where the caller has not said it.
fn summary(report: &RunReport) -> Vec<(String, String)> {
    let mut pairs = report.summary.clone();
    let mut add = |name: &str, value: String| {
        if !pairs.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            pairs.push((name.to_owned(), value));
        }
    };
    if let Some((step, loss)) = report.steps.last() {
        add("Last step", step.to_string());
        add("Last training loss", number(f64::from(*loss)));
    }
    if let Some((_, loss, accuracy)) = report.evaluations.last() {
        add("Last evaluation loss", number(f64::from(*loss)));
        if let Some(accuracy) = accuracy {
            add("Last evaluation accuracy", percent(f64::from(*accuracy)));
        }
    }
    pairs
}

fn pairs(pairs: &[(String, String)]) -> String {
    let mut table = String::from("<div class=\"scroll\"><table>\n");
    for (name, value) in pairs {
        push(&mut table, format_args!("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", escape(name), escape(value)));
    }
    table.push_str("</table></div>\n");
    table
}

/// Precision, recall and F1 of one class.
#[derive(Debug, PartialEq)]
struct ClassScores {
    /// True samples.
    support: u64,
    /// Right among those predicted as the class; `None` if none was.
    precision: Option<f64>,
    /// Right among those of the class; `None` if there are none.
    recall: Option<f64>,
    /// 2·right / (predicted + true); `None` if both are 0.
    f1: Option<f64>,
}

fn class_scores(counts: &[Vec<u32>], class: usize) -> ClassScores {
    let count = |row: &Vec<u32>, column: usize| u64::from(row.get(column).copied().unwrap_or(0));
    let right = counts.get(class).map_or(0, |row| count(row, class));
    let support: u64 = counts.get(class).map_or(0, |row| row.iter().map(|&n| u64::from(n)).sum());
    let predicted: u64 = counts.iter().map(|row| count(row, class)).sum();
    let share = |part: u64, whole: u64| (whole > 0).then(|| part as f64 / whole as f64);
    ClassScores {
        support,
        precision: share(right, predicted),
        recall: share(right, support),
        f1: share(2 * right, predicted + support),
    }
}

fn class_table(names: &[String], counts: &[Vec<u32>]) -> String {
    let mut table = String::from(
        "<div class=\"scroll\"><table>\n<tr><th>Class</th><th class=\"n\">Samples</th>\
         <th class=\"n\">Precision</th><th class=\"n\">Recall</th><th class=\"n\">F1</th></tr>\n",
    );
    let cell = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), percent);
    for (class, name) in names.iter().enumerate() {
        let scores = class_scores(counts, class);
        push(
            &mut table,
            format_args!(
                "<tr><th scope=\"row\">{}</th><td class=\"n\">{}</td><td class=\"n\">{}</td>\
                 <td class=\"n\">{}</td><td class=\"n\">{}</td></tr>\n",
                escape(name),
                scores.support,
                cell(scores.precision),
                cell(scores.recall),
                cell(scores.f1)
            ),
        );
    }
    table.push_str("</table></div>\n");
    table
}

/// The last evaluations; a long run's earlier ones are in the chart and in metrics.jsonl.
fn evaluation_table(report: &RunReport) -> String {
    const SHOWN: usize = 20;
    let hidden = report.evaluations.len().saturating_sub(SHOWN);
    let mut table = String::new();
    if hidden > 0 {
        push(
            &mut table,
            format_args!("<p>The last {SHOWN} of {}; all are in metrics.jsonl.</p>\n", report.evaluations.len()),
        );
    }
    table.push_str(
        "<div class=\"scroll\"><table>\n<tr><th class=\"n\">Step</th><th class=\"n\">Loss</th>\
         <th class=\"n\">Accuracy</th></tr>\n",
    );
    for (step, loss, accuracy) in &report.evaluations[hidden..] {
        let accuracy = accuracy.map_or_else(|| "–".to_owned(), |share| percent(f64::from(share)));
        push(
            &mut table,
            format_args!(
                "<tr><td class=\"n\">{step}</td><td class=\"n\">{}</td><td class=\"n\">{accuracy}</td></tr>\n",
                number(f64::from(*loss))
            ),
        );
    }
    table.push_str("</table></div>\n");
    table
}

fn percent(share: f64) -> String {
    format!("{:.2} %", 100.0 * share)
}

/// Four significant digits or more, without needless exponents.
fn number(value: f64) -> String {
    let size = value.abs();
    if value == 0.0 || !value.is_finite() {
        format!("{value}")
    } else if (1e-3..1e6).contains(&size) {
        format!("{value:.4}")
    } else {
        format!("{value:.3e}")
    }
}

/// Text as HTML: nothing in it can end an element or an attribute.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// Bytes in base64 (RFC 4648, with padding).
fn base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let byte = |index: usize| u32::from(group.get(index).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            if place <= group.len() {
                let index = (bits >> (18 - 6 * place)) & 63;
                text.push(char::from(ALPHABET[index as usize]));
            } else {
                text.push('=');
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(base64(bytes.as_bytes()), text);
        }
        assert_eq!(base64(&[0xff, 0xef, 0xbe]), "/+++");
    }

    #[test]
    fn class_scores_follow_their_definitions() {
        // True class 0: 8 right, 2 taken for 1; true class 1: 5 right, 1 for 0; class 2 never occurs.
        let counts = vec![vec![8, 2, 0], vec![1, 5, 0], vec![0, 0, 0]];
        let scores = class_scores(&counts, 0);
        assert_eq!(scores.support, 10);
        assert_eq!(scores.precision, Some(8.0 / 9.0));
        assert_eq!(scores.recall, Some(0.8));
        assert_eq!(scores.f1, Some(16.0 / 19.0));
        let nothing = ClassScores { support: 0, precision: None, recall: None, f1: None };
        assert_eq!(class_scores(&counts, 2), nothing);
        assert_eq!(class_scores(&counts, 7), nothing);
    }

    #[test]
    fn text_cannot_become_markup() {
        let report = RunReport {
            title: "<script>\"&'".into(),
            config_toml: "a = \"</pre>\"".into(),
            device: "<b>".into(),
            summary: vec![("<i>".into(), "</td>x".into())],
            confusion: Some((vec!["<u>".into()], vec![vec![1]])),
            ..RunReport::default()
        };
        let page = page(&report, &[]);
        for markup in ["<script>", "</pre>\"", "<b>", "<i>", "</td>x", "<u>"] {
            assert!(!page.contains(markup), "{markup}");
        }
        assert!(page.contains("&lt;script&gt;&quot;&amp;&#39;"));
    }

    #[test]
    fn the_summary_is_completed_but_not_repeated() {
        let report = RunReport {
            steps: vec![(1, 2.0), (9, 0.5)],
            evaluations: vec![(9, 0.25, Some(0.975))],
            measures: Vec::new(),
            summary: vec![("last training loss".into(), "mine".into())],
            ..RunReport::default()
        };
        let summary = summary(&report);
        let value = |name: &str| summary.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str());
        assert_eq!(value("Last training loss"), None);
        assert_eq!(value("Last step"), Some("9"));
        assert_eq!(value("Last evaluation accuracy"), Some("97.50 %"));
    }

    #[test]
    fn numbers_are_readable() {
        assert_eq!(number(0.123_456), "0.1235");
        assert_eq!(number(1.5e-7), "1.500e-7");
        assert_eq!(number(f64::NAN), "NaN");
        assert_eq!(number(0.0), "0");
    }
}
