//! What the comparisons of a check came to, operator by operator.

use super::compare::Tally;
use crate::tensor::DType;
use std::collections::BTreeMap;

/// What was compared while a check was on, and how close the results were; see
/// [`crate::Session::check_report`].
#[derive(Clone, Debug, Default)]
pub struct CheckReport {
    ops: BTreeMap<(&'static str, DType), OpReport>,
}

/// The comparisons of one operator with results of one type.
#[derive(Clone, Debug, PartialEq)]
pub struct OpReport {
    /// The operator's name.
    pub op: &'static str,
    /// The element type of its results.
    pub dtype: DType,
    /// Comparisons of a whole result: one for each launch and output of a kernel. In a fused group one for each
    /// value that other members read and one for each that the group stores.
    pub cases: u64,
    /// Elements compared. Left out are those of which the device promises nothing, such as a GPU's results of
    /// infinite arguments.
    pub elements: u64,
    /// The error of the element whose error is the largest part of what it may be; infinite for NaN and infinities
    /// in the wrong place.
    pub max_error: f64,
    /// What that error may be.
    pub tolerance: f64,
    /// `max_error / tolerance` (0 where both are 0); beyond 1 the operator computed wrong.
    pub share: f64,
}

impl CheckReport {
    /// One entry for each operator and type of results, ordered by name.
    pub fn ops(&self) -> impl Iterator<Item = &OpReport> {
        self.ops.values()
    }

    /// Whether nothing was compared.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    pub(super) fn add(&mut self, op: &'static str, dtype: DType, tally: &Tally) {
        let nothing = || OpReport { op, dtype, cases: 0, elements: 0, max_error: 0.0, tolerance: 0.0, share: 0.0 };
        let entry = self.ops.entry((op, dtype)).or_insert_with(nothing);
        let first = entry.elements == 0;
        entry.cases += 1;
        entry.elements += tally.elements;
        if let Some(worst) = tally.worst.as_ref().filter(|worst| first || worst.share > entry.share) {
            (entry.max_error, entry.tolerance, entry.share) = (worst.error, worst.tolerance, worst.share);
        }
    }
}
