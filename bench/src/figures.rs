//! Figures: the median, least and greatest of rounds, and ratios within the same round.
//!
//! A ratio compares two figures of one round only: a slow minute of the machine then slows both.

use serde::Serialize;

/// The figures of several rounds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct RoundStats {
    /// The one in the middle.
    pub median: f64,
    /// The smallest.
    pub min: f64,
    /// The largest.
    pub max: f64,
    /// How many there were.
    pub rounds: usize,
}

impl RoundStats {
    /// Of these figures; none of nothing.
    pub fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        Some(Self {
            median: middle(&sorted)?,
            min: *sorted.first()?,
            max: *sorted.last()?,
            rounds: sorted.len(),
        })
    }
}

/// The median of sorted figures.
fn middle(sorted: &[f64]) -> Option<f64> {
    let half = sorted.len() / 2;
    let upper = *sorted.get(half)?;
    if sorted.len() % 2 == 1 {
        return Some(upper);
    }
    let lower = *sorted.get(half.checked_sub(1)?)?;
    Some(f64::midpoint(lower, upper))
}

/// The median of what comes in any order; 0 of nothing.
pub(super) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    middle(&figures).unwrap_or_default()
}

/// The handler that the product is compared with.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reference {
    /// Its name.
    pub name: &'static str,
    /// Its figures.
    pub figures: RoundStats,
    /// Product divided by it, of the same round each; none where it is 0.
    pub ratio: Option<RoundStats>,
}

/// One figure of a scenario.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Row {
    /// The circumstances.
    pub case: String,
    /// The name of the figure.
    pub figure: &'static str,
    /// The unit.
    pub unit: &'static str,
    /// The product's.
    pub product: RoundStats,
    /// The handler that it is compared with, if any.
    pub reference: Option<Reference>,
}

/// The native handler.
pub(super) const NATIVE: &str = "native";
/// The native handler that sends the headers which the contract wants of every message.
pub(super) const SAME_HEADERS: &str = "native, same headers";

/// Collects one figure over the rounds.
#[derive(Debug)]
pub(super) struct Series {
    case: String,
    figure: &'static str,
    unit: &'static str,
    product: Vec<f64>,
    reference: Vec<f64>,
    compared_with: &'static str,
}

impl Series {
    pub(super) fn new(case: impl Into<String>, figure: &'static str, unit: &'static str) -> Self {
        Self {
            case: case.into(),
            figure,
            unit,
            product: Vec::new(),
            reference: Vec::new(),
            compared_with: NATIVE,
        }
    }

    /// Compared with something else than the native handler.
    pub(super) fn against(mut self, name: &'static str) -> Self {
        self.compared_with = name;
        self
    }

    /// A figure of the product.
    pub(super) fn product(&mut self, figure: f64) {
        self.product.push(figure);
    }

    /// A figure of what it is compared with, of the same round.
    pub(super) fn reference(&mut self, figure: f64) {
        self.reference.push(figure);
    }

    /// One of both.
    pub(super) fn pair(&mut self, product: f64, reference: f64) {
        self.product(product);
        self.reference(reference);
    }

    /// The row, unless nothing was measured.
    pub(super) fn row(self) -> Option<Row> {
        let ratios: Vec<f64> = self
            .product
            .iter()
            .zip(&self.reference)
            .filter(|(_, reference)| **reference > 0.0)
            .map(|(product, reference)| product / reference)
            .collect();
        let reference = RoundStats::of(&self.reference);
        Some(Row {
            case: self.case,
            figure: self.figure,
            unit: self.unit,
            product: RoundStats::of(&self.product)?,
            reference: reference.map(|figures| Reference {
                name: self.compared_with,
                figures,
                ratio: RoundStats::of(&ratios),
            }),
        })
    }
}

/// The rows of several figures.
pub(super) fn rows(series: impl IntoIterator<Item = Series>) -> Vec<Row> {
    series.into_iter().filter_map(Series::row).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_middle_and_the_ends() {
        let spread = RoundStats::of(&[3.0, 1.0, 2.0]).unwrap();
        assert_eq!((spread.median, spread.min, spread.max), (2.0, 1.0, 3.0));
        assert_eq!(RoundStats::of(&[1.0, 4.0]).unwrap().median, 2.5);
        assert_eq!(RoundStats::of(&[]), None);
        assert_eq!(median(vec![9.0, 1.0, 5.0]), 5.0);
    }

    #[test]
    fn ratios_are_of_the_same_round() {
        let mut series = Series::new("x", "speed", "1/s");
        series.pair(10.0, 20.0);
        series.pair(40.0, 40.0);
        series.pair(90.0, 100.0);
        let row = series.row().unwrap();
        assert_eq!(row.reference.unwrap().ratio.unwrap().median, 0.9);
        assert_eq!(Series::new("x", "speed", "1/s").row(), None);
        let mut alone = Series::new("x", "speed", "1/s");
        alone.product(1.0);
        assert_eq!(alone.row().unwrap().reference, None);
    }
}
