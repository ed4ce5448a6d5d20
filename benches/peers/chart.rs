//! The ratios as a picture: bars from the line where both are as fast, to the right where
//! the service is faster.

use std::fmt::Write as _;

use crate::figures::Line;

const WIDTH: f64 = 960.0;
const ROW: f64 = 24.0;
const LEFT: f64 = 270.0;
const RIGHT: f64 = 190.0;
const TOP: f64 = 72.0;
/// The ends of the scale, which is logarithmic.
const ENDS: (f64, f64) = (0.1, 100.0);
const STEPS: [f64; 4] = [0.1, 1.0, 10.0, 100.0];

/// An SVG of every row with a peer, or nothing without one.
pub fn svg(lines: &[Line], how: &str, machine: &str) -> Option<String> {
    let bars: Vec<(&Line, f64)> =
        lines.iter().filter_map(|line| Some((line, speed(line)?))).collect();
    if bars.is_empty() {
        return None;
    }
    let bottom = TOP + ROW * bars.len() as f64;
    let height = bottom + 34.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n\
         <text x=\"10\" y=\"22\" font-size=\"15\" fill=\"#1f2328\">How many times as fast as the peer</text>\n\
         <text x=\"10\" y=\"40\" font-size=\"11\" fill=\"#59636e\">{}</text>\n\
         <text x=\"10\" y=\"55\" font-size=\"11\" fill=\"#59636e\">{}</text>\n",
        escaped(how),
        escaped(machine)
    );
    for step in STEPS {
        let (x, color) = (at(step), if step == 1.0 { "#1f2328" } else { "#d1d9e0" });
        let _ = writeln!(
            svg,
            "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{bottom}\" stroke=\"{color}\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-size=\"11\" fill=\"#59636e\">{step}</text>",
            bottom + 16.0
        );
    }
    for (number, (line, speed)) in bars.iter().enumerate() {
        bar(&mut svg, TOP + ROW * number as f64, line, *speed);
    }
    Some(svg + "</svg>\n")
}

/// Above 1 the service is faster, also where the figures are times.
fn speed(line: &Line) -> Option<f64> {
    let ratio = line.ratio().filter(|ratio| ratio.is_finite() && *ratio > 0.0)?;
    Some(if line.unit.more_is_better() { ratio } else { 1.0 / ratio })
}

fn at(ratio: f64) -> f64 {
    let share = (ratio / ENDS.0).ln() / (ENDS.1 / ENDS.0).ln();
    LEFT + (WIDTH - LEFT - RIGHT) * share.clamp(0.0, 1.0)
}

fn bar(svg: &mut String, top: f64, line: &Line, speed: f64) {
    let (one, end) = (at(1.0), at(speed));
    let (x, width, color) = (one.min(end), (one - end).abs().max(1.0), color(speed));
    let middle = top + ROW / 2.0 + 4.5;
    let name = escaped(&line.row);
    let peer = line.peer.as_ref().map_or(String::new(), |peer| escaped(&peer.name));
    let _ = writeln!(
        svg,
        "<g><title>{name}: {speed:.2} times {peer}</title>\
         <text x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\" fill=\"#1f2328\">{name}</text>\
         <rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{width:.1}\" height=\"{:.1}\" fill=\"{color}\"/>\
         <text x=\"{:.1}\" y=\"{middle:.1}\" fill=\"#1f2328\">{speed:.2}</text>\
         <text x=\"{:.1}\" y=\"{middle:.1}\" text-anchor=\"end\" font-size=\"11\" fill=\"#59636e\">{peer}</text></g>",
        LEFT - 10.0,
        top + 4.0,
        ROW - 8.0,
        one.max(end) + 6.0,
        WIDTH - 10.0
    );
}

fn color(speed: f64) -> &'static str {
    if speed >= 1.0 {
        "#1a7f37"
    } else {
        "#9a6700"
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
