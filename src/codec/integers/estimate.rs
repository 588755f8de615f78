//! About how many bits integers will take, from a few groups of them.

use super::{EXCEPTION_BITS, FEW, LEFT_OUT_SHARE, bit_len, min_max, residuals, sort_few, varint_bits};
use crate::codec::bits::GROUP;
use crate::codec::varint::zigzag;

/// The order of differences in which integers take the fewest bits, and about how many these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Estimate {
    pub order: usize,
    pub bits: usize,
}

impl Estimate {
    pub fn of(values: &[i64]) -> Estimate {
        Estimate::up_to(2, values)
    }

    /// Of these orders alone.
    pub fn up_to(order_max: usize, values: &[i64]) -> Estimate {
        if values.len() <= FEW {
            return Estimate::of_few(order_max, values);
        }
        let orders = (0..=order_max).map(|order| Estimate { order, bits: estimate(values, order) });
        orders.min_by_key(|estimate| estimate.bits).expect("order 0 is one")
    }

    /// Where all of them are looked at.
    fn of_few(order_max: usize, values: &[i64]) -> Estimate {
        let mut residuals = [0; FEW];
        let residuals = &mut residuals[..values.len()];
        residuals.copy_from_slice(values);
        let (mut best, mut first) = (Estimate { order: 0, bits: usize::MAX }, 0);
        for order in 0..=order_max.min(values.len()) {
            let group = &residuals[order..];
            let (head, bits) = if group.is_empty() { (0, 0) } else { estimate_group(group) };
            let bits = first + head + bits;
            if bits < best.bits {
                best = Estimate { order, bits };
            }
            first += residuals.get(order).map_or(0, |&start| varint_bits(start));
            for at in (order + 1..residuals.len()).rev() {
                residuals[at] = residuals[at].wrapping_sub(residuals[at - 1]);
            }
        }
        best
    }
}

/// About how many bits `values` take with this order, from the first residuals of a few groups of them.
fn estimate(values: &[i64], order: usize) -> usize {
    const GROUPS_MEASURED_MAX: usize = 4;
    const MEASURED_MAX: usize = GROUP / 2;
    let residual_count = values.len().saturating_sub(order);
    let group_count = residual_count.div_ceil(GROUP);
    let stride = group_count.div_ceil(GROUPS_MEASURED_MAX).max(1);
    let (mut heads, mut bits, mut groups_measured, mut measured) = (0, 0, 0, 0);
    let mut group = [0; MEASURED_MAX];
    for at in (order..values.len()).step_by(GROUP * stride) {
        let group = &mut group[..(values.len() - at).min(MEASURED_MAX)];
        residuals(values, order, at, group);
        let (head, of_all) = estimate_group(group);
        heads += head;
        bits += of_all;
        groups_measured += 1;
        measured += group.len();
    }
    let first: usize = values.iter().take(order).map(|&v| varint_bits(v)).sum();
    first + heads * group_count / groups_measured.max(1) + bits * residual_count / measured.max(1)
}

/// As [`choose_window`] counts, but without sorting: a window of all residuals, or one around a typical one. Bits of the
/// group's head, and of the rest.
///
/// [`choose_window`]: super::choose_window
fn estimate_group(residuals: &[i64]) -> (usize, usize) {
    let last = residuals.len() - 1;
    let mut some = [0, last / 4, last / 2, last - last / 4, last].map(|at| residuals[at]);
    sort_few(&mut some);
    let typical = some[2];
    let (min, max) = min_max(residuals);
    let of_all = residuals.len() * bit_len(max.wrapping_sub(min) as u64);
    let head = 8 + varint_bits(typical);
    if of_all <= EXCEPTION_BITS {
        // A window that leaves one out costs as much.
        return (head, of_all);
    }
    let around = match residuals.len() {
        ..=FEW if !may_leave_out(residuals, typical, of_all / residuals.len()) => return (head, of_all),
        ..=FEW => bits_of_few,
        _ => bits_of_many,
    };
    (head, of_all.min(around(residuals, typical)))
}

/// Whether a window around a typical one of few residuals can take less than one of all, which has this width: to leave one
/// out, it must be narrower by two bits.
fn may_leave_out(residuals: &[i64], typical: i64, width: usize) -> bool {
    const { assert!(FEW <= EXCEPTION_BITS) };
    let is_far = |residual: &&i64| usize::from(width_beside(typical, **residual)) + 2 > width;
    residuals.iter().filter(is_far).count() <= residuals.len() / LEFT_OUT_SHARE
}

/// The cheapest window around a typical residual, of those that leave out a quarter at most: more may be far away.
fn bits_of_many(residuals: &[i64], typical: i64) -> usize {
    let (mut best, mut outside) = (usize::MAX, residuals.len());
    for (width, count) in count_widths(residuals, typical).into_iter().enumerate() {
        outside -= usize::from(count);
        if outside * 4 <= residuals.len() {
            best = best.min(width * residuals.len() + outside * EXCEPTION_BITS);
        }
        if outside == 0 {
            break;
        }
    }
    best
}

/// The same of few of them, by their widths in order.
fn bits_of_few(residuals: &[i64], typical: i64) -> usize {
    let mut widths = [0; FEW];
    let widths = &mut widths[..residuals.len()];
    widths.iter_mut().zip(residuals).for_each(|(width, &residual)| *width = width_beside(typical, residual));
    sort_few(widths);
    let bits = |outside: usize| {
        usize::from(widths[widths.len() - 1 - outside]) * widths.len() + outside * EXCEPTION_BITS
    };
    (0..=widths.len() / LEFT_OUT_SHARE).map(bits).min().expect("none outside is one")
}

fn width_beside(typical: i64, residual: i64) -> u8 {
    bit_len(zigzag(residual.wrapping_sub(typical))) as u8
}

/// How many residuals are so many bits wide beside a typical one.
fn count_widths(residuals: &[i64], typical: i64) -> [u8; 65] {
    const { assert!(GROUP <= u8::MAX as usize) };
    const LANES: usize = 4;
    const ONE_BY_ONE_MAX: usize = 32;
    let width = |residual: i64| usize::from(width_beside(typical, residual));
    let mut counts = [0u8; 65];
    if residuals.len() < ONE_BY_ONE_MAX {
        residuals.iter().for_each(|&residual| counts[width(residual)] += 1);
        return counts;
    }
    // Most are as wide as the one before: where all were counted in one place, each would wait for the one before.
    let mut lanes = [counts; LANES];
    for some in residuals.chunks(LANES) {
        lanes.iter_mut().zip(some).for_each(|(lane, &residual)| lane[width(residual)] += 1);
    }
    for lane in lanes {
        counts.iter_mut().zip(lane).for_each(|(count, more)| *count += more);
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codec::Effort;
    use crate::codec::integers::encode_as;

    /// Bits that are estimated, and those that groups take.
    fn bits(values: &[i64]) -> (usize, usize) {
        let (estimate, mut bytes) = (Estimate::of(values), Vec::new());
        encode_as(values, estimate, Effort::Fast, &mut bytes);
        (estimate.bits, 8 * bytes.len())
    }

    fn noise(len: i64, spread: i64) -> Vec<i64> {
        (0..len).map(|i| (i * i).wrapping_mul(6_364_136_223_846_793_005).rem_euclid(spread)).collect()
    }

    proptest::proptest! {
        #[test]
        fn where_nothing_may_be_left_out_that_takes_no_less(
            near in proptest::collection::vec(-300i64..300, 1..=FEW),
            far in proptest::collection::vec((0..FEW, -100_000i64..100_000), 0..3),
            order in 0..3usize,
        ) {
            let mut values = near;
            for (at, value) in far {
                let at = at % values.len();
                values[at] = value;
            }
            // Steps, or steps of steps, of these.
            for _ in 0..order {
                (1..values.len()).for_each(|at| values[at] += values[at - 1]);
            }
            for order in 0..3.min(values.len()) {
                let mut group = vec![0; values.len() - order];
                residuals(&values, order, order, &mut group);
                let (min, max) = min_max(&group);
                let of_all = group.len() * bit_len(max.wrapping_sub(min) as u64);
                let any_pays = |typical| may_leave_out(&group, typical, of_all / group.len());
                proptest::prop_assert!(group.iter().all(|&typical| any_pays(typical) || bits_of_few(&group, typical) >= of_all));
            }
        }

        #[test]
        fn few_residuals_are_estimated_as_many_are(residuals in proptest::collection::vec(-500i64..500, 1..=FEW), far: i64) {
            let typical = residuals[residuals.len() / 2];
            let mut spiky = residuals.clone();
            spiky[0] = far;
            for residuals in [residuals, spiky] {
                proptest::prop_assert_eq!(bits_of_few(&residuals, typical), bits_of_many(&residuals, typical));
            }
        }
    }

    #[test]
    fn estimates_are_near_what_groups_take() {
        let walk = |steps: Vec<i64>| {
            steps
                .iter()
                .scan(0, |sum, step| {
                    *sum += step;
                    Some(*sum)
                })
                .collect()
        };
        let mut spiky = noise(1000, 30);
        spiky.iter_mut().step_by(50).for_each(|value| *value <<= 40);
        let kinds: [Vec<i64>; 6] = [
            noise(60, 1 << 52),
            noise(1000, 100),
            walk(noise(1000, 9)),
            spiky,
            vec![7; 500],
            (0..300).collect(),
        ];
        for values in kinds {
            let (estimated, taken) = bits(&values);
            assert!(
                estimated * 5 <= taken * 6 + 200 && taken * 5 <= estimated * 6 + 200,
                "{estimated} instead of {taken}"
            );
        }
    }
}
