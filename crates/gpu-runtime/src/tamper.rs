//! Kernels changed on purpose, so that tests can show that a driver which computes wrong is found out.

use crate::kernel::Kernel;
use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

/// Changes the text of kernels before they are compiled.
#[derive(Clone)]
pub struct Tamper(Arc<Change>);

type Change = dyn Fn(&str, &str) -> Option<String> + Send + Sync;

impl Tamper {
    /// `change` is given a kernel's name and text and returns the text to compile; `None` leaves the kernel as it is.
    pub fn new(change: impl Fn(&str, &str) -> Option<String> + Send + Sync + 'static) -> Tamper {
        Tamper(Arc::new(change))
    }

    /// The text to compile for a kernel.
    pub(crate) fn source<'a>(tamper: Option<&Tamper>, kernel: &'a Kernel) -> Cow<'a, str> {
        let changed = tamper.and_then(|tamper| (tamper.0)(&kernel.name, &kernel.source));
        changed.map_or(Cow::Borrowed(&*kernel.source), Cow::Owned)
    }
}

impl fmt::Debug for Tamper {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Tamper")
    }
}
