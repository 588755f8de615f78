//! What fits together: which aggregation takes an unwrap, a parameter, a grouping; what is known and does not run.

use crate::model::labels::is_label_name;

use super::ast::{AggregateOp, Binary, LabelReplace, NumberLiteral, RangeAggregation, RangeOp};

/// Looks at the sides of an operator; takes the matching away where there is nothing to match.
pub(super) fn binary(binary: &mut Binary) -> Result<(), String> {
    let scalars = [binary.lhs.is_scalar(), binary.rhs.is_scalar()];
    if binary.op.is_set_operator() && scalars.contains(&true) {
        let side = if scalars[0] { "left" } else { "right" };
        let op = binary.op.text();
        return Err(format!("unexpected literal for {side} side of logical/set binary operation ({op})"));
    }
    if scalars.contains(&true)
        && let Some(matching) = binary.matching.take()
        && matching.on | !matching.labels.is_empty()
    {
        return Err("vector matching only allowed between instant vectors".to_owned());
    }
    if scalars == [true, true] && binary.op.is_comparison() {
        binary.return_bool = true;
    }
    Ok(())
}

pub(super) fn range_aggregation(aggregation: &RangeAggregation) -> Result<(), String> {
    use RangeOp::*;
    let op = aggregation.op;
    let name = op.text();
    let is_unwrapped = aggregation.log.unwrap.is_some();
    if is_unwrapped && matches!(op, CountOverTime | BytesOverTime | BytesRate) {
        return Err(format!("invalid aggregation {name} with unwrap"));
    }
    if !is_unwrapped && !matches!(op, CountOverTime | Rate | BytesOverTime | BytesRate | AbsentOverTime) {
        return Err(format!("invalid aggregation {name} without unwrap"));
    }
    match (op, aggregation.parameter) {
        (QuantileOverTime, None) => return Err(format!("parameter required for operation {name}")),
        (QuantileOverTime, Some(_)) | (_, None) => {}
        (_, Some(NumberLiteral(value))) => {
            return Err(format!("parameter {value} not supported for operation {name}"));
        }
    }
    let may_group = matches!(
        op,
        AvgOverTime
            | MinOverTime
            | MaxOverTime
            | StddevOverTime
            | StdvarOverTime
            | QuantileOverTime
            | FirstOverTime
            | LastOverTime
    );
    if aggregation.grouping.is_some() && !may_group {
        return Err(format!("grouping not allowed for {name} aggregation"));
    }
    Ok(())
}

/// The `k` of `topk` and `bottomk`.
pub(super) fn aggregate_parameter(
    op: AggregateOp,
    parameter: Option<NumberLiteral>,
) -> Result<Option<u64>, String> {
    let name = op.text();
    match (op.param_type(), parameter) {
        (None, None) => Ok(None),
        (None, Some(NumberLiteral(value))) => {
            Err(format!("unsupported parameter {value} for operation {name}"))
        }
        (Some(_), None) => Err(format!("parameter required for operation {name}")),
        (Some(_), Some(NumberLiteral(value))) => {
            let is_count = value >= 1.0 && value.fract() == 0.0 && value < u64::MAX as f64;
            if !is_count {
                return Err(format!("invalid parameter {value} for {name}: a whole number greater than 0"));
            }
            Ok(Some(value as u64))
        }
    }
}

pub(super) fn label_replace(replace: &LabelReplace) -> Result<(), String> {
    if is_label_name(&replace.destination) {
        return Ok(());
    }
    Err(format!("invalid destination label name in label_replace(): {:?}", replace.destination))
}

/// The complaint about a name that is no function of ours.
pub(super) fn unknown_function(name: &str) -> String {
    match name {
        "approx_topk" => "approx_topk is not supported here: topk gives the exact answer".to_owned(),
        "count_values" | "group" | "quantile" | "limitk" | "limit_ratio" => {
            format!("{name} is an aggregation of PromQL, which LogQL does not have")
        }
        "variants" => "variants is not supported: it was taken out of LogQL".to_owned(),
        _ if name.starts_with("__") => format!("{name} is internal to Loki and cannot be queried"),
        _ => format!("unknown function {name:?}"),
    }
}
