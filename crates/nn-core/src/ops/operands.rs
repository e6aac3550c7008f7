//! The other operand of an elementwise operator, and the arithmetic operators of Rust.

use crate::graph::Value;

/// What can stand as the other operand: a value, or a number that becomes a scalar constant.
pub trait IntoValue {
    /// The operand as a value of the same trace.
    fn into_value(self, beside: Value) -> Value;
}

impl IntoValue for Value {
    fn into_value(self, _beside: Value) -> Value {
        self
    }
}

impl IntoValue for f32 {
    #[track_caller]
    fn into_value(self, beside: Value) -> Value {
        beside.recorder().scalar(self)
    }
}

macro_rules! operators {
    ($($operator:ident $method:ident $named:ident;)*) => {
        $(impl<V: IntoValue> std::ops::$operator<V> for Value {
            type Output = Value;
            #[track_caller]
            fn $method(self, other: V) -> Value {
                Value::$named(self, other)
            }
        })*
    };
}
operators! { Add add add; Sub sub subtract; Mul mul multiply; Div div divide; }

impl std::ops::Neg for Value {
    type Output = Value;
    #[track_caller]
    fn neg(self) -> Value {
        self.negate()
    }
}
