//! Both kernels as a picture: how many times as much Linux takes, a bar for each bench and
//! architecture, on a logarithmic scale. To the right of the line at 1, Linux takes more.

use std::fmt::Write;

use super::both::{Both, times};
use crate::proof::baseline::WANTED;

/// Lengths in the picture's units.
const WIDTH: f64 = 860.0;
const LEFT: f64 = 236.0;
const RIGHT: f64 = 800.0;
const TOP: f64 = 78.0;
const BAR: f64 = 11.0;
const GAP: f64 = 10.0;
const BELOW: f64 = 46.0;

/// Readable on white and on black, whichever the reader's page has.
const STYLE: &str = "\
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .page { fill: #ffffff; }
  .title { font-size: 16px; font-weight: 600; }
  .name { font: 12px ui-monospace, monospace; text-anchor: end; }
  .value { font-size: 11px; }
  .scale { font-size: 11px; text-anchor: middle; fill: #59636e; }
  .less { text-anchor: end; }
  .grid { stroke: #d1d9e0; stroke-width: 1; }
  .same { stroke: #59636e; stroke-width: 1.5; }
  .bar0 { fill: #0969da; }
  .bar1 { fill: #bc4c00; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .page { fill: #0d1117; }
    .scale { fill: #9198a1; }
    .grid { stroke: #3d444d; }
    .same { stroke: #9198a1; }
    .bar0 { fill: #4493f8; }
    .bar1 { fill: #f0883e; }
  }
";

/// The scale: powers of two, from one that no ratio is below to one that none is above.
struct Scale {
    lowest: i32,
    highest: i32,
}

impl Scale {
    fn of(ratios: impl Iterator<Item = f64>) -> Scale {
        let mut scale = Scale { lowest: -1, highest: 1 };
        for ratio in ratios.filter(|ratio| *ratio > 0.0) {
            scale.lowest = scale.lowest.min(ratio.log2().floor() as i32);
            scale.highest = scale.highest.max(ratio.log2().ceil() as i32);
        }
        scale
    }

    fn at(&self, ratio: f64) -> f64 {
        let (lowest, highest) = (f64::from(self.lowest), f64::from(self.highest));
        LEFT + (ratio.log2() - lowest) / (highest - lowest) * (RIGHT - LEFT)
    }
}

/// The picture.
pub(super) fn svg(both: &Both) -> String {
    let rows: Vec<(&str, Vec<Option<f64>>)> = WANTED
        .iter()
        .filter(|wanted| wanted.of_linux.is_some())
        .map(|wanted| {
            let ratios = both.archs.iter().map(|&arch| both.ratio(arch, wanted.name));
            (wanted.name, ratios.collect())
        })
        .collect();
    let scale = Scale::of(rows.iter().flat_map(|(_, ratios)| ratios.iter().flatten().copied()));
    let step = BAR * both.archs.len() as f64 + GAP;
    let bottom = TOP + step * rows.len() as f64;
    let height = bottom + BELOW;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\">\n\
         <title>How many times as much Linux takes as kstack</title>\n<style>\n{STYLE}</style>\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\"/>\n\
         <text class=\"title\" x=\"16\" y=\"28\">How many times as much Linux takes as kstack, in \
         executed instructions (last: bytes)</text>\n"
    );
    for (index, arch) in both.archs.iter().enumerate() {
        let x = LEFT + 110.0 * index as f64;
        let _ = writeln!(
            text,
            "<rect class=\"bar{index}\" x=\"{x}\" y=\"44\" width=\"12\" height=\"12\"/>\
             <text x=\"{}\" y=\"55\">{arch}</text>",
            x + 18.0
        );
    }
    for power in scale.lowest..=scale.highest {
        let ratio = f64::from(power).exp2();
        let x = scale.at(ratio);
        let class = if power == 0 { "same" } else { "grid" };
        let label = if power < 0 {
            format!("1/{}×", f64::from(-power).exp2())
        } else {
            format!("{ratio}×")
        };
        let _ = writeln!(
            text,
            "<line class=\"{class}\" x1=\"{x:.1}\" y1=\"{}\" x2=\"{x:.1}\" y2=\"{bottom}\"/>\
             <text class=\"scale\" x=\"{x:.1}\" y=\"{}\">{label}</text>",
            TOP - 6.0,
            bottom + 16.0
        );
    }
    let middle = bottom + 36.0;
    let same = scale.at(1.0);
    let _ = writeln!(
        text,
        "<text class=\"scale less\" x=\"{:.1}\" y=\"{middle}\">kstack takes more ←</text>\
         <text class=\"scale\" style=\"text-anchor: start\" x=\"{:.1}\" y=\"{middle}\">→ Linux takes more</text>",
        same - 8.0,
        same + 8.0
    );
    for (row, (name, ratios)) in rows.iter().enumerate() {
        let y = TOP + step * row as f64;
        let _ = writeln!(
            text,
            "<text class=\"name\" x=\"{}\" y=\"{:.1}\">{name}</text>",
            LEFT - 10.0,
            y + (step - GAP) / 2.0 + 4.0
        );
        for (index, ratio) in ratios.iter().enumerate() {
            let Some(ratio) = *ratio else { continue };
            let end = scale.at(ratio);
            let (from, to) = if end < same { (end, same) } else { (same, end) };
            let top = y + BAR * index as f64;
            // Beside the end of the bar that is away from the line.
            let (class, at) =
                if end < same { ("value less", end - 4.0) } else { ("value", end + 4.0) };
            let _ = writeln!(
                text,
                "<rect class=\"bar{index}\" x=\"{from:.1}\" y=\"{top:.1}\" width=\"{:.1}\" height=\"{}\"/>\
                 <text class=\"{class}\" x=\"{at:.1}\" y=\"{:.1}\">{}</text>",
                (to - from).max(1.0),
                BAR - 1.0,
                top + BAR - 2.0,
                times(ratio)
            );
        }
    }
    text.push_str("</svg>\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::against::both::sample;

    #[test]
    fn the_scale_holds_every_ratio_and_has_1_in_it() {
        let scale = Scale::of([0.4, 22.0].into_iter());
        assert_eq!((scale.lowest, scale.highest), (-2, 5));
        assert!((scale.at(0.25) - LEFT).abs() < 1e-9);
        assert!((scale.at(32.0) - RIGHT).abs() < 1e-9);
        assert_eq!(
            (Scale::of([].into_iter()).lowest, Scale::of([8.0].into_iter()).lowest),
            (-1, -1)
        );
    }

    #[test]
    fn a_bar_lies_on_the_side_of_who_takes_more() {
        let text = svg(&sample());
        assert_eq!(text.matches("<rect class=\"bar0\"").count(), 3, "the legend and two bars");
        let line = |value: &str| {
            let line = text.lines().find(|line| line.contains(value)).expect(value);
            let x = line.split("x=\"").nth(1).and_then(|rest| rest.split('"').next());
            x.and_then(|x| x.parse::<f64>().ok()).expect("a place")
        };
        assert!(line(">22×<") > line(">0.50×<"), "{text}");
        assert!(!text.contains("http://") || text.matches("http").count() == 1, "self-contained");
        assert!(text.contains("prefers-color-scheme: dark"));
    }
}
