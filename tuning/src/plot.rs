//! Line charts in SVG.

use std::fmt::{self, Display, Write};

/// A chart of lines over the same axes.
pub(crate) struct Chart {
    pub(crate) title: String,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
    /// Places on the x axis at which something happened, and what.
    pub(crate) marks: Option<(String, Vec<f64>)>,
}

/// An axis from the first of `ticks` to the last.
pub(crate) struct Axis {
    pub(crate) label: String,
    pub(crate) ticks: Vec<(f64, String)>,
    pub(crate) scale: Scale,
}

#[derive(Clone, Copy)]
pub(crate) enum Scale {
    Linear,
    Log,
}

pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 400.0;
/// Around the lines: left, top, right, bottom.
const MARGINS: (f64, f64, f64, f64) = (78.0, 54.0, 150.0, 52.0);
/// Told apart by those who see no red or no green, and on paper.
const COLOURS: [&str; 4] = ["#0072b2", "#d55e00", "#009e73", "#666666"];

impl Axis {
    pub(crate) fn new(label: &str, scale: Scale, ticks: Vec<(f64, String)>) -> Self {
        Self {
            label: label.to_owned(),
            ticks,
            scale,
        }
    }

    /// From zero to `most` or a little more, in round steps.
    pub(crate) fn from_zero(label: &str, most: f64) -> Self {
        let power = 10_f64.powf((most / 5.0).log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
        let step = steps
            .into_iter()
            .find(|step| most / step <= 5.0)
            .unwrap_or(power);
        let ticks = (0..=(most / step).ceil() as u32).map(|n| f64::from(n) * step);
        let ticks = ticks.map(|value| (value, short(value))).collect();
        Self::new(label, Scale::Linear, ticks)
    }

    /// Over the powers of ten that enclose `least` and `most`.
    pub(crate) fn powers_of_ten(label: &str, least: f64, most: f64) -> Self {
        let (first, last) = (least.log10().floor() as i32, most.log10().ceil() as i32);
        let ticks = (first..=last).map(|power| 10_f64.powi(power));
        let ticks = ticks.map(|value| (value, short(value))).collect();
        Self::new(label, Scale::Log, ticks)
    }

    /// Where between 0 and 1 `value` lies.
    fn place(&self, value: f64) -> f64 {
        let scaled = |value: f64| match self.scale {
            Scale::Linear => value,
            Scale::Log => value.ln(),
        };
        let end = |tick: Option<&(f64, String)>| tick.map_or(0.0, |(value, _)| scaled(*value));
        let (first, last) = (end(self.ticks.first()), end(self.ticks.last()));
        ((scaled(value) - first) / (last - first)).clamp(0.0, 1.0)
    }
}

impl Chart {
    fn x(&self, value: f64) -> f64 {
        MARGINS.0 + self.x.place(value) * (WIDTH - MARGINS.0 - MARGINS.2)
    }

    fn y(&self, value: f64) -> f64 {
        HEIGHT - MARGINS.3 - self.y.place(value) * (HEIGHT - MARGINS.1 - MARGINS.3)
    }

    fn axes(&self, svg: &mut String) -> fmt::Result {
        let (left, right) = (MARGINS.0, WIDTH - MARGINS.2);
        let (top, bottom) = (MARGINS.1, HEIGHT - MARGINS.3);
        for (value, label) in &self.y.ticks {
            let y = self.y(*value);
            writeln!(
                svg,
                r##"<path d="M{left} {y:.1}H{right}" stroke="#dddddd"/>"##
            )?;
            text(svg, left - 8.0, y + 4.0, "end", label)?;
        }
        for (value, label) in &self.x.ticks {
            let x = self.x(*value);
            writeln!(svg, r##"<path d="M{x:.1} {bottom}v5" stroke="#333333"/>"##)?;
            text(svg, x, bottom + 19.0, "middle", label)?;
        }
        writeln!(
            svg,
            r##"<path d="M{left} {top}V{bottom}H{right}" fill="none" stroke="#333333"/>"##
        )?;
        text(
            svg,
            (left + right) / 2.0,
            HEIGHT - 10.0,
            "middle",
            &self.x.label,
        )?;
        text(svg, left - 60.0, top - 12.0, "start", &self.y.label)
    }

    fn line(&self, svg: &mut String, index: usize, line: &Line) -> fmt::Result {
        let colour = COLOURS[index % COLOURS.len()];
        let points = line
            .points
            .iter()
            .map(|(x, y)| format!("{:.1},{:.1}", self.x(*x), self.y(*y)));
        let points = points.collect::<Vec<_>>().join(" ");
        writeln!(
            svg,
            r#"<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.6"/>"#
        )?;
        // Few points are measurements that one wants to see.
        for (x, y) in line.points.iter().filter(|_| line.points.len() <= 40) {
            let (x, y) = (self.x(*x), self.y(*y));
            writeln!(
                svg,
                r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{colour}"/>"#
            )?;
        }
        let (x, y) = (
            WIDTH - MARGINS.2 + 12.0,
            MARGINS.1 + 8.0 + 20.0 * index as f64,
        );
        let name = &line.name;
        writeln!(
            svg,
            r#"<text x="{x}" y="{y}" fill="{colour}">{name}</text>"#
        )
    }

    fn marks(&self, svg: &mut String) -> fmt::Result {
        let Some((name, places)) = &self.marks else {
            return Ok(());
        };
        let (top, bottom) = (MARGINS.1, HEIGHT - MARGINS.3);
        for place in places {
            let x = self.x(*place);
            writeln!(
                svg,
                r##"<path d="M{x:.1} {top}V{bottom}" stroke="#bbbbbb" stroke-dasharray="2 3"/>"##
            )?;
        }
        let y = MARGINS.1 + 8.0 + 20.0 * self.lines.len() as f64;
        let x = WIDTH - MARGINS.2 + 12.0;
        writeln!(
            svg,
            r##"<text x="{x}" y="{y}" fill="#999999">┆ {name}</text>"##
        )
    }

    fn write(&self, svg: &mut String) -> fmt::Result {
        writeln!(
            svg,
            r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" fill="#333333">"##
        )?;
        writeln!(
            svg,
            r#"<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>"#
        )?;
        let title = &self.title;
        writeln!(
            svg,
            r#"<text x="18" y="20" font-size="14" font-weight="bold">{title}</text>"#
        )?;
        self.axes(svg)?;
        self.marks(svg)?;
        for (index, line) in self.lines.iter().enumerate() {
            self.line(svg, index, line)?;
        }
        writeln!(svg, "</svg>")
    }
}

impl Display for Chart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut svg = String::new();
        self.write(&mut svg)?;
        f.write_str(&svg)
    }
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) -> fmt::Result {
    writeln!(
        svg,
        r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}">{text}</text>"#
    )
}

/// A number as people write it on an axis.
fn short(value: f64) -> String {
    let units = [(1e9, " G"), (1e6, " M"), (1e3, " k")];
    match units.iter().find(|(unit, _)| value >= *unit) {
        Some((unit, name)) => format!("{}{name}", value / unit),
        // As many digits as it has, without those that binary fractions add.
        None => format!("{}", (value * 1e6).round() / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_steps_reach_the_highest_value() {
        for (most, last) in [(4.2, 5.0), (0.93, 1.0), (617.0, 800.0), (1.7e6, 2e6)] {
            let axis = Axis::from_zero("", most);
            assert_eq!(axis.ticks.last().map(|(value, _)| *value), Some(last));
            assert!(axis.ticks.len() <= 7, "{most}");
        }
    }

    #[test]
    fn a_logarithmic_axis_gives_each_power_the_same_room() {
        let axis = Axis::powers_of_ten("", 20.0, 90_000.0);
        assert_eq!(axis.ticks.len(), 5);
        assert!((axis.place(1000.0) - 0.5).abs() < 1e-9);
        assert_eq!((axis.place(1.0), axis.place(1e9)), (0.0, 1.0));
    }
}
