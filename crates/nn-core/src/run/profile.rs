//! How long the launches of a program take.

use crate::schedule::Schedule;
use std::ops::Range;
use std::sync::Arc;

/// The runs of one program while [`crate::Session::set_profile`] was on.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The program's launches.
    pub schedule: Arc<Schedule>,
    /// For each run when each launch began and ended, in seconds from some moment before the first.
    pub runs: Vec<Vec<Range<f64>>>,
}

impl Profile {
    /// The median time of each launch over all runs, in seconds.
    pub fn medians(&self) -> Vec<f64> {
        let launch = |number: usize| {
            let mut times: Vec<f64> = self.runs.iter().map(|run| run[number].end - run[number].start).collect();
            times.sort_by(f64::total_cmp);
            times.get(times.len() / 2).copied().unwrap_or(0.0)
        };
        (0..self.schedule.launches.len()).map(launch).collect()
    }
}

/// Adds a run to those of its program.
pub(super) fn record(profiles: &mut Vec<Profile>, schedule: &Arc<Schedule>, times: Vec<Range<f64>>) {
    match profiles.iter_mut().find(|profile| Arc::ptr_eq(&profile.schedule, schedule)) {
        Some(profile) => profile.runs.push(times),
        None => profiles.push(Profile { schedule: schedule.clone(), runs: vec![times] }),
    }
}
