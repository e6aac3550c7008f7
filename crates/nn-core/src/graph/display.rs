//! Graphs as text: one line a node, the same for the same graph, so that tests can compare them.

use super::{Graph, NodeKind, ValueId};
use std::fmt;

impl fmt::Display for ValueId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "%{}", self.node.index())?;
        if self.output > 0 { write!(formatter, ".{}", self.output) } else { Ok(()) }
    }
}

impl fmt::Display for Graph {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, node) in self.iter() {
            write!(formatter, "%{} = ", id.index())?;
            match &node.kind {
                NodeKind::Input(name) => write!(formatter, "input {name:?}")?,
                NodeKind::State(name) => write!(formatter, "state {name:?}")?,
                NodeKind::StepScalar(scalar) => write!(formatter, "step scalar {}", scalar.name())?,
                NodeKind::Constant(bytes) => {
                    write!(formatter, "constant {}", constant_text(bytes.as_ref().as_ref(), &node.outputs[0]))?;
                }
                NodeKind::Op(op) => {
                    let inputs: Vec<String> = node.inputs.iter().map(ValueId::to_string).collect();
                    let attributes = op.attributes();
                    let space = if attributes.is_empty() { "" } else { " " };
                    write!(formatter, "{}({}){space}{attributes}", op.name(), inputs.join(", "))?;
                }
            }
            let kinds: Vec<String> = node.outputs.iter().map(ToString::to_string).collect();
            write!(formatter, " : {}", kinds.join(", "))?;
            if node.scope.is_empty() { writeln!(formatter)? } else { writeln!(formatter, "  # {}", node.scope)? }
        }
        for (name, value) in &self.outputs {
            writeln!(formatter, "output {name:?} = {value}")?;
        }
        for (name, value) in &self.updates {
            writeln!(formatter, "update {name:?} = {value}")?;
        }
        Ok(())
    }
}

/// A scalar as its value, anything larger as a checksum of its bytes (FNV-1a).
fn constant_text(bytes: &[u8], kind: &crate::tensor::TensorType) -> String {
    use crate::tensor::DType;
    if let Ok(word) = <[u8; 4]>::try_from(bytes) {
        return match kind.dtype {
            DType::I32 => i32::from_ne_bytes(word).to_string(),
            DType::U32 => u32::from_ne_bytes(word).to_string(),
            _ => format!("{:?}", f32::from_ne_bytes(word)),
        };
    }
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    format!("bytes {hash:016x}")
}
