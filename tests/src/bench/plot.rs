//! Small SVG plots that need no program to draw.

use std::fmt::Write;

use super::stats::Series;

const WIDTH: f64 = 760.0;
const LABEL_WIDTH: f64 = 300.0;
const BAR_HEIGHT: f64 = 18.0;
const BAR_STEP: f64 = 28.0;
const MARGIN: f64 = 40.0;
const STYLE: &str = "<style>text{font:13px sans-serif;fill:#333}.v{font-size:12px}\
    .bar{fill:#4878a8}.ours{fill:#c8553d}.whisker{stroke:#222;stroke-width:1.5}\
    .line{fill:none;stroke-width:1.8}.axis{stroke:#999;stroke-width:1}\
    .mark{stroke:#888;stroke-width:1.2;stroke-dasharray:4 3}\
    @media(prefers-color-scheme:dark){text{fill:#ddd}.whisker{stroke:#eee}}</style>";

/// A bar of [`bars`].
pub struct Bar {
    /// What stands in front of it.
    pub label: String,
    /// Its values: the median is the bar, the extremes are the whisker.
    pub values: Series,
    /// Whether it is ssync.
    pub ours: bool,
}

/// Horizontal bars, shorter is better.
pub fn bars(title: &str, unit: &str, bars: &[Bar]) -> String {
    let height = MARGIN + bars.len() as f64 * BAR_STEP + 12.0;
    let most = bars.iter().map(|b| b.values.max()).fold(f64::MIN_POSITIVE, f64::max);
    let scale = (WIDTH - LABEL_WIDTH - 90.0) / most;
    let mut svg = head(title, height);
    for (i, bar) in bars.iter().enumerate() {
        let y = MARGIN + i as f64 * BAR_STEP;
        let (middle, median) = (y + BAR_HEIGHT / 2.0, bar.values.median());
        let class = if bar.ours { "ours" } else { "bar" };
        let (low, high) =
            (LABEL_WIDTH + bar.values.min() * scale, LABEL_WIDTH + bar.values.max() * scale);
        let _ = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{class}\" x=\"{LABEL_WIDTH:.0}\" y=\"{y:.0}\" width=\"{:.1}\" \
             height=\"{BAR_HEIGHT:.0}\"/><line class=\"whisker\" x1=\"{low:.1}\" x2=\"{high:.1}\" \
             y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>\
             <text class=\"v\" x=\"{:.1}\" y=\"{:.0}\">{median:.2} {unit}</text>",
            LABEL_WIDTH - 8.0,
            y + 14.0,
            escaped(&bar.label),
            median * scale,
            high + 6.0,
            y + 14.0,
        );
    }
    svg + "</svg>\n"
}

/// A line of [`curves`].
pub struct Curve {
    /// Its name.
    pub label: String,
    /// Points from left to right.
    pub points: Vec<(f64, f64)>,
}

/// Lines over time.
pub fn curves(title: &str, x_unit: &str, y_unit: &str, curves: &[Curve]) -> String {
    marked_curves(title, x_unit, y_unit, curves, &[], "")
}

/// Lines over time, with upright marks at these times, all of the same meaning.
pub fn marked_curves(
    title: &str,
    x_unit: &str,
    y_unit: &str,
    curves: &[Curve],
    marks: &[f64],
    mark_label: &str,
) -> String {
    const COLOURS: [&str; 6] = ["#c8553d", "#4878a8", "#5a9367", "#8a5a9c", "#b8862b", "#666666"];
    const HEIGHT: f64 = 300.0;
    let (left, right, top, bottom) = (60.0, WIDTH - 20.0, MARGIN, HEIGHT - 40.0);
    let most = |pick: fn(&(f64, f64)) -> f64| {
        curves.iter().flat_map(|c| &c.points).map(pick).fold(f64::MIN_POSITIVE, f64::max)
    };
    let (x_max, y_max) = (most(|p| p.0), most(|p| p.1) * 1.1);
    let legend = curves.len() + usize::from(!marks.is_empty());
    let mut svg = head(title, HEIGHT + legend as f64 * 18.0);
    let _ = writeln!(
        svg,
        "<line class=\"axis\" x1=\"{left}\" x2=\"{right}\" y1=\"{bottom}\" y2=\"{bottom}\"/>\
         <line class=\"axis\" x1=\"{left}\" x2=\"{left}\" y1=\"{top}\" y2=\"{bottom}\"/>"
    );
    for quarter in 0..=4 {
        let part = f64::from(quarter) / 4.0;
        let (x, y) = (left + (right - left) * part, bottom - (bottom - top) * part);
        let _ = writeln!(
            svg,
            "<text class=\"v\" x=\"{x:.0}\" y=\"{:.0}\" text-anchor=\"middle\">{:.1} {x_unit}</text>\
             <text class=\"v\" x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{:.0} {y_unit}</text>",
            bottom + 16.0,
            x_max * part,
            left - 4.0,
            y + 4.0,
            y_max * part
        );
    }
    for (i, curve) in curves.iter().enumerate() {
        let colour = COLOURS[i % COLOURS.len()];
        let points: Vec<String> = curve
            .points
            .iter()
            .map(|(x, y)| {
                let x = left + x / x_max * (right - left);
                format!("{x:.1},{:.1}", bottom - y / y_max * (bottom - top))
            })
            .collect();
        let y = HEIGHT + i as f64 * 18.0;
        let _ = writeln!(
            svg,
            "<polyline class=\"line\" stroke=\"{colour}\" points=\"{}\"/>\
             <rect x=\"{left}\" y=\"{:.0}\" width=\"14\" height=\"4\" fill=\"{colour}\"/>\
             <text class=\"v\" x=\"{:.0}\" y=\"{y:.0}\">{}</text>",
            points.join(" "),
            y - 6.0,
            left + 20.0,
            escaped(&curve.label)
        );
    }
    for mark in marks {
        let x = left + mark / x_max * (right - left);
        let _ = writeln!(
            svg,
            "<line class=\"mark\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>"
        );
    }
    if !marks.is_empty() {
        let y = HEIGHT + curves.len() as f64 * 18.0;
        let _ = writeln!(
            svg,
            "<line class=\"mark\" x1=\"{left}\" x2=\"{:.0}\" y1=\"{:.0}\" y2=\"{:.0}\"/>\
             <text class=\"v\" x=\"{:.0}\" y=\"{y:.0}\">{}</text>",
            left + 14.0,
            y - 4.0,
            y - 4.0,
            left + 20.0,
            escaped(mark_label)
        );
    }
    svg + "</svg>\n"
}

fn head(title: &str, height: f64) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\">{STYLE}\n\
         <text x=\"10\" y=\"22\" font-weight=\"bold\">{}</text>\n",
        escaped(title)
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_bar_with_its_whisker_stays_inside() {
        let bar = |values: &[f64]| Bar {
            label: "a < b".into(),
            values: values.iter().copied().collect(),
            ours: true,
        };
        let svg = bars("t", "s", &[bar(&[1.0, 2.0]), bar(&[5.0, 10.0, 20.0])]);
        let x2: Vec<f64> = svg
            .split("x2=\"")
            .skip(1)
            .map(|s| s.split('"').next().unwrap().parse().unwrap())
            .collect();
        assert_eq!(x2.len(), 2);
        assert!(x2.iter().all(|x| *x > LABEL_WIDTH && *x < WIDTH));
        assert!(svg.contains("a &lt; b") && svg.contains("10.00 s"));
    }
}
