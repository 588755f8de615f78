//! Trees made at random print to texts that parse back to them.

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use crate::model::{LinePattern, MatchOp, Matcher};

use super::ast::*;
use super::ip::IpRange;
use super::json_path::JsonPath;
use super::parse_filters::{all_of, any_of};
use super::pattern::WildcardText;
use super::template::Template;
use super::{ParseOptions, check, parse};

fn position() -> PositionRange {
    PositionRange::default()
}

fn label() -> impl Strategy<Value = String> {
    select(vec!["a", "level", "or", "json", "by", "rate", "unwrap", "ip", "_x9", "offset", "bytes", "sum"])
        .prop_map(str::to_owned)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z \"\\\\`{}|=\n\té]{0,8}", "\\PC{0,6}"]
}

fn matcher() -> impl Strategy<Value = Matcher> {
    (label(), any::<bool>(), text(), select(vec![MatchOp::Regex, MatchOp::NotRegex]), any::<bool>()).prop_map(
        |(name, is_regex, value, op, is_negated)| match (is_regex, is_negated) {
            (true, _) => Matcher::new(name, op, "a.+|b").unwrap(),
            (false, true) => Matcher::new(name, MatchOp::NotEqual, value).unwrap(),
            (false, false) => Matcher::equal(name, value),
        },
    )
}

fn matchers() -> impl Strategy<Value = Vec<Matcher>> {
    vec(matcher(), 0..3).prop_map(|mut matchers| {
        matchers.push(Matcher::equal("app", "x"));
        matchers
    })
}

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<i16>().prop_map(f64::from),
        any::<f64>().prop_filter("a literal is finite", |value| value.is_finite()),
    ]
}

fn compare_value() -> impl Strategy<Value = CompareValue> {
    prop_oneof![
        number().prop_map(CompareValue::Number),
        (-i64::MAX..i64::MAX).prop_map(CompareValue::Duration),
        (0u64..1 << 53).prop_map(CompareValue::Bytes),
    ]
}

fn ip() -> impl Strategy<Value = IpRange> {
    select(vec!["10.0.0.0/8", "::1", "10.0.0.1-10.0.0.9"]).prop_map(|text| IpRange::parse(text).unwrap())
}

fn compare_op() -> impl Strategy<Value = CompareOp> {
    use CompareOp::*;
    select(vec![Equal, NotEqual, Greater, GreaterEqual, Less, LessEqual])
}

fn label_filter() -> impl Strategy<Value = LabelFilter> {
    let made = |kind| LabelFilter { position: position(), kind };
    let leaf =
        prop_oneof![
            matcher().prop_map(LabelFilterKind::Matcher),
            (label(), compare_op(), compare_value())
                .prop_map(|(name, op, value)| LabelFilterKind::Compare(LabelComparison { name, op, value })),
            (label(), any::<bool>(), ip()).prop_map(|(name, is_negated, range)| LabelFilterKind::Ip(
                IpFilter { name, is_negated, range }
            )),
        ];
    leaf.prop_map(made).prop_recursive(4, 12, 3, |inner| {
        prop_oneof![vec(inner.clone(), 2..4).prop_map(all_of), vec(inner, 2..4).prop_map(any_of)]
    })
}

fn line_filter() -> impl Strategy<Value = LineFilterStage> {
    use LineFilterOp::*;
    let is_ip = any::<bool>();
    let test = (text(), is_ip, ip());
    let op = select(vec![Contains, NotContains, Matches, NotMatches, Pattern, NotPattern]);
    (op, vec(test, 1..3)).prop_map(|(op, tests)| {
        let test = |(text, is_ip, range): (String, bool, IpRange)| match op {
            Contains | NotContains if is_ip => {
                LineTest { text: range.text().to_owned(), kind: LineTestKind::Ip(range) }
            }
            Contains | NotContains => {
                let kind = LineTestKind::Text(vec![LinePattern::Literal(text.as_str().into())]);
                LineTest { text, kind }
            }
            Matches | NotMatches => {
                let text = "a|b.+".to_owned();
                LineTest { kind: LineTestKind::Text(LinePattern::of_regex(&text).unwrap()), text }
            }
            Pattern | NotPattern => {
                // A text that names a part is none for these.
                let text = if WildcardText::parse(&text).is_ok() { text } else { "a<_>b".to_owned() };
                LineTest { kind: LineTestKind::Wildcard(WildcardText::parse(&text).unwrap()), text }
            }
        };
        LineFilterStage { op, alternatives: tests.into_iter().map(test).collect() }
    })
}

fn template() -> impl Strategy<Value = Template> {
    select(vec!["", "{{.a}} `x`", "a\n{{ .b }}"]).prop_map(|text| Template::parse(text).unwrap())
}

fn json_path() -> impl Strategy<Value = JsonPath> {
    prop_oneof![text().prop_map(|key| JsonPath::key(&key)), Just(JsonPath::parse("a[0].b").unwrap())]
}

fn label_choices() -> impl Strategy<Value = Vec<LabelChoice>> {
    vec(prop_oneof![label().prop_map(LabelChoice::Name), matcher().prop_map(LabelChoice::Matcher)], 1..3)
}

fn label_formats() -> impl Strategy<Value = Vec<LabelFormat>> {
    let value = prop_oneof![
        label().prop_map(LabelFormatValue::Rename),
        template().prop_map(LabelFormatValue::Template)
    ];
    vec((label(), value), 1..3).prop_map(|formats| {
        let formats = formats.into_iter().enumerate();
        formats.map(|(i, (name, value))| LabelFormat { name: format!("{name}{i}"), value }).collect()
    })
}

fn logfmt() -> impl Strategy<Value = Logfmt> {
    let extraction = (label(), text()).prop_map(|(label, key)| LogfmtExtraction { label, key });
    (any::<bool>(), any::<bool>(), vec(extraction, 0..3))
        .prop_map(|(is_strict, keeps_empty, extractions)| Logfmt { is_strict, keeps_empty, extractions })
}

fn stages() -> impl Strategy<Value = Vec<Stage>> {
    let json = (label(), json_path()).prop_map(|(label, path)| JsonExtraction { label, path });
    let kind = prop_oneof![
        line_filter().prop_map(StageKind::LineFilter),
        vec(json, 0..3).prop_map(StageKind::Json),
        logfmt().prop_map(StageKind::Logfmt),
        Just(StageKind::Unpack),
        label_filter().prop_map(StageKind::LabelFilter),
        template().prop_map(StageKind::LineFormat),
        label_formats().prop_map(StageKind::LabelFormat),
        Just(StageKind::Decolorize),
        label_choices().prop_map(StageKind::Drop),
        label_choices().prop_map(StageKind::Keep),
    ];
    vec(kind.prop_map(|kind| Stage { position: position(), kind }), 0..4)
}

fn unwrap() -> impl Strategy<Value = Unwrap> {
    use Conversion::*;
    (label(), option::of(select(vec![Bytes, Duration, DurationSeconds])), vec(label_filter(), 0..2))
        .prop_map(|(label, conversion, filters)| Unwrap { position: position(), label, conversion, filters })
}

fn grouping() -> impl Strategy<Value = Grouping> {
    (any::<bool>(), vec(label(), 0..3)).prop_map(|(is_without, labels)| Grouping { is_without, labels })
}

fn range_aggregation() -> impl Strategy<Value = RangeAggregation> {
    let log = (matchers(), stages(), unwrap(), 1..i64::MAX, -i64::MAX..i64::MAX);
    (select(RangeOp::ALL.to_vec()), number(), log, option::of(grouping())).prop_filter_map(
        "the parts fit",
        |(op, parameter, (matchers, stages, unwrap, range, offset), grouping)| {
            let is_quantile = op == RangeOp::QuantileOverTime;
            let is_counting =
                matches!(op, RangeOp::CountOverTime | RangeOp::BytesOverTime | RangeOp::BytesRate);
            let unwrap = (!is_counting).then_some(unwrap);
            let log = LogRange { position: position(), matchers, stages, unwrap, range, offset };
            let parameter = is_quantile.then_some(NumberLiteral(parameter));
            let made = RangeAggregation { op, parameter, log, grouping };
            check::range_aggregation(&made).is_ok().then_some(made)
        },
    )
}

fn matching(op: BinaryOp, on: bool, labels: Vec<String>, group: u8) -> VectorMatching {
    let cardinality = match (op.is_set_operator(), group) {
        (true, _) => Cardinality::ManyToMany,
        (false, 0) => Cardinality::ManyToOne,
        (false, 1) => Cardinality::OneToMany,
        (false, _) => Cardinality::OneToOne,
    };
    let is_grouped = matches!(cardinality, Cardinality::ManyToOne | Cardinality::OneToMany);
    let include = if is_grouped { vec!["extra".to_owned()] } else { Vec::new() };
    VectorMatching { cardinality, on, labels, include, fill_left: None, fill_right: None }
}

fn metric() -> impl Strategy<Value = MetricExpr> {
    use AggregateOp::*;
    use BinaryOp::*;
    let made = |kind| MetricExpr { position: position(), kind };
    let leaf = prop_oneof![
        3 => range_aggregation().prop_map(MetricKind::Range),
        1 => number().prop_map(|value| MetricKind::Vector(NumberLiteral(value))),
        1 => number().prop_map(|value| MetricKind::Number(NumberLiteral(value))),
    ];
    leaf.prop_map(made).prop_recursive(4, 12, 2, move |inner| {
        let operand = inner.clone().prop_map(Box::new);
        let aggregates = select(vec![Sum, Avg, Count, Min, Max, Stddev, Stdvar, Topk, Bottomk]);
        let aggregate = (aggregates, 1u64..1 << 53, operand.clone(), option::of(grouping())).prop_map(
            |(op, parameter, expr, grouping)| {
                let parameter = op.param_type().map(|_| parameter);
                MetricKind::Aggregate(Aggregate { op, parameter, expr, grouping })
            },
        );
        let sort = (any::<bool>(), operand.clone())
            .prop_map(|(is_descending, expr)| MetricKind::Sort(Sort { is_descending, expr }));
        let replace = (operand.clone(), text(), text()).prop_map(|(expr, replacement, source)| {
            let (destination, pattern) = ("dst".to_owned(), "(.*)-x".to_owned());
            MetricKind::LabelReplace(LabelReplace { expr, destination, replacement, source, pattern })
        });
        let ops = select(vec![
            Add,
            Subtract,
            Multiply,
            Divide,
            Modulo,
            Power,
            Equal,
            NotEqual,
            Less,
            LessEqual,
            Greater,
            GreaterEqual,
            And,
            Or,
            Unless,
        ]);
        let matched = (any::<bool>(), vec(label(), 0..3), 0u8..4);
        let binary = (ops, operand.clone(), operand, any::<bool>(), matched).prop_filter_map(
            "the sides fit",
            |(op, lhs, rhs, return_bool, (on, labels, group))| {
                let has_scalar = lhs.is_scalar() || rhs.is_scalar();
                let matching = (!has_scalar).then(|| matching(op, on, labels, group));
                let return_bool = return_bool && op.is_comparison();
                let mut made = Binary { op, lhs, rhs, return_bool, matching };
                check::binary(&mut made).is_ok().then_some(MetricKind::Binary(made))
            },
        );
        prop_oneof![aggregate, sort, replace, binary].prop_map(made)
    })
}

fn tree() -> impl Strategy<Value = Expr> {
    prop_oneof![
        (matchers(), stages())
            .prop_map(|(matchers, stages)| { Expr::Log(LogExpr { position: position(), matchers, stages }) }),
        metric().prop_map(Expr::Metric),
    ]
}

proptest! {
    #[test]
    fn what_is_printed_parses_back_to_the_same_tree(tree in tree()) {
        let text = tree.to_string();
        let options = ParseOptions { regexes_max: 10_000, ..ParseOptions::default() };
        prop_assert_eq!(parse(&text, &options), Ok(tree), "{}", text);
    }
}
