//! The operators of PromQL: signs, arithmetic, comparisons, sets, aggregations, and arithmetic on durations.

use super::functions_table::ValueType;

/// An enum whose variants are words of the language: one list says what there is and how it is written.
macro_rules! words {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$outer])*
        pub enum $name {
            $($(#[$inner])* $variant,)*
        }

        impl $name {
            pub const ALL: &[$name] = &[$($name::$variant),*];

            pub fn text(self) -> &'static str {
                match self {
                    $($name::$variant => $text,)*
                }
            }
        }
    };
}

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    UnaryOp {
        Plus = "+",
        Minus = "-",
    }
}

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    BinaryOp {
        Add = "+",
        Subtract = "-",
        Multiply = "*",
        Divide = "/",
        Modulo = "%",
        Power = "^",
        Atan2 = "atan2",
        Equal = "==",
        NotEqual = "!=",
        Less = "<",
        LessEqual = "<=",
        Greater = ">",
        GreaterEqual = ">=",
        And = "and",
        Or = "or",
        Unless = "unless",
        /// The part of a histogram below a value.
        TrimUpper = "</",
        /// The part of a histogram above a value.
        TrimLower = ">/",
    }
}

impl BinaryOp {
    pub fn is_comparison(self) -> bool {
        use BinaryOp::*;
        matches!(self, Equal | NotEqual | Less | LessEqual | Greater | GreaterEqual)
    }

    pub fn is_set_operator(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }

    pub fn is_trim(self) -> bool {
        matches!(self, BinaryOp::TrimUpper | BinaryOp::TrimLower)
    }
}

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
    AggregateOp {
        Sum = "sum",
        Avg = "avg",
        Count = "count",
        Min = "min",
        Max = "max",
        Group = "group",
        Stddev = "stddev",
        Stdvar = "stdvar",
        Topk = "topk",
        Bottomk = "bottomk",
        CountValues = "count_values",
        Quantile = "quantile",
        Limitk = "limitk",
        LimitRatio = "limit_ratio",
    }
}

impl AggregateOp {
    /// The type of the parameter before the vector, where the operator takes one.
    pub fn param_type(self) -> Option<ValueType> {
        use AggregateOp::*;
        match self {
            Topk | Bottomk | Quantile | Limitk | LimitRatio => Some(ValueType::Scalar),
            CountValues => Some(ValueType::String),
            Sum | Avg | Count | Min | Max | Group | Stddev | Stdvar => None,
        }
    }

    pub fn is_experimental(self) -> bool {
        matches!(self, AggregateOp::Limitk | AggregateOp::LimitRatio)
    }
}

words! {
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    DurationOp {
        Add = "+",
        Subtract = "-",
        Multiply = "*",
        Divide = "/",
        Modulo = "%",
        Power = "^",
    }
}
