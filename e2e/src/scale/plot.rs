//! Curves over the number of instances, as an SVG that needs nothing beside itself.

use std::fmt::Write;

use super::figure::number;

/// A curve.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Whose.
    pub name: &'static str,
    /// Instances and value, in order.
    pub points: Vec<(f64, f64)>,
}

/// A drawing of some curves.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What is drawn, with its unit.
    pub title: &'static str,
    /// The curves.
    pub curves: Vec<Curve>,
}

const WIDTH: f64 = 420.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 56.0;
const RIGHT: f64 = 96.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 40.0;
/// Told apart by those who see no red or no green as well, on white and on black.
const COLOURS: [&str; 3] = ["#0072b2", "#e69f00", "#999999"];

/// Draws panels beside each other.
pub fn draw(panels: &[Panel]) -> String {
    let count = u32::try_from(panels.len()).unwrap_or_default();
    let width = WIDTH * f64::from(count);
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\" fill=\"#777\">\n"
    );
    let mut offset = 0.0;
    for panel in panels {
        let _ = writeln!(text, "<g transform=\"translate({offset} 0)\">\n{}</g>", one(panel));
        offset += WIDTH;
    }
    text + "</svg>\n"
}

fn one(panel: &Panel) -> String {
    let points = || panel.curves.iter().flat_map(|curve| &curve.points);
    let (most_x, most_y) = (nice(points().map(|point| point.0)), nice(points().map(|point| point.1)));
    let x = |value: f64| LEFT + value / most_x * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / most_y * (HEIGHT - TOP - BOTTOM);
    let mut text = format!("<text x=\"{LEFT}\" y=\"18\" font-weight=\"bold\">{}</text>\n", panel.title);
    for part in 0..=4 {
        let share = f64::from(part) / 4.0;
        let (across, up) = (share * most_x, share * most_y);
        let (left, right) = (x(0.0), x(most_x));
        let _ = writeln!(text, "<path d=\"M{left} {0:.1}H{right}\" stroke=\"#8884\"/>", y(up));
        let _ = writeln!(text, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>", left - 6.0, y(up) + 4.0, number(up));
        let _ = writeln!(text, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>", x(across), y(0.0) + 18.0, number(across));
    }
    let _ = writeln!(text, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">instances</text>", x(most_x / 2.0), HEIGHT - 6.0);
    for (curve, colour) in panel.curves.iter().zip(COLOURS) {
        // A path that begins nowhere is none.
        if curve.points.is_empty() {
            continue;
        }
        let steps: Vec<String> = curve.points.iter().map(|(across, up)| format!("{:.1} {:.1}", x(*across), y(*up))).collect();
        let _ = writeln!(text, "<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>", steps.join("L"));
        for (across, up) in &curve.points {
            let _ = writeln!(text, "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>", x(*across), y(*up));
        }
        if let Some((across, up)) = curve.points.last() {
            let _ = writeln!(text, "<text x=\"{:.1}\" y=\"{:.1}\" fill=\"{colour}\">{}</text>", x(*across) + 8.0, y(*up) + 4.0, curve.name);
        }
    }
    text
}

/// The next number with one digit and noughts, or half of one, that is not less than any of these.
fn nice(values: impl Iterator<Item = f64>) -> f64 {
    let most = values.fold(f64::MIN_POSITIVE, f64::max);
    let power = 10_f64.powf(most.log10().floor());
    let steps = [1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0];
    steps.map(|step| step * power).into_iter().find(|step| *step >= most).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_ends_above_all() {
        assert!((nice([3.0, 112.0].into_iter()) - 150.0).abs() < 1e-9);
        assert!((nice([5000.0].into_iter()) - 5000.0).abs() < 1e-9);
        assert!((nice([0.9].into_iter()) - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_curve_without_points_is_not_drawn() {
        let curve = |points| Curve { name: "raw writer", points };
        let draw = |curves| draw(&[Panel { title: "memory (MiB)", curves }]);
        let nothing = draw(vec![curve(Vec::new())]);
        assert!(!nothing.contains("d=\"M\"") && !nothing.contains("NaN") && !nothing.contains("raw writer"), "{nothing}");
        let one = curve(vec![(100.0, 1.0)]);
        assert_eq!(draw(vec![curve(Vec::new()), one.clone()]).matches("stroke=\"#e69f00\"").count(), 1, "each keeps its colour");
    }

    #[test]
    fn each_curve_is_drawn_and_named() {
        let curve = |name, value| Curve { name, points: vec![(0.0, 1.0), (1000.0, value)] };
        let panel = Panel { title: "memory (MiB)", curves: vec![curve("operator", 40.0), curve("twin", 400.0)] };
        let text = draw(&[panel.clone(), panel]);
        assert_eq!(text.matches("<circle").count(), 8);
        assert_eq!(text.matches(">twin</text>").count(), 2);
        assert!(!text.contains("NaN") && text.ends_with("</svg>\n"));
    }
}
