//! `wgrad` alone: what it can do here, the devices, and what to type next.

use super::print;
use crate::config::PRESETS;
use crate::error::Error;

/// # Errors
/// If standard output cannot be written.
pub(super) fn run() -> Result<(), Error> {
    let version = env!("CARGO_PKG_VERSION");
    let mut text = format!(
        "wgrad {version} trains neural networks on any GPU that speaks Vulkan, Metal or DX12, and on the CPU.\n\n\
         Devices here:\n{}\nPresets:\n",
        super::devices::lines()
    );
    for (name, what) in PRESETS {
        text += &format!("  {name:<12} {what}\n");
    }
    text += "\nWhat to type next:\n  \
         wgrad train digits                  train; the report is runs/digits-1/report.html\n  \
         wgrad eval runs/digits-1            loss and accuracy on the held-out pictures\n  \
         wgrad predict runs/digits-1 x.npy   the class of each row of 64 pixels\n  \
         wgrad train model.toml              train a model and data of your own\n  \
         wgrad devices                       limits and features of each device\n  \
         wgrad train --help                  all options\n";
    print(&text)
}
