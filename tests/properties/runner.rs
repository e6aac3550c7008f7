//! Runs a property over random cases: the same ones every time, and more of them on request.
//!
//! `PROPTEST_CASES=5000` asks for that many cases of each property, and an eighth of them where a GPU takes part;
//! `PROPTEST_RNG_SEED=1` for others.

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};
use std::fmt::Display;

/// Fails with the smallest case found that `property` has something against.
#[track_caller]
pub(crate) fn check<S: Strategy>(cases: u32, cases_of: S, property: impl Fn(&S::Value) -> Result<(), String>)
where
    S::Value: Display,
{
    let wanted = if std::env::var_os("PROPTEST_CASES").is_some() { Config::default().cases } else { cases };
    run(wanted, cases_of, property);
}

/// As [`check`], for what takes a GPU, which is slow where it is a software one.
#[track_caller]
pub(crate) fn check_on_gpu<S: Strategy>(cases: u32, cases_of: S, property: impl Fn(&S::Value) -> Result<(), String>)
where
    S::Value: Display,
{
    let asked = std::env::var_os("PROPTEST_CASES").map(|_| Config::default().cases.div_ceil(8));
    run(asked.unwrap_or(cases), cases_of, property);
}

#[track_caller]
fn run<S: Strategy>(cases: u32, cases_of: S, property: impl Fn(&S::Value) -> Result<(), String>)
where
    S::Value: Display,
{
    let default = Config::default();
    let rng_seed = if default.rng_seed == RngSeed::Random { RngSeed::Fixed(2026) } else { default.rng_seed };
    let config = Config { cases, rng_seed, failure_persistence: None, max_shrink_iters: 4000, ..default };
    match TestRunner::new(config).run(&cases_of, |case| property(&case).map_err(TestCaseError::fail)) {
        Ok(()) => println!("{cases} cases"),
        Err(TestError::Fail(reason, case)) => panic!("{reason}\nThe smallest case that fails:\n{case}"),
        Err(TestError::Abort(reason)) => panic!("no cases could be made: {reason}"),
    }
}
