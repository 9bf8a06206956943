//! An answer as a picture: memory as columns, to scale, with the places in it that were seen, and
//! arrows between those that have an order; figures as bars.
//!
//! ```text
//!    thread stack of thread 12      irq stack of CPU 0
//!    0xffffc90000017000             0xffffc90000107000
//!    +--------+                     +--------+
//!    |########|--(1)-------------> -|########|--(2)       the circles are moved apart where the
//!    |        |                     |        |            places are too close to each other
//!    +--------+                     +--------+
//!    0xffffc90000013000             0xffffc90000103000
//!
//!    (1) 0xffffc90000016f10  SP of ...                    every place in words, below
//! ```

use std::fmt::Write;

use super::{Answer, Memory, Place};

/// Lengths in the picture's units.
const WIDTH: f64 = 900.0;
const EDGE: f64 = 20.0;
const MIN_PITCH: f64 = 150.0;
const MAX_PITCH: f64 = 250.0;
const STRIP: f64 = 46.0;
/// The highest strip, and the least one: what is smaller is drawn so high.
const HIGHEST: f64 = 300.0;
const LOWEST: f64 = 26.0;
const RADIUS: f64 = 10.0;
/// Circles of one column are so far apart at least.
const APART: f64 = 24.0;
const LINE: f64 = 17.0;
/// Widths of a letter of text, and of one of an address.
const LETTER: f64 = 6.7;

/// Readable on white and on black, whichever the reader's page has.
const STYLE: &str = "\
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .page { fill: #ffffff; }
  .name { font-weight: 600; font-size: 12px; }
  .at { font: 11px ui-monospace, monospace; fill: #59636e; }
  .strip { fill: #f6f8fa; stroke: #59636e; stroke-width: 1; }
  .used { fill: #b6d7ff; }
  .tick { stroke: #0969da; stroke-width: 1.5; }
  .leader { stroke: #59636e; stroke-width: 1; fill: none; }
  .circle { fill: #0969da; }
  .number { fill: #ffffff; font-size: 11px; font-weight: 600; text-anchor: middle; }
  .arrow { stroke: #bc4c00; stroke-width: 1.6; fill: none; marker-end: url(#head); }
  .head { fill: #bc4c00; }
  .bar { fill: #0969da; }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc; }
    .page { fill: #0d1117; }
    .at { fill: #9198a1; }
    .strip { fill: #151b23; stroke: #9198a1; }
    .used { fill: #1f3f66; }
    .tick { stroke: #4493f8; }
    .leader { stroke: #9198a1; }
    .circle { fill: #1f6feb; }
    .arrow { stroke: #f0883e; }
    .head { fill: #f0883e; }
    .bar { fill: #4493f8; }
  }
";

/// A piece of memory where it is drawn.
struct Column<'a> {
    memory: &'a Memory,
    left: f64,
    top: f64,
    height: f64,
}

impl Column<'_> {
    /// Whether an address is in it. An empty stack's SP is at its top, where other memory may
    /// begin.
    fn holds(&self, at: u64) -> bool {
        (self.memory.lowest..self.memory.top).contains(&at)
    }

    /// Where an address is, from the top down.
    fn y(&self, at: u64) -> f64 {
        let size = (self.memory.top - self.memory.lowest) as f64;
        self.top + (self.memory.top - at) as f64 / size * self.height
    }

    fn right(&self) -> f64 {
        self.left + STRIP
    }
}

/// A place with its circle.
struct Dot<'a> {
    place: &'a Place,
    label: String,
    /// Its column, and where it lies there: `None` for an address in none of them.
    column: Option<usize>,
    y: f64,
    circle: (f64, f64),
}

/// The picture; `None` if there is nothing to draw.
pub(super) fn svg(answer: &Answer) -> Option<String> {
    if answer.memories.is_empty() && answer.bars.is_empty() && answer.facts.is_empty() {
        return None;
    }
    let mut body = String::new();
    let (mut width, mut y) = (WIDTH, EDGE);
    if !answer.memories.is_empty() {
        (width, y) = memories(answer, &mut body);
    }
    if !answer.bars.is_empty() {
        y = bars(answer, y, &mut body);
    }
    if answer.memories.is_empty() && answer.bars.is_empty() {
        y = facts(answer, y, &mut body);
    }
    let height = y + EDGE;
    let title = escaped(&answer.asks);
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" \
         width=\"{width:.0}\" height=\"{height:.0}\" role=\"img\">\n<title>{title}</title>\n\
         <style>\n{STYLE}</style>\n<defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"7\" \
         refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto-start-reverse\">\
         <path class=\"head\" d=\"M0,0 L8,4 L0,8 z\"/></marker></defs>\n\
         <rect class=\"page\" width=\"{width:.0}\" height=\"{height:.0}\"/>\n{body}</svg>\n"
    ))
}

/// Draws memory and places; how wide that is, and where it ends.
fn memories(answer: &Answer, body: &mut String) -> (f64, f64) {
    let count = answer.memories.len() as f64;
    let pitch = ((WIDTH - 2.0 * EDGE) / count).clamp(MIN_PITCH, MAX_PITCH);
    let width = WIDTH.max(pitch * count + 2.0 * EDGE);
    let whole = answer.memories.iter().filter(|memory| !memory.is_part);
    let largest = whole.map(|memory| memory.top - memory.lowest).max();
    let scale = HIGHEST / largest.unwrap_or(1) as f64;
    let letters = ((pitch - 12.0) / LETTER) as usize;
    let names: Vec<Vec<String>> =
        answer.memories.iter().map(|memory| wrapped(&memory.name, letters)).collect();
    let lines = names.iter().map(Vec::len).max().unwrap_or(1) as f64;
    let top = EDGE + (lines + 1.0) * LINE;
    let columns: Vec<Column<'_>> = answer
        .memories
        .iter()
        .enumerate()
        .map(|(index, memory)| Column {
            memory,
            left: EDGE + pitch * index as f64,
            top,
            height: if memory.is_part {
                HIGHEST
            } else {
                ((memory.top - memory.lowest) as f64 * scale).max(LOWEST)
            },
        })
        .collect();
    let dots = placed(answer, &columns);
    for (index, (column, name)) in columns.iter().zip(&names).enumerate() {
        if column.memory.is_part && index > 0 {
            enlarge(&columns[index - 1], column, body);
        }
        let mine: Vec<&Dot<'_>> = dots.iter().filter(|dot| dot.column == Some(index)).collect();
        draw_column(column, name, &mine, body);
    }
    arrows(&dots, &columns, body);
    for dot in dots.iter().filter(|dot| dot.column.is_some()) {
        circle(dot.circle, &dot.label, body);
    }
    let lowest_strip = columns.iter().map(|column| column.top + column.height + LINE);
    let lowest_circle = dots.iter().filter(|dot| dot.column.is_some()).map(|dot| dot.circle.1);
    let strips_end = lowest_strip.chain(lowest_circle.map(|y| y + RADIUS)).fold(top, f64::max);
    (width, legend(&dots, &columns, strips_end + 1.5 * LINE, width, body))
}

/// Lines from a part of a column to the column that shows it larger.
fn enlarge(from: &Column<'_>, to: &Column<'_>, body: &mut String) {
    for (at, y) in [(to.memory.top, to.top), (to.memory.lowest, to.top + to.height)] {
        let _ = writeln!(
            body,
            "<path class=\"leader\" d=\"M{:.1},{:.1} L{:.1},{y:.1}\"/>",
            from.right(),
            from.y(at),
            to.left
        );
    }
}

fn draw_column(column: &Column<'_>, name: &[String], dots: &[&Dot<'_>], body: &mut String) {
    let Column { memory, left, top, height } = column;
    for (line, text) in name.iter().rev().enumerate() {
        let y = top - 6.0 - LINE * (line as f64 + 1.0);
        let _ = writeln!(
            body,
            "<text class=\"name\" x=\"{left:.1}\" y=\"{y:.1}\">{}</text>",
            escaped(text)
        );
    }
    let _ = writeln!(
        body,
        "<text class=\"at\" x=\"{left:.1}\" y=\"{:.1}\">{:#x}</text>\
         <rect class=\"strip\" x=\"{left:.1}\" y=\"{top:.1}\" width=\"{STRIP}\" height=\"{height:.1}\"/>\
         <text class=\"at\" x=\"{left:.1}\" y=\"{:.1}\">{:#x}</text>",
        top - 6.0,
        memory.top,
        top + height + 14.0,
        memory.lowest
    );
    let deepest = dots.iter().map(|dot| dot.y).fold(*top, f64::max);
    if memory.name.contains("stack") && deepest > *top {
        let _ = writeln!(
            body,
            "<rect class=\"used\" x=\"{:.1}\" y=\"{:.1}\" width=\"{}\" height=\"{:.1}\"/>",
            left + 0.5,
            top + 0.5,
            STRIP - 1.0,
            deepest - top
        );
    }
    for dot in dots {
        let (x, y) = dot.circle;
        let _ = writeln!(
            body,
            "<line class=\"tick\" x1=\"{left:.1}\" y1=\"{0:.1}\" x2=\"{1:.1}\" y2=\"{0:.1}\"/>\
             <path class=\"leader\" d=\"M{1:.1},{0:.1} L{2:.1},{y:.1}\"/>",
            dot.y,
            column.right(),
            x - RADIUS
        );
    }
}

/// Every place, with a circle beside its column; those of one column do not touch.
fn placed<'a>(answer: &'a Answer, columns: &[Column<'_>]) -> Vec<Dot<'a>> {
    let (mut steps, mut marks) = (0, 0_u8);
    let mut dots: Vec<Dot<'a>> = answer
        .places
        .iter()
        .map(|place| {
            let label = if place.is_step {
                steps += 1;
                format!("{steps}")
            } else {
                marks += 1;
                char::from(b'a' + (marks - 1) % 26).to_string()
            };
            // The one that shows it largest.
            let column = columns.iter().rposition(|column| column.holds(place.at));
            let is_top = |column: &Column<'_>| column.memory.top == place.at;
            let column = column.or_else(|| columns.iter().position(is_top));
            let y = column.map_or(0.0, |column| columns[column].y(place.at));
            Dot { place, label, column, y, circle: (0.0, y) }
        })
        .collect();
    for (index, column) in columns.iter().enumerate() {
        let mut mine: Vec<&mut Dot<'_>> =
            dots.iter_mut().filter(|dot| dot.column == Some(index)).collect();
        mine.sort_by(|a, b| a.y.total_cmp(&b.y));
        // The addresses stand right above and below the strip.
        let highest = column.top + RADIUS + 3.0;
        let mut next = highest;
        for dot in &mut mine {
            dot.circle = (column.right() + 30.0, dot.y.max(next));
            next = dot.circle.1 + APART;
        }
        // What was pushed beyond the low end moves up again, as far as there is room.
        let mut lowest = (column.top + column.height - RADIUS).max(highest);
        for dot in mine.iter_mut().rev() {
            dot.circle.1 = dot.circle.1.min(lowest);
            lowest = dot.circle.1 - APART;
        }
        let mut next = highest;
        for dot in &mut mine {
            dot.circle.1 = dot.circle.1.max(next);
            next = dot.circle.1 + APART;
        }
    }
    dots
}

fn arrows(dots: &[Dot<'_>], columns: &[Column<'_>], body: &mut String) {
    let steps: Vec<&Dot<'_>> = dots.iter().filter(|dot| dot.place.is_step).collect();
    for pair in steps.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let (Some(source), Some(target)) = (from.column, to.column) else { continue };
        let right = |dot: &Dot<'_>| (dot.circle.0 + RADIUS, dot.circle.1);
        let path = match source.cmp(&target) {
            std::cmp::Ordering::Equal => {
                let ((x, y), (_, to_y)) = (right(from), right(to));
                let bulge = x + 22.0;
                format!("M{x:.1},{y:.1} C{bulge:.1},{y:.1} {bulge:.1},{to_y:.1} {x:.1},{to_y:.1}")
            }
            std::cmp::Ordering::Less => {
                let ((x, y), (to_x, to_y)) = (right(from), (columns[target].left - 1.0, to.y));
                curve(x, y, to_x, to_y)
            }
            std::cmp::Ordering::Greater => {
                let ((x, y), (to_x, to_y)) = ((columns[source].left - 1.0, from.y), right(to));
                curve(x, y, to_x, to_y)
            }
        };
        let _ = writeln!(body, "<path class=\"arrow\" d=\"{path}\"/>");
    }
}

fn curve(x: f64, y: f64, to_x: f64, to_y: f64) -> String {
    let middle = f64::midpoint(x, to_x);
    format!("M{x:.1},{y:.1} C{middle:.1},{y:.1} {middle:.1},{to_y:.1} {to_x:.1},{to_y:.1}")
}

fn circle((x, y): (f64, f64), label: &str, body: &mut String) {
    let _ = writeln!(
        body,
        "<circle class=\"circle\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{RADIUS}\"/>\
         <text class=\"number\" x=\"{x:.1}\" y=\"{:.1}\">{label}</text>",
        y + 4.0
    );
}

/// Every place in words; where that ends.
fn legend(
    dots: &[Dot<'_>],
    columns: &[Column<'_>],
    from: f64,
    width: f64,
    body: &mut String,
) -> f64 {
    let text_x = EDGE + 30.0;
    let letters = ((width - text_x - EDGE) / LETTER) as usize;
    let mut y = from;
    for dot in dots {
        circle((EDGE + RADIUS, y - 4.0), &dot.label, body);
        let place = dot.column.map_or_else(String::new, |column| {
            match columns[column].memory.top - dot.place.at {
                0 => ", at the top".to_owned(),
                _ if columns[column].memory.is_part => String::new(),
                below => format!(", {below:#x} below the top"),
            }
        });
        let text = format!("{:#x}{place}: {}", dot.place.at, dot.place.text);
        for line in wrapped(&text, letters) {
            let _ =
                writeln!(body, "<text x=\"{text_x:.1}\" y=\"{y:.1}\">{}</text>", escaped(&line));
            y += LINE;
        }
        y += 7.0;
    }
    y - LINE + 4.0
}

/// Draws figures below each other; where that ends.
fn bars(answer: &Answer, from: f64, body: &mut String) -> f64 {
    const LEFT: f64 = 330.0;
    let label = |bar: &super::Bar| format!("{} {}", bar.value, bar.unit);
    let longest = answer.bars.iter().map(|bar| label(bar).chars().count()).max().unwrap_or(0);
    let room = WIDTH - EDGE - LEFT - 12.0 - longest as f64 * LETTER;
    let most = answer.bars.iter().map(|bar| bar.value).fold(0.0, f64::max).max(1.0);
    let mut y = from + LINE;
    for bar in &answer.bars {
        let lines = wrapped(&bar.name, ((LEFT - EDGE - 12.0) / LETTER) as usize);
        let length = (bar.value / most * room).max(1.0);
        let _ = writeln!(
            body,
            "<rect class=\"bar\" x=\"{LEFT}\" y=\"{:.1}\" width=\"{length:.1}\" height=\"14\"/>\
             <text x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
            y - 12.0,
            LEFT + length + 8.0,
            escaped(&label(bar))
        );
        for (line, text) in lines.iter().enumerate() {
            let _ = writeln!(
                body,
                "<text x=\"{EDGE}\" y=\"{:.1}\">{}</text>",
                y + LINE * line as f64,
                escaped(text)
            );
        }
        y += LINE * lines.len() as f64 + 9.0;
    }
    y - LINE
}

/// Draws what was read as boxes below each other; where that ends.
fn facts(answer: &Answer, from: f64, body: &mut String) -> f64 {
    const LEFT: f64 = 300.0;
    let letters = |from: f64, to: f64| ((to - from - 20.0) / LETTER) as usize;
    let mut y = from;
    for (name, value) in &answer.facts {
        let names = wrapped(name, letters(EDGE, LEFT));
        let values = wrapped(value, letters(LEFT, WIDTH - EDGE));
        let height = LINE * names.len().max(values.len()) as f64 + 14.0;
        for (x, to, lines, class) in
            [(EDGE, LEFT, &names, "strip used"), (LEFT, WIDTH - EDGE, &values, "strip")]
        {
            let _ = writeln!(
                body,
                "<rect class=\"{class}\" x=\"{x}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\"/>",
                to - x
            );
            for (line, text) in lines.iter().enumerate() {
                let _ = writeln!(
                    body,
                    "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                    x + 10.0,
                    y + 20.0 + LINE * line as f64,
                    escaped(text)
                );
            }
        }
        y += height + 8.0;
    }
    y - 8.0
}

/// Text in lines of so many letters at most; a longer word has a line of its own.
fn wrapped(text: &str, letters: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= letters => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// Text as it stands in HTML and SVG.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proof::tour::tests::answer;

    fn numbers<'t>(text: &'t str, before: &'t str) -> impl Iterator<Item = f64> {
        text.split(before).skip(1).map(|rest| {
            let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
            rest[..end].parse().expect("a number")
        })
    }

    #[test]
    fn places_that_are_close_have_circles_apart_and_inside_the_picture() {
        let mut answer = answer();
        for close in 0..6 {
            let at = answer.memories[0].top - 8 * close;
            answer.places.push(Place { at, text: "close".into(), is_step: true });
        }
        let columns = [Column { memory: &answer.memories[0], left: 0.0, top: 10.0, height: 300.0 }];
        let dots = placed(&answer, &columns);
        let mut circles: Vec<f64> =
            dots.iter().filter(|dot| dot.column.is_some()).map(|dot| dot.circle.1).collect();
        circles.sort_by(f64::total_cmp);
        assert!(circles.len() > 6);
        assert!(circles.windows(2).all(|pair| pair[1] - pair[0] >= APART - 0.01), "{circles:?}");
        let text = svg(&answer).expect("a picture");
        let height = numbers(&text, "height=\"").next().expect("a height");
        assert!(numbers(&text, "cy=\"").all(|y| y + RADIUS <= height), "{text}");
        assert!(numbers(&text, " y=\"").all(|y| y <= height), "{text}");
    }

    #[test]
    fn an_arrow_leads_from_each_step_to_the_next_and_every_place_is_in_words() {
        let text = svg(&answer()).expect("a picture");
        assert_eq!(text.matches("<path class=\"arrow\"").count(), 1);
        assert!(text.contains("the &lt;first&gt; step") && text.contains(">a</text>"), "{text}");
        assert!(text.contains("0x10 below the top"), "{text}");
    }

    #[test]
    fn columns_are_as_high_as_their_memory_is_large() {
        let text = svg(&answer()).expect("a picture");
        let heights: Vec<f64> = text
            .split("class=\"strip\"")
            .skip(1)
            .filter_map(|rest| numbers(rest, "height=\"").next())
            .collect();
        assert_eq!(heights, [300.0, 75.0]);
    }
}
