//! Who may name whom: reads the paths in the sources and the dependencies of the crates, for what Cargo cannot enforce.

use std::path::{Path, PathBuf};

/// A rule for all files under a folder (or for one file): these paths may not be named there.
struct Rule {
    place: &'static str,
    forbidden: &'static [&'static str],
}

/// `nn-core`'s topmost layer, by its paths and by the names that the crate re-exports.
macro_rules! run {
    ($($more:literal),*) => {
        &[
            "crate::run", "crate::Check", "crate::CheckReport", "crate::Device", "crate::Executable",
            "crate::Explanation", "crate::Input", "crate::OpReport", "crate::Session", "crate::StepScalars",
            $($more),*
        ]
    };
}

/// What layers and optimisers may not see: they add nodes, others run them.
macro_rules! running {
    ($($more:literal),*) => { &["nn_core::run", "nn_core::Session", "nn_core::Executable", $($more),*] };
}

const RULES: &[Rule] = &[
    Rule { place: "crates/cpu-reference/", forbidden: &["gpu_runtime", "nn_core", "nn_train", "nn_data"] },
    Rule { place: "crates/gpu-runtime/", forbidden: &["cpu_reference", "nn_core", "nn_train", "nn_data"] },
    // run → passes → {schedule, ops} → graph → tensor
    Rule {
        place: "crates/nn-core/src/tensor/",
        forbidden: run![
            "crate::graph",
            "crate::Graph",
            "crate::Value",
            "crate::ops",
            "crate::schedule",
            "crate::passes"
        ],
    },
    Rule { place: "crates/nn-core/src/graph/", forbidden: run!["crate::ops", "crate::schedule", "crate::passes"] },
    Rule { place: "crates/nn-core/src/ops/", forbidden: run!["crate::schedule", "crate::passes"] },
    Rule { place: "crates/nn-core/src/schedule.rs", forbidden: run!["crate::ops", "crate::passes"] },
    Rule { place: "crates/nn-core/src/schedule/", forbidden: run!["crate::ops", "crate::passes"] },
    Rule { place: "crates/nn-core/src/passes/", forbidden: run![] },
    // train → {nn, optim} → scope
    Rule { place: "crates/nn-train/src/scope/", forbidden: running!["crate::nn", "crate::optim", "crate::train"] },
    Rule { place: "crates/nn-train/src/nn/", forbidden: running!["crate::optim", "crate::train"] },
    Rule { place: "crates/nn-train/src/optim/", forbidden: running!["crate::nn", "crate::train"] },
    Rule { place: "crates/nn-train/", forbidden: &["nn_data"] },
    // A data set is what a trainer takes (`nn_train::Data`); how that trains is none of its business.
    Rule {
        place: "crates/nn-data/src/",
        forbidden: running![
            "nn_train::nn",
            "nn_train::optim",
            "nn_train::scope",
            "nn_train::train",
            "nn_train::Trainer"
        ],
    },
    // Of the runtime only what holds no GPU object.
    Rule { place: "crates/gpu-runtime/src/limits.rs", forbidden: &["wgpu"] },
    Rule { place: "crates/gpu-runtime/src/kernel.rs", forbidden: &["wgpu"] },
    Rule { place: "crates/gpu-runtime/src/memory.rs", forbidden: &["wgpu"] },
    Rule { place: "crates/gpu-runtime/src/program.rs", forbidden: &["wgpu"] },
];

/// For each crate the crates of this project it may depend on.
const DEPENDENCIES: &[(&str, &[&str])] = &[
    ("gpu-runtime", &[]),
    ("cpu-reference", &[]),
    ("nn-core", &["gpu-runtime", "cpu-reference"]),
    ("nn-train", &["nn-core", "gpu-runtime", "cpu-reference"]),
    ("nn-data", &["nn-train", "nn-core", "gpu-runtime", "cpu-reference"]),
    ("nn-models", &["nn-train", "nn-core", "gpu-runtime", "cpu-reference"]),
];

/// The modules that a file's `super` counts from: `src/graph/trace.rs` is `graph::trace`.
fn module_of(file: &str) -> Vec<String> {
    let inside = file.rsplit_once("src/").map_or("", |(_, inside)| inside);
    let mut parts: Vec<String> = inside.trim_end_matches(".rs").split('/').map(String::from).collect();
    if matches!(parts.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        parts.pop();
    }
    parts
}

/// The text without comments and strings, so that only code remains. Characters such as `'"'` are few and harmless.
fn code_of(text: &str) -> String {
    let mut code = String::new();
    for line in text.lines() {
        let line = line.split("//").next().unwrap_or_default();
        let outside = line.split('"').enumerate().filter(|(part, _)| part % 2 == 0).map(|(_, part)| part);
        code.extend(outside);
        code.push('\n');
    }
    code
}

/// All paths in code, with the branches of `{…}` written out and `super` and `self` resolved to `crate::…`.
fn paths_of(file: &str, text: &str) -> Vec<String> {
    let mut paths = Vec::new();
    // The path so far of each open brace that ends a path, and `None` for braces that begin a block.
    let mut open: Vec<Option<String>> = Vec::new();
    let mut path = String::new();
    let code: String =
        code_of(text).split_whitespace().collect::<Vec<_>>().join(" ").replace(" ::", "::").replace(":: ", "::");
    let mut finish = |path: &mut String, open: &[Option<String>]| {
        if !path.is_empty() {
            let prefix = open.last().cloned().flatten().unwrap_or_default();
            paths.push(resolve(file, &format!("{prefix}{path}")));
            path.clear();
        }
    };
    for character in code.chars() {
        match character {
            '{' => {
                let prefix = open.last().cloned().flatten().unwrap_or_default();
                open.push(path.ends_with("::").then(|| format!("{prefix}{path}")));
                path.clear();
            }
            '}' => {
                finish(&mut path, &open);
                open.pop();
            }
            ':' | '_' => path.push(character),
            letter if letter.is_alphanumeric() => path.push(letter),
            _ => finish(&mut path, &open),
        }
    }
    finish(&mut path, &open);
    paths
}

fn resolve(file: &str, path: &str) -> String {
    let mut module = module_of(file);
    let mut rest = path.trim_start_matches("::");
    if !(rest.starts_with("super::") || rest.starts_with("self::")) {
        return rest.to_string();
    }
    while let Some(shorter) = rest.strip_prefix("super::") {
        module.pop();
        rest = shorter;
    }
    rest = rest.trim_start_matches("self::");
    module.iter().fold("crate".to_string(), |path, part| format!("{path}::{part}")) + "::" + rest
}

/// What a file names that it may not.
fn violations(file: &str, text: &str) -> Vec<String> {
    let mut forbidden: Vec<&str> = Vec::new();
    for rule in RULES.iter().filter(|rule| file.starts_with(rule.place)) {
        forbidden.extend(rule.forbidden);
    }
    if !file.starts_with("crates/gpu-runtime/") {
        forbidden.push("wgpu");
    }
    let names =
        |path: &str, name: &str| path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
    let found = paths_of(file, text);
    let found = found.iter().filter(|path| path.contains("::"));
    found
        .filter(|path| forbidden.iter().any(|name| names(path, name)))
        .map(|path| format!("{file} names {path}"))
        .collect()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files below a folder, relative to the root.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn every_source_names_only_what_lies_below_it() {
    let mut files = Vec::new();
    ["crates", "src", "tests", "examples", "benches"]
        .iter()
        .for_each(|folder| sources(&root().join(folder), &mut files));
    let mut wrong = Vec::new();
    let mut seen = vec![0; RULES.len()];
    for path in &files {
        let file = path.strip_prefix(root()).unwrap().to_str().unwrap().replace('\\', "/");
        for (rule, count) in RULES.iter().zip(&mut seen) {
            *count += usize::from(file.starts_with(rule.place));
        }
        wrong.extend(violations(&file, &std::fs::read_to_string(path).unwrap()));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let idle: Vec<&str> = RULES.iter().zip(seen).filter(|(_, count)| *count == 0).map(|(rule, _)| rule.place).collect();
    assert!(idle.is_empty(), "no file lies in {idle:?}; correct the rules");
}

#[test]
fn every_crate_depends_only_on_crates_below_it() {
    let own: Vec<&str> = DEPENDENCIES.iter().map(|(name, _)| *name).collect();
    for entry in std::fs::read_dir(root().join("crates")).unwrap() {
        let folder = entry.unwrap().path();
        let name = folder.file_name().unwrap().to_str().unwrap().to_string();
        let manifest: toml::Table = std::fs::read_to_string(folder.join("Cargo.toml")).unwrap().parse().unwrap();
        let Some((_, allowed)) = DEPENDENCIES.iter().find(|(known, _)| *known == name) else {
            panic!("{name} has no place in the order; give it one in tests/layering.rs");
        };
        for section in ["dependencies", "build-dependencies"] {
            let Some(listed) = manifest.get(section).and_then(toml::Value::as_table) else { continue };
            for dependency in listed.keys() {
                assert!(dependency != "wgpu" || name == "gpu-runtime", "{name} depends on wgpu");
                let fits = !own.contains(&dependency.as_str()) || allowed.contains(&dependency.as_str());
                assert!(fits, "{name} may not depend on {dependency}");
            }
        }
    }
}

#[test]
fn violations_are_found_however_they_are_written() {
    let found = |file: &str, text: &str| !violations(file, text).is_empty();
    for (file, text) in [
        ("src/main.rs", "use wgpu::Device;"),
        ("tests/other.rs", "fn f(device: &wgpu::Device) {}"),
        ("crates/nn-core/src/run/device.rs", "let x = ::wgpu::Limits::default();"),
        ("crates/nn-core/src/graph/mod.rs", "use crate::ops::contiguous_op;"),
        ("crates/nn-core/src/graph/trace.rs", "use crate::{Error, ops::names};"),
        ("crates/nn-core/src/graph/trace.rs", "use super::super::ops;"),
        ("crates/nn-core/src/graph/mod.rs", "fn f() { super::passes::simplify(); }"),
        ("crates/nn-core/src/tensor/host.rs", "use crate::{\n    Error,\n    graph::{Graph, Node},\n};"),
        ("crates/nn-core/src/ops/matmul.rs", "pub(crate) use crate::passes::simplify;"),
        ("crates/nn-core/src/schedule.rs", "use crate::passes::fuse;"),
        ("crates/nn-core/src/passes/lower.rs", "use crate::run::Session;"),
        ("crates/nn-core/src/passes/lower.rs", "use crate::{Error, Session};"),
        ("crates/nn-train/src/nn/linear.rs", "use nn_core::{DType, Session};"),
        ("crates/nn-train/src/optim/mod.rs", "fn f(x: nn_core::run::Executable) {}"),
        ("crates/nn-train/src/scope/mod.rs", "use crate::nn::Linear;"),
        ("crates/nn-data/src/lib.rs", "use nn_train::Trainer;"),
        ("crates/nn-train/src/train/data.rs", "use nn_data::Dataset;"),
        ("crates/cpu-reference/src/lib.rs", "use gpu_runtime::Words;"),
        ("crates/gpu-runtime/src/program.rs", "use wgpu::Buffer;"),
    ] {
        assert!(found(file, text), "{file} may not say {text}");
    }
    for (file, text) in [
        ("src/main.rs", "//! On `wgpu::Device`.\nlet x = \"wgpu::Device\"; // wgpu::Device"),
        ("crates/gpu-runtime/src/device.rs", "use wgpu::Device;"),
        ("crates/nn-core/src/passes/views.rs", "use crate::{Error, ops::contiguous_op};"),
        ("crates/nn-core/src/graph/trace.rs", "use super::{Graph, Op};\nuse crate::tensor::Shape;"),
        ("crates/nn-train/src/nn/linear.rs", "use crate::scope::{Init, Scope};"),
        ("crates/nn-train/src/train/mod.rs", "use nn_core::Session;"),
        ("crates/nn-data/src/dataset.rs", "use nn_train::{Data, TargetsRef};"),
    ] {
        assert!(!found(file, text), "{file} may say {text}: {:?}", violations(file, text));
    }
}

/// The faults of scripts/mutations.toml that code has outgrown would be made nowhere.
#[test]
fn every_fault_that_tests_are_held_to_can_be_made() {
    let text = std::fs::read_to_string(root().join("scripts/mutations.toml")).unwrap();
    let faults: toml::Table = text.parse().unwrap();
    let faults = faults["fault"].as_array().unwrap();
    assert!(faults.len() > 100);
    for fault in faults {
        let [what, file, find] = ["what", "file", "find"].map(|key| fault[key].as_str().unwrap());
        let source = std::fs::read_to_string(root().join(file)).unwrap_or_default();
        assert_eq!(source.matches(find).count(), 1, "{what}: {find:?} in {file}");
    }
}
