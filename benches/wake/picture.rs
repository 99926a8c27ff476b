//! The rows as bars: half of all are as fast as the dark part, nineteen of twenty as the whole.

use std::fmt::Write;

use crate::Row;

const WIDTH: f64 = 900.0;
const LABELS: f64 = 400.0;
const BARS: f64 = WIDTH - LABELS - 110.0;
const LINE: f64 = 24.0;

/// One bar a row, on a scale of tens, since a thaw and a plain start of Python are far apart.
pub(crate) fn svg(rows: &[Row]) -> String {
    let most = rows.iter().map(|row| row.at(0.95)).fold(1.0, f64::max).log10();
    let x = |ms: f64| BARS * (ms.max(1.0).log10() / most);
    let height = LINE * rows.len() as f64 + 20.0;
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"{WIDTH}\" height=\"{height}\" fill=\"white\"/>\n"
    );
    for (n, row) in rows.iter().enumerate() {
        let y = 10.0 + LINE * n as f64;
        let (half, most) = (row.at(0.5), row.at(0.95));
        let name = row.name.trim_start();
        // What belongs to the row above is set off.
        let (indent, colour) = if name == row.name { (0.0, "#d9480f") } else { (16.0, "#868e96") };
        let _into_a_string = write!(
            text,
            "<text x=\"{}\" y=\"{}\">{name}</text>\n\
             <rect x=\"{LABELS}\" y=\"{}\" width=\"{:.1}\" height=\"14\" fill=\"{colour}\" opacity=\"0.35\"/>\n\
             <rect x=\"{LABELS}\" y=\"{}\" width=\"{:.1}\" height=\"14\" fill=\"{colour}\"/>\n\
             <text x=\"{:.1}\" y=\"{}\">{half:.0}, {most:.0} ms</text>\n",
            10.0 + indent,
            y + 15.0,
            y + 4.0,
            x(most),
            y + 4.0,
            x(half),
            LABELS + x(most) + 8.0,
            y + 15.0,
        );
    }
    text + "</svg>\n"
}
