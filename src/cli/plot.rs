//! Lines on a grid of characters.

use super::answer::Series;
use super::query::clock_time;

const COLUMNS: usize = 72;
const ROWS: usize = 14;
/// One for each series; those that come after have none and are only named.
const MARKS: [char; 8] = ['*', '+', 'o', 'x', '#', '@', '%', '='];

/// A plot of all series on common axes, with a legend below.
pub fn draw(series: &[Series]) -> String {
    let points = || series.iter().take(MARKS.len()).flat_map(|series| &series.points);
    let values = || points().filter_map(|point| point.value()).filter(|value| value.is_finite());
    let (low, high) = (values().fold(f64::MAX, f64::min), values().fold(f64::MIN, f64::max));
    if low > high {
        return "(no data)\n".to_owned();
    }
    let from = points().map(|point| point.seconds).fold(f64::MAX, f64::min);
    let until = points().map(|point| point.seconds).fold(f64::MIN, f64::max);
    let mut grid = vec![[' '; COLUMNS]; ROWS];
    for (series, mark) in series.iter().zip(MARKS) {
        for point in &series.points {
            let Some(value) = point.value().filter(|value| value.is_finite()) else { continue };
            let row = ROWS - 1 - place(value, low, high, ROWS);
            grid[row][place(point.seconds, from, until, COLUMNS)] = mark;
        }
    }
    framed(&grid, low, high, from, until) + &legend(series)
}

/// Which of `count` cells between `low` and `high` the value falls into.
fn place(value: f64, low: f64, high: f64, count: usize) -> usize {
    if high <= low {
        return count / 2;
    }
    // Halves first: the difference of two large values of opposite sign is not finite.
    let share = (value / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0);
    ((share * (count - 1) as f64).round() as usize).min(count - 1)
}

fn framed(grid: &[[char; COLUMNS]], low: f64, high: f64, from: f64, until: f64) -> String {
    let mut text = String::new();
    for (i, row) in grid.iter().enumerate() {
        let label = match i {
            0 => short(high),
            _ if i == ROWS / 2 => short(low / 2.0 + high / 2.0),
            _ if i == ROWS - 1 => short(low),
            _ => String::new(),
        };
        let row: String = row.iter().collect();
        text += &format!("{label:>10} |{}\n", row.trim_end());
    }
    let (from, until) = (clock_time(from), clock_time(until));
    text += &format!("{:>10} +{}\n", "", "-".repeat(COLUMNS));
    text += &format!("{:>11} {from}{until:>width$}\n", "", width = COLUMNS.saturating_sub(from.len()));
    text
}

fn short(value: f64) -> String {
    let size = value.abs();
    match size {
        _ if size >= 1e6 || (size > 0.0 && size < 1e-3) => format!("{value:.3e}"),
        _ if value.fract() == 0.0 => format!("{value}"),
        _ => format!("{value:.3}"),
    }
}

fn legend(series: &[Series]) -> String {
    let mut text = String::new();
    for (series, mark) in series.iter().zip(MARKS) {
        text += &format!("  {mark} {}\n", series.name);
    }
    if series.len() > MARKS.len() {
        text += &format!("  and {} series that are not drawn\n", series.len() - MARKS.len());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::answer::Point;
    use super::*;

    fn line(values: &[&str]) -> Series {
        let point = |(i, text): (usize, &&str)| Point { seconds: i as f64, text: (*text).to_owned() };
        Series { name: "up".to_owned(), points: values.iter().enumerate().map(point).collect() }
    }

    #[test]
    fn a_rising_line_goes_from_the_lower_left_to_the_upper_right() {
        let text = draw(&[line(&["0", "5", "10", "NaN"])]);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("        10 |") && lines[0].ends_with('*'), "{text}");
        assert_eq!(lines[ROWS - 1], "         0 |*");
        assert_eq!(lines[ROWS + 2], "  * up");
    }

    #[test]
    fn flat_lines_extreme_values_and_nothing_at_all_are_drawn() {
        assert!(draw(&[line(&["7"])]).contains('*'));
        assert!(draw(&[line(&["-1.7e308", "1.7e308"])]).contains('*'));
        assert_eq!(draw(&[line(&["NaN"])]), "(no data)\n");
    }
}
