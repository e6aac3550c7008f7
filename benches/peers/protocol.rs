//! What the Rust peers share: names on standard input, a line of JSON for each, and the way times are taken.
//!
//! Times are taken as in `torch_bench.py`, which also says what each name means.

use serde_json::json;
use std::io::{BufRead, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

/// Seconds that a group of calls takes, and how many groups there are.
const GROUP: f64 = 0.04;
const GROUPS: usize = 7;

/// After so many seconds three groups or steps are enough, so that slow ones end too.
const ENOUGH: f64 = 10.0;

/// A time in seconds, or why there is none.
pub type Measured = Result<f64, String>;

/// Threads by the variable THREADS, or as many as there are cores.
pub fn threads() -> usize {
    let asked = std::env::var("THREADS").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Keeps freed memory for the next result. By default glibc hands a result above 32 MiB back to the system, and the
/// next pays for fresh pages: three times the time of a ReLU of 64 MiB.
pub fn keep_memory() {
    #[cfg(target_env = "gnu")]
    // SAFETY: these set two numbers of the allocator.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, i32::MAX);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}

/// Says what this program is, then answers each line of standard input by a line.
pub fn serve(peer: &str, version: &str, threads: usize, mut measure: impl FnMut(&str, &str) -> Measured) {
    let say = |line: serde_json::Value| {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}").and_then(|()| out.flush()).expect("standard output is open");
    };
    say(json!({ "peer": peer, "version": version, "threads": threads }));
    for line in std::io::stdin().lock().lines() {
        let line = line.expect("standard input is text");
        let (kernel, shape) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        // A library that panics on one name may well measure the next.
        let measured = catch_unwind(AssertUnwindSafe(|| measure(kernel, shape))).unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
            Err(format!("panic: {}", text.unwrap_or("without a message")))
        });
        say(match measured {
            Ok(seconds) => json!({ "kernel": kernel, "shape": shape, "ms": seconds * 1e3 }),
            Err(reason) => json!({ "kernel": kernel, "shape": shape, "reason": reason }),
        });
    }
}

/// The sizes in a text such as `4x3x224x224`.
pub fn sizes<const N: usize>(text: &str) -> Result<[usize; N], String> {
    let sizes: Result<Vec<usize>, _> = text.split('x').map(str::parse).collect();
    sizes.ok().and_then(|sizes| sizes.try_into().ok()).ok_or_else(|| format!("{text:?} is not {N} sizes"))
}

/// A convolution's sizes, from a text such as `4x3x224x224 64x3x7x7 stride 2` or one that ends in `depthwise`.
pub struct Convolution {
    pub x: [usize; 4],
    pub weight: [usize; 4],
    pub y: [usize; 4],
    pub stride: usize,
    pub padding: usize,
    pub groups: usize,
}

impl Convolution {
    pub fn of(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split(' ').collect();
        let [x, weight, _, stride] = words.get(..4).and_then(|words| words.try_into().ok()).ok_or("no convolution")?;
        let (x, weight) = (sizes::<4>(x)?, sizes::<4>(weight)?);
        let stride: usize = stride.parse().map_err(|_| "no stride")?;
        let padding = weight[2] / 2;
        let side = |size: usize| (size + 2 * padding - weight[2]) / stride + 1;
        let y = [x[0], weight[0], side(x[2]), side(x[3])];
        Ok(Self { x, weight, y, stride, padding, groups: if words.len() > 4 { x[1] } else { 1 } })
    }
}

/// Tokens, words and width, from a text such as `4096 of 32000x768`.
pub fn lookup(text: &str) -> Result<[usize; 3], String> {
    let (tokens, table) = text.split_once(" of ").ok_or("no table")?;
    let ([tokens], [words, width]) = (sizes(tokens)?, sizes(table)?);
    Ok([tokens, words, width])
}

/// Indices below a limit that lie far apart, as in `torch_bench.py`.
pub fn indices(count: usize, limit: usize) -> Vec<u32> {
    (0..count).map(|place| (place * 7919 % limit) as u32).collect()
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

/// The median time of a call over groups of calls; `sync` waits for what calls have begun.
pub fn timed(mut call: impl FnMut(), sync: impl Fn()) -> f64 {
    let start = Instant::now();
    let mut run = |count: usize| {
        let begin = Instant::now();
        (0..count).for_each(|_| call());
        sync();
        begin.elapsed().as_secs_f64() / count as f64
    };
    run(1);
    let second = run(1);
    // A call of a second is a group by itself.
    let (count, mut times) = if second > 1.0 {
        (1, vec![second])
    } else {
        ((GROUP / run(2).max(1e-6)).clamp(1.0, 2000.0) as usize, Vec::new())
    };
    while times.len() < GROUPS && (times.len() < 3 || start.elapsed().as_secs_f64() < ENOUGH) {
        times.push(run(count));
    }
    median(times)
}

/// The median time of a training step, over about two seconds of them.
pub fn steps(mut step: impl FnMut(), sync: impl Fn()) -> f64 {
    let start = Instant::now();
    let mut run = || {
        let begin = Instant::now();
        step();
        sync();
        begin.elapsed().as_secs_f64()
    };
    run();
    let second = run();
    let count = (2.0 / second).clamp(5.0, 200.0) as usize;
    // A step of a second is warm after one.
    for _ in 0..if second > 1.0 { 0 } else { 3 } {
        run();
    }
    let mut times = Vec::new();
    while times.len() < count && (times.len() < 3 || start.elapsed().as_secs_f64() < ENOUGH) {
        times.push(run());
    }
    median(times)
}

/// The product of an m×k and a k×n matrix by a loop, to hold a library's to.
#[cfg(test)]
pub fn product(a: &[f32], b: &[f32], [m, k, n]: [usize; 3]) -> Vec<f32> {
    let element = |row: usize, column: usize| (0..k).map(|i| a[row * k + i] * b[i * n + column]).sum();
    (0..m * n).map(|place| element(place / n, place % n)).collect()
}

/// The softmax of each row by a loop, to hold a library's to.
#[cfg(test)]
pub fn softmax(x: &[f32], columns: usize) -> Vec<f32> {
    let row = |row: &[f32]| -> Vec<f32> {
        let sum: f32 = row.iter().map(|x| x.exp()).sum();
        row.iter().map(|x| x.exp() / sum).collect()
    };
    x.chunks(columns).flat_map(row).collect()
}

#[cfg(test)]
pub fn assert_close(found: &[f32], wanted: &[f32]) {
    assert_eq!(found.len(), wanted.len());
    found.iter().zip(wanted).for_each(|(found, wanted)| assert!((found - wanted).abs() < 1e-4, "{found} {wanted}"));
}
