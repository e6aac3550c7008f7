//! `wgrad devices`: the adapters of this machine, and which one `auto` takes.

use super::{print, print_json};
use crate::error::Error;
use gpu_runtime::{AdapterInfo, AdapterKind, Limits, adapters};
use nn_core::Device;
use serde_json::{Value, json};

#[derive(clap::Args)]
pub(super) struct Arguments {
    /// Print one JSON document
    #[arg(long)]
    json: bool,
}

/// # Errors
/// If standard output cannot be written.
pub(super) fn run(arguments: &Arguments) -> Result<(), Error> {
    if !arguments.json {
        let mut text = lines();
        for adapter in adapters() {
            text += &details(&adapter);
        }
        return print(&text);
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    print_json(&json!({
        "auto": Device::auto().name(),
        "cpu": {"threads": threads},
        "adapters": adapters().iter().map(document).collect::<Vec<_>>(),
    }))
}

fn kind(adapter: &AdapterInfo) -> &'static str {
    match adapter.kind {
        AdapterKind::Discrete => "discrete",
        AdapterKind::Integrated => "integrated",
        AdapterKind::Virtual => "virtual",
        AdapterKind::Other => "other",
        AdapterKind::Software => "software",
    }
}

/// The devices, a line each, and which one `auto` takes.
pub(super) fn lines() -> String {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if threads == 1 { "1 thread".to_string() } else { format!("{threads} threads") };
    let mut text = format!("  cpu          {threads}\n");
    for adapter in adapters() {
        let AdapterInfo { name, backend, driver, .. } = &adapter;
        let (word, note) = match adapter.kind {
            AdapterKind::Software => ("gpu:…", "; software, for checking only: auto never takes it"),
            _ => ("gpu", ""),
        };
        text += &format!("  {word:<12} {name} ({}, {backend}, {driver}{note})\n", kind(&adapter));
    }
    text + &format!("  auto         takes {}\n", Device::auto().name())
}

fn details(adapter: &AdapterInfo) -> String {
    let limits = &adapter.limits;
    let mebibytes = |bytes: u64| format!("{} MiB", bytes >> 20);
    let budget = limits.memory_budget.map_or("known to the driver only".into(), mebibytes);
    let rows = [
        ("largest buffer", mebibytes(limits.max_buffer_bytes)),
        ("largest binding", mebibytes(limits.max_binding_bytes)),
        ("memory budget", budget),
        ("storage buffers a stage", limits.max_storage_buffers_per_stage.to_string()),
        ("workgroup memory", format!("{} KiB", limits.max_workgroup_bytes >> 10)),
        ("invocations a workgroup", limits.max_invocations.to_string()),
        ("workgroups a dimension", limits.max_groups_per_dimension.to_string()),
        ("features", adapter.features.join(", ")),
    ];
    let rows: String = rows.iter().map(|(name, value)| format!("  {name:<24} {value}\n")).collect();
    format!("\n{}\n{rows}", adapter.name)
}

fn document(adapter: &AdapterInfo) -> Value {
    json!({
        "name": adapter.name,
        "backend": adapter.backend,
        "driver": adapter.driver,
        "kind": kind(adapter),
        "software": adapter.kind == AdapterKind::Software,
        "limits": limits(&adapter.limits),
        "features": adapter.features,
    })
}

/// Limits as both this command and the doctor print them.
pub(super) fn limits(limits: &Limits) -> Value {
    json!({
        "max_storage_buffers_per_stage": limits.max_storage_buffers_per_stage,
        "max_binding_bytes": limits.max_binding_bytes,
        "max_buffer_bytes": limits.max_buffer_bytes,
        "max_workgroup_bytes": limits.max_workgroup_bytes,
        "max_invocations": limits.max_invocations,
        "max_groups_per_dimension": limits.max_groups_per_dimension,
        "uniform_alignment": limits.uniform_alignment,
        "memory_budget": limits.memory_budget,
    })
}
