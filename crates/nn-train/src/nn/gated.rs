//! Activations of one value by another, of the same shape (Dauphin et al., 2017; Shazeer, 2020).

use nn_core::Value;

macro_rules! gated {
    ($($(#[doc = $doc:literal])+ $name:ident = $activation:ident;)*) => {
        $($(#[doc = $doc])+
        ///
        /// Both are `f32` of one shape, and so is the result; other shapes are an error of the trace.
        #[track_caller]
        pub fn $name(value: Value, gate: Value) -> Value {
            if value.shape() != gate.shape() {
                let message = format!("the value has shape {}, its gate {}", value.shape(), gate.shape());
                value.recorder().fail(stringify!($name), message);
                return value;
            }
            value * gate.$activation()
        })*
    };
}

gated! {
    /// value · sigmoid(gate). `torch.nn.functional.glu` of both, one after the other.
    glu = sigmoid;
    /// value · silu(gate), as in Llama. `value * torch.nn.functional.silu(gate)`.
    swiglu = silu;
    /// value · gelu(gate), by the error function. `value * torch.nn.functional.gelu(gate)`.
    geglu = gelu;
}
