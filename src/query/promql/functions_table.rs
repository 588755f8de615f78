//! Every function of Prometheus 3.14: its name, what it takes and gives, and whether it is experimental.

/// What an expression evaluates to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ValueType {
    Scalar,
    Vector,
    Matrix,
    String,
}

/// How the last of a signature's arguments may be repeated or left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LastArgument {
    Exactly,
    /// Absent, or up to this many times.
    Optional(usize),
    /// Absent, or any number of times.
    AnyNumber,
}

#[derive(Debug, PartialEq, Eq)]
pub struct FunctionSignature {
    pub function: Function,
    pub name: &'static str,
    pub args: &'static [ValueType],
    pub last: LastArgument,
    pub returns: ValueType,
    pub is_experimental: bool,
}

impl ValueType {
    /// As error texts write it.
    pub fn text(self) -> &'static str {
        match self {
            ValueType::Scalar => "scalar",
            ValueType::Vector => "instant vector",
            ValueType::Matrix => "range vector",
            ValueType::String => "string",
        }
    }
}

impl FunctionSignature {
    pub fn args_min(&self) -> usize {
        if self.last == LastArgument::Exactly { self.args.len() } else { self.args.len() - 1 }
    }

    /// `None`: any number.
    pub fn args_max(&self) -> Option<usize> {
        match self.last {
            LastArgument::Exactly => Some(self.args.len()),
            LastArgument::Optional(n) => Some(self.args.len() - 1 + n),
            LastArgument::AnyNumber => None,
        }
    }

    /// The type of argument `i`; the last one stands for all that follow.
    pub fn arg_type(&self, i: usize) -> Option<ValueType> {
        self.args.get(i).or(self.args.last()).copied()
    }
}

impl Function {
    /// Names are case-sensitive, unlike keywords.
    pub fn by_name(name: &str) -> Option<Function> {
        FUNCTIONS.binary_search_by(|s| s.name.cmp(name)).ok().map(|i| FUNCTIONS[i].function)
    }

    pub fn signature(self) -> &'static FunctionSignature {
        &FUNCTIONS[self as usize]
    }

    pub fn name(self) -> &'static str {
        self.signature().name
    }
}

/// In the order of their names, which is that of [`FUNCTIONS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Function {
    Abs,
    Absent,
    AbsentOverTime,
    Acos,
    Acosh,
    Asin,
    Asinh,
    Atan,
    Atanh,
    AvgOverTime,
    Ceil,
    Changes,
    Clamp,
    ClampMax,
    ClampMin,
    Cos,
    Cosh,
    CountOverTime,
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    DaysInMonth,
    Deg,
    Delta,
    Deriv,
    DoubleExponentialSmoothing,
    End,
    Exp,
    FirstOverTime,
    Floor,
    HistogramAvg,
    HistogramCount,
    HistogramFraction,
    HistogramQuantile,
    HistogramQuantiles,
    HistogramStddev,
    HistogramStdvar,
    HistogramSum,
    Hour,
    Idelta,
    Increase,
    Info,
    Irate,
    LabelJoin,
    LabelReplace,
    LastOverTime,
    Ln,
    Log10,
    Log2,
    MadOverTime,
    MaxOf,
    MaxOverTime,
    MinOf,
    MinOverTime,
    Minute,
    Month,
    Pi,
    PredictLinear,
    PresentOverTime,
    QuantileOverTime,
    Rad,
    Range,
    Rate,
    Resets,
    Round,
    Scalar,
    Sgn,
    Sin,
    Sinh,
    Sort,
    SortByLabel,
    SortByLabelDesc,
    SortDesc,
    Sqrt,
    Start,
    StartTimestamp,
    StddevOverTime,
    StdvarOverTime,
    Step,
    SumOverTime,
    Tan,
    Tanh,
    Time,
    Timestamp,
    TsOfFirstOverTime,
    TsOfLastOverTime,
    TsOfMaxOverTime,
    TsOfMinOverTime,
    Vector,
    Year,
}

use LastArgument::{AnyNumber, Exactly, Optional};
use ValueType::{Matrix, Scalar, String, Vector};

const fn stable(
    function: Function,
    name: &'static str,
    args: &'static [ValueType],
    last: LastArgument,
    returns: ValueType,
) -> FunctionSignature {
    FunctionSignature { function, name, args, last, returns, is_experimental: false }
}

const fn experimental(
    function: Function,
    name: &'static str,
    args: &'static [ValueType],
    last: LastArgument,
    returns: ValueType,
) -> FunctionSignature {
    FunctionSignature { function, name, args, last, returns, is_experimental: true }
}

/// Sorted by name, and indexed by [`Function`].
#[rustfmt::skip]
pub static FUNCTIONS: [FunctionSignature; 90] = [
    stable(Function::Abs, "abs", &[Vector], Exactly, Vector),
    stable(Function::Absent, "absent", &[Vector], Exactly, Vector),
    stable(Function::AbsentOverTime, "absent_over_time", &[Matrix], Exactly, Vector),
    stable(Function::Acos, "acos", &[Vector], Exactly, Vector),
    stable(Function::Acosh, "acosh", &[Vector], Exactly, Vector),
    stable(Function::Asin, "asin", &[Vector], Exactly, Vector),
    stable(Function::Asinh, "asinh", &[Vector], Exactly, Vector),
    stable(Function::Atan, "atan", &[Vector], Exactly, Vector),
    stable(Function::Atanh, "atanh", &[Vector], Exactly, Vector),
    stable(Function::AvgOverTime, "avg_over_time", &[Matrix], Exactly, Vector),
    stable(Function::Ceil, "ceil", &[Vector], Exactly, Vector),
    stable(Function::Changes, "changes", &[Matrix], Exactly, Vector),
    stable(Function::Clamp, "clamp", &[Vector, Scalar, Scalar], Exactly, Vector),
    stable(Function::ClampMax, "clamp_max", &[Vector, Scalar], Exactly, Vector),
    stable(Function::ClampMin, "clamp_min", &[Vector, Scalar], Exactly, Vector),
    stable(Function::Cos, "cos", &[Vector], Exactly, Vector),
    stable(Function::Cosh, "cosh", &[Vector], Exactly, Vector),
    stable(Function::CountOverTime, "count_over_time", &[Matrix], Exactly, Vector),
    stable(Function::DayOfMonth, "day_of_month", &[Vector], Optional(1), Vector),
    stable(Function::DayOfWeek, "day_of_week", &[Vector], Optional(1), Vector),
    stable(Function::DayOfYear, "day_of_year", &[Vector], Optional(1), Vector),
    stable(Function::DaysInMonth, "days_in_month", &[Vector], Optional(1), Vector),
    stable(Function::Deg, "deg", &[Vector], Exactly, Vector),
    stable(Function::Delta, "delta", &[Matrix], Exactly, Vector),
    stable(Function::Deriv, "deriv", &[Matrix], Exactly, Vector),
    experimental(Function::DoubleExponentialSmoothing, "double_exponential_smoothing", &[Matrix, Scalar, Scalar], Exactly, Vector),
    experimental(Function::End, "end", &[], Exactly, Scalar),
    stable(Function::Exp, "exp", &[Vector], Exactly, Vector),
    stable(Function::FirstOverTime, "first_over_time", &[Matrix], Exactly, Vector),
    stable(Function::Floor, "floor", &[Vector], Exactly, Vector),
    stable(Function::HistogramAvg, "histogram_avg", &[Vector], Exactly, Vector),
    stable(Function::HistogramCount, "histogram_count", &[Vector], Exactly, Vector),
    stable(Function::HistogramFraction, "histogram_fraction", &[Scalar, Scalar, Vector], Exactly, Vector),
    stable(Function::HistogramQuantile, "histogram_quantile", &[Scalar, Vector], Exactly, Vector),
    experimental(Function::HistogramQuantiles, "histogram_quantiles", &[Vector, String, Scalar, Scalar], Optional(9), Vector),
    stable(Function::HistogramStddev, "histogram_stddev", &[Vector], Exactly, Vector),
    stable(Function::HistogramStdvar, "histogram_stdvar", &[Vector], Exactly, Vector),
    stable(Function::HistogramSum, "histogram_sum", &[Vector], Exactly, Vector),
    stable(Function::Hour, "hour", &[Vector], Optional(1), Vector),
    stable(Function::Idelta, "idelta", &[Matrix], Exactly, Vector),
    stable(Function::Increase, "increase", &[Matrix], Exactly, Vector),
    experimental(Function::Info, "info", &[Vector, Vector], Optional(1), Vector),
    stable(Function::Irate, "irate", &[Matrix], Exactly, Vector),
    stable(Function::LabelJoin, "label_join", &[Vector, String, String, String], AnyNumber, Vector),
    stable(Function::LabelReplace, "label_replace", &[Vector, String, String, String, String], Exactly, Vector),
    stable(Function::LastOverTime, "last_over_time", &[Matrix], Exactly, Vector),
    stable(Function::Ln, "ln", &[Vector], Exactly, Vector),
    stable(Function::Log10, "log10", &[Vector], Exactly, Vector),
    stable(Function::Log2, "log2", &[Vector], Exactly, Vector),
    experimental(Function::MadOverTime, "mad_over_time", &[Matrix], Exactly, Vector),
    experimental(Function::MaxOf, "max_of", &[Scalar, Scalar], Exactly, Scalar),
    stable(Function::MaxOverTime, "max_over_time", &[Matrix], Exactly, Vector),
    experimental(Function::MinOf, "min_of", &[Scalar, Scalar], Exactly, Scalar),
    stable(Function::MinOverTime, "min_over_time", &[Matrix], Exactly, Vector),
    stable(Function::Minute, "minute", &[Vector], Optional(1), Vector),
    stable(Function::Month, "month", &[Vector], Optional(1), Vector),
    stable(Function::Pi, "pi", &[], Exactly, Scalar),
    stable(Function::PredictLinear, "predict_linear", &[Matrix, Scalar], Exactly, Vector),
    stable(Function::PresentOverTime, "present_over_time", &[Matrix], Exactly, Vector),
    stable(Function::QuantileOverTime, "quantile_over_time", &[Scalar, Matrix], Exactly, Vector),
    stable(Function::Rad, "rad", &[Vector], Exactly, Vector),
    experimental(Function::Range, "range", &[], Exactly, Scalar),
    stable(Function::Rate, "rate", &[Matrix], Exactly, Vector),
    stable(Function::Resets, "resets", &[Matrix], Exactly, Vector),
    stable(Function::Round, "round", &[Vector, Scalar], Optional(1), Vector),
    stable(Function::Scalar, "scalar", &[Vector], Exactly, Scalar),
    stable(Function::Sgn, "sgn", &[Vector], Exactly, Vector),
    stable(Function::Sin, "sin", &[Vector], Exactly, Vector),
    stable(Function::Sinh, "sinh", &[Vector], Exactly, Vector),
    stable(Function::Sort, "sort", &[Vector], Exactly, Vector),
    experimental(Function::SortByLabel, "sort_by_label", &[Vector, String], AnyNumber, Vector),
    experimental(Function::SortByLabelDesc, "sort_by_label_desc", &[Vector, String], AnyNumber, Vector),
    stable(Function::SortDesc, "sort_desc", &[Vector], Exactly, Vector),
    stable(Function::Sqrt, "sqrt", &[Vector], Exactly, Vector),
    experimental(Function::Start, "start", &[], Exactly, Scalar),
    experimental(Function::StartTimestamp, "start_timestamp", &[Vector], Exactly, Vector),
    stable(Function::StddevOverTime, "stddev_over_time", &[Matrix], Exactly, Vector),
    stable(Function::StdvarOverTime, "stdvar_over_time", &[Matrix], Exactly, Vector),
    experimental(Function::Step, "step", &[], Exactly, Scalar),
    stable(Function::SumOverTime, "sum_over_time", &[Matrix], Exactly, Vector),
    stable(Function::Tan, "tan", &[Vector], Exactly, Vector),
    stable(Function::Tanh, "tanh", &[Vector], Exactly, Vector),
    stable(Function::Time, "time", &[], Exactly, Scalar),
    stable(Function::Timestamp, "timestamp", &[Vector], Exactly, Vector),
    experimental(Function::TsOfFirstOverTime, "ts_of_first_over_time", &[Matrix], Exactly, Vector),
    experimental(Function::TsOfLastOverTime, "ts_of_last_over_time", &[Matrix], Exactly, Vector),
    experimental(Function::TsOfMaxOverTime, "ts_of_max_over_time", &[Matrix], Exactly, Vector),
    experimental(Function::TsOfMinOverTime, "ts_of_min_over_time", &[Matrix], Exactly, Vector),
    stable(Function::Vector, "vector", &[Scalar], Exactly, Vector),
    stable(Function::Year, "year", &[Vector], Optional(1), Vector),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_indexed_by_its_functions() {
        assert!(FUNCTIONS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for (i, signature) in FUNCTIONS.iter().enumerate() {
            assert_eq!(signature.function as usize, i, "{}", signature.name);
            assert_eq!(Function::by_name(signature.name), Some(signature.function));
        }
        assert_eq!(Function::by_name("Rate"), None);
    }

    #[test]
    fn optional_arguments_widen_the_count() {
        let counts = |f: Function| (f.signature().args_min(), f.signature().args_max());
        assert_eq!(counts(Function::Round), (1, Some(2)));
        assert_eq!(counts(Function::LabelJoin), (3, None));
        assert_eq!(counts(Function::HistogramQuantiles), (3, Some(12)));
        assert_eq!(counts(Function::Time), (0, Some(0)));
    }
}
