//! What a few runs say: median and spread.

use serde_json::{Value, json};

/// Values of one figure, one per run.
#[derive(Debug, Clone, Default)]
pub struct Series(Vec<f64>);

impl Series {
    /// One more run.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The values in the order of the runs.
    pub fn values(&self) -> &[f64] {
        &self.0
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// The middle value; the mean of the two middle ones of an even number.
    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        let n = sorted.len();
        assert!(n > 0, "no runs");
        if n % 2 == 1 { sorted[n / 2] } else { (sorted[n / 2 - 1] + sorted[n / 2]) / 2.0 }
    }

    /// The smallest value.
    pub fn min(&self) -> f64 {
        self.sorted()[0]
    }

    /// The largest value.
    pub fn max(&self) -> f64 {
        *self.sorted().last().expect("runs")
    }

    /// For a machine to read.
    pub fn json(&self) -> Value {
        if self.0.is_empty() {
            return Value::Null;
        }
        json!({
            "median": round(self.median()),
            "min": round(self.min()),
            "max": round(self.max()),
            "runs": self.0.iter().copied().map(round).collect::<Vec<_>>(),
        })
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Series(values.into_iter().collect())
    }
}

fn round(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_not_moved_by_one_slow_run() {
        let runs: Series = [3.0, 1.0, 2.0, 99.0, 2.5].into_iter().collect();
        assert_eq!((runs.median(), runs.min(), runs.max()), (2.5, 1.0, 99.0));
        let even: Series = [1.0, 2.0, 4.0, 8.0].into_iter().collect();
        assert_eq!(even.median(), 3.0);
    }
}
