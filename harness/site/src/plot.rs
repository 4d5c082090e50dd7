//! Curves over time, as SVG that takes its colours from the page.

use maud::{Markup, html};

const WIDTH: f64 = 360.0;
const HEIGHT: f64 = 170.0;
/// Room for the numbers at the axes.
const LEFT: f64 = 46.0;
const RIGHT: f64 = 10.0;
const TOP: f64 = 8.0;
const BOTTOM: f64 = 22.0;

/// A curve: what it shows, its points, and times at which something was found.
pub struct Plot<'a> {
    /// What the curve shows.
    pub name: &'a str,
    /// Seconds since the beginning, ascending, and what there was then; never negative.
    pub points: &'a [(f64, f64)],
    /// Seconds at which something was found.
    pub found: &'a [f64],
}

impl Plot<'_> {
    /// The curve with its axes.
    pub fn draw(&self) -> Markup {
        let end = self.points.last().map_or(0.0, |point| point.0).max(1.0);
        let most = self.points.iter().map(|point| point.1).fold(0.0, f64::max);
        let (step, top) = scale(most);
        let x = |seconds: f64| LEFT + (WIDTH - LEFT - RIGHT) * seconds / end;
        let y = |value: f64| HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * value / top;
        let values = (0..).map(|n| f64::from(n) * step).take_while(|value| *value <= top * 1.001);
        let curve = self.points.iter().map(|&(at, value)| format!("{:.1},{:.1}", x(at), y(value)));
        let last = self.points.last().map_or(0.0, |point| point.1);
        let label = format!("{}: {} after {}", self.name, number(last), time(end));
        html! {
            figure {
                figcaption { (self.name) " " span.note { (number(last)) } }
                svg viewBox=(format!("0 0 {WIDTH} {HEIGHT}")) role="img" aria-label=(label) {
                    @for value in values {
                        line.grid x1=(LEFT) x2=(WIDTH - RIGHT) y1=(y(value)) y2=(y(value)) {}
                        text x=(LEFT - 6.0) y=(y(value) + 4.0) text-anchor="end" { (number(value)) }
                    }
                    @for (share, anchor) in [(0.0, "start"), (0.5, "middle"), (1.0, "end")] {
                        text x=(x(end * share)) y=(HEIGHT - 6.0) text-anchor=(anchor) {
                            (time(end * share))
                        }
                    }
                    @for at in self.found.iter().filter(|at| **at <= end) {
                        line.found x1=(x(*at)) x2=(x(*at)) y1=(TOP) y2=(HEIGHT - BOTTOM) {
                            title { "found after " (time(*at)) }
                        }
                    }
                    polyline.curve points=(curve.collect::<Vec<_>>().join(" ")) {}
                }
            }
        }
    }
}

/// The distance of lines and the value at the top, of at most five round steps.
fn scale(most: f64) -> (f64, f64) {
    let least = (most / 5.0).max(1e-3);
    let power = 10f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0].map(|it| it * power);
    let step = step.into_iter().find(|step| *step >= least * 0.999).unwrap_or(10.0 * power);
    // Without anything to show there is an axis all the same.
    if most <= 0.0 { (1.0, 1.0) } else { (step, step * (most / step).ceil()) }
}

/// A number in few characters.
fn number(value: f64) -> String {
    let (value, unit) = match value {
        1e6.. => (value / 1e6, "M"),
        1e4.. => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let text = if value >= 100.0 { format!("{value:.0}") } else { format!("{value:.1}") };
    format!("{}{unit}", text.strip_suffix(".0").unwrap_or(&text))
}

/// A time in few characters.
pub fn time(seconds: f64) -> String {
    match seconds {
        7200.0.. => format!("{:.1} h", seconds / 3600.0),
        120.0.. => format!("{:.0} min", seconds / 60.0),
        _ => format!("{seconds:.0} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_are_round_and_reach_the_top() {
        for most in [0.0, 0.3, 1.0, 7.0, 99.0, 1234.0, 65536.0] {
            let (step, top) = scale(most);
            assert!(top >= most && top / step < 5.5 && step > 0.0, "{most}: {step} {top}");
        }
        assert_eq!(scale(1234.0), (250.0, 1250.0));
    }

    #[test]
    fn a_curve_stays_inside_its_picture() {
        let points: Vec<(f64, f64)> = (0..50).map(|n| (f64::from(n), f64::from(n * n))).collect();
        let svg = Plot { name: "a<b", points: &points, found: &[3.0, 99.0] }.draw().into_string();
        assert!(svg.contains("a&lt;b") && svg.matches("class=\"found\"").count() == 1);
        let curve = svg.split("points=\"").nth(1).and_then(|rest| rest.split('"').next());
        for point in curve.expect("a curve").split(' ') {
            let (x, y) = point.split_once(',').expect("a point");
            let (x, y): (f64, f64) = (x.parse().expect("x"), y.parse().expect("y"));
            assert!((LEFT..=WIDTH).contains(&x) && (0.0..=HEIGHT).contains(&y), "{point}");
        }
    }

    #[test]
    fn nothing_is_drawn_of_nothing() {
        let svg = Plot { name: "x", points: &[], found: &[] }.draw().into_string();
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }

    #[test]
    fn numbers_are_short() {
        let told = [0.0, 12.34, 250.0, 12_500.0, 3e6].map(number);
        assert_eq!(told, ["0", "12.3", "250", "12.5k", "3M"]);
        assert_eq!([30.0, 600.0, 9000.0].map(time), ["30 s", "10 min", "2.5 h"]);
    }
}
