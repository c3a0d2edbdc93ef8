//! The plot of a scenario: a bar for each median, a line from the least to the greatest of its
//! rounds. Figures of one kind share a scale that begins at zero.

use std::fmt::Write as _;

use super::report::number;
use crate::{RoundStats, Row};

const WIDTH: f64 = 960.0;
/// Where the bars begin, and how long the longest is.
const LEFT: f64 = 430.0;
const LONGEST: f64 = 400.0;
const LINE: f64 = 18.0;
const PRODUCT: &str = "#1f6feb";
const REFERENCE: &str = "#9aa4b2";

/// A drawing that grows downwards.
struct Drawing {
    body: String,
    y: f64,
}

impl Drawing {
    fn text(&mut self, x: f64, anchor: &str, style: &str, text: &str) {
        let y = self.y + 13.0;
        let text = escaped(text);
        // Writing to a string cannot fail.
        let _ = writeln!(
            self.body,
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" {style}>{text}</text>"
        );
    }

    /// A line of text of its own.
    fn line(&mut self, style: &str, text: &str) {
        self.text(10.0, "start", style, text);
        self.y += LINE;
    }

    fn bar(&mut self, spread: &RoundStats, most: f64, colour: &str, label: &str) {
        let length = |figure: f64| (figure / most * LONGEST).max(0.0);
        let (y, middle) = (self.y + 3.0, self.y + 9.0);
        let (width, from) = (length(spread.median), LEFT + length(spread.min));
        let to = LEFT + length(spread.max);
        let _ = writeln!(
            self.body,
            "<rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"12\" fill=\"{colour}\"/>\n\
             <path d=\"M{from:.1} {middle:.1}H{to:.1}\" stroke=\"#111\"/>"
        );
        self.text(LEFT + width.max(to - LEFT) + 6.0, "start", "", label);
    }
}

/// The plot as SVG.
pub(super) fn svg(title: &str, machine: &str, rows: &[Row]) -> String {
    let mut drawing = Drawing {
        body: String::new(),
        y: 10.0,
    };
    drawing.line("font-weight=\"bold\"", title);
    drawing.line("font-size=\"9\"", machine);
    let mut kinds: Vec<(&str, &str)> = rows.iter().map(|row| (row.figure, row.unit)).collect();
    // Kinds in the order in which they first come.
    let mut seen = Vec::new();
    kinds.retain(|kind| {
        let new = !seen.contains(kind);
        seen.push(*kind);
        new
    });
    for (figure, unit) in kinds {
        drawing.y += LINE / 2.0;
        drawing.line("font-weight=\"bold\"", &format!("{figure}, {unit}"));
        let group = rows
            .iter()
            .filter(|row| (row.figure, row.unit) == (figure, unit));
        let group: Vec<&Row> = group.collect();
        let largest = |row: &&Row| {
            let reference = row.reference.as_ref().map_or(0.0, |of| of.figures.max);
            row.product.max.max(reference)
        };
        let most = group.iter().map(largest).fold(f64::MIN_POSITIVE, f64::max);
        for row in group {
            bars(&mut drawing, row, most);
        }
    }
    let height = drawing.y + 10.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{}</svg>\n",
        drawing.body
    )
}

fn bars(drawing: &mut Drawing, row: &Row, most: f64) {
    drawing.text(LEFT - 8.0, "end", "", &row.case);
    let median = number(row.product.median);
    drawing.bar(&row.product, most, PRODUCT, &median);
    drawing.y += LINE;
    if let Some(reference) = &row.reference {
        drawing.text(LEFT - 8.0, "end", "fill=\"#666\"", reference.name);
        let figures = &reference.figures;
        let mut label = number(figures.median);
        if let Some(ratio) = &reference.ratio {
            let _ = write!(label, " (ratio {})", number(ratio.median));
        }
        drawing.bar(figures, most, REFERENCE, &label);
        drawing.y += LINE;
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Reference;

    #[test]
    fn every_figure_is_drawn() {
        let spread = |median: f64| RoundStats {
            median,
            min: median / 2.0,
            max: median * 2.0,
            rounds: 3,
        };
        let row = Row {
            case: "a < b & c".to_owned(),
            figure: "requests",
            unit: "1/s",
            product: spread(50.0),
            reference: Some(Reference {
                name: "native",
                figures: spread(100.0),
                ratio: Some(spread(0.5)),
            }),
        };
        let drawn = svg("title", "machine", &[row]);
        assert!(drawn.contains("a &lt; b &amp; c"), "{drawn}");
        // The largest of all is 200: a median of 50 is a quarter of the longest bar.
        assert!(drawn.contains("width=\"100.0\""), "{drawn}");
        assert!(drawn.contains("width=\"200.0\""), "{drawn}");
        assert!(drawn.contains("ratio 0.500"), "{drawn}");
    }
}
