//! A model that is trained: which of the accounts is it, by a weighted sum of features (conditional logit).

/// Rows of candidates, each with its features.
pub(crate) trait Candidates {
    fn rows(&self) -> usize;
    fn columns(&self) -> usize;
    fn features(&self, row: usize, column: usize) -> &[f32];
}

/// Weights of features.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    mean: Vec<f32>,
    scale: Vec<f32>,
    weights: Vec<f32>,
}

const ROUNDS: usize = 250;
const RATE: f32 = 0.05;
const RIDGE: f32 = 1e-3;

impl Model {
    /// The weights that make the truth of `examples` most likely.
    pub(crate) fn fit<C: Candidates>(examples: &[(C, &[usize])], features: usize) -> Self {
        let (mean, scale) = moments(examples, features);
        let mut model = Self { mean, scale, weights: vec![0.0; features] };
        let standard: Vec<Vec<f32>> = examples.iter().map(|(rows, _)| model.standardise(rows)).collect();
        let (mut first, mut second) = (vec![0.0f32; features], vec![0.0f32; features]);
        let total: usize = examples.iter().map(|(rows, _)| rows.rows()).sum();
        for round in 1..=ROUNDS {
            let mut gradient: Vec<f32> = model.weights.iter().map(|weight| RIDGE * weight).collect();
            for ((rows, truth), standard) in examples.iter().zip(&standard) {
                let columns = rows.columns();
                for row in 0..rows.rows() {
                    let cells = &standard[row * columns * features..(row + 1) * columns * features];
                    let mut odds: Vec<f32> =
                        cells.chunks_exact(features).map(|cell| dot(cell, &model.weights)).collect();
                    softmax(&mut odds);
                    odds[truth[row]] -= 1.0;
                    for (cell, miss) in cells.chunks_exact(features).zip(&odds) {
                        let step = miss / total as f32;
                        gradient.iter_mut().zip(cell).for_each(|(slope, value)| *slope += step * value);
                    }
                }
            }
            // Adam.
            let power = i32::try_from(round).unwrap_or(i32::MAX);
            for at in 0..features {
                first[at] = 0.9 * first[at] + 0.1 * gradient[at];
                second[at] = 0.99 * second[at] + 0.01 * gradient[at] * gradient[at];
                let (up, down) =
                    (first[at] / (1.0 - 0.9f32.powi(power)), second[at] / (1.0 - 0.99f32.powi(power)));
                model.weights[at] -= RATE * up / (down.sqrt() + 1e-8);
            }
        }
        model
    }

    /// Log-odds of each candidate.
    pub(crate) fn scores<C: Candidates>(&self, rows: &C) -> Vec<Vec<f64>> {
        let features = self.weights.len();
        let standard = self.standardise(rows);
        let cells: Vec<f64> =
            standard.chunks_exact(features).map(|cell| f64::from(dot(cell, &self.weights))).collect();
        cells.chunks_exact(rows.columns()).map(<[f64]>::to_vec).collect()
    }

    fn standardise<C: Candidates>(&self, rows: &C) -> Vec<f32> {
        let mut standard = Vec::with_capacity(rows.rows() * rows.columns() * self.mean.len());
        for row in 0..rows.rows() {
            for column in 0..rows.columns() {
                let cell = rows.features(row, column);
                standard.extend(
                    cell.iter()
                        .zip(&self.mean)
                        .zip(&self.scale)
                        .map(|((value, mean), scale)| (value - mean) * scale),
                );
            }
        }
        standard
    }
}

fn moments<C: Candidates>(examples: &[(C, &[usize])], features: usize) -> (Vec<f32>, Vec<f32>) {
    let (mut sum, mut squares, mut count) = (vec![0.0f64; features], vec![0.0f64; features], 0.0f64);
    for (rows, _) in examples {
        for row in 0..rows.rows() {
            for column in 0..rows.columns() {
                count += 1.0;
                for (at, value) in rows.features(row, column).iter().enumerate() {
                    sum[at] += f64::from(*value);
                    squares[at] += f64::from(*value).powi(2);
                }
            }
        }
    }
    let mean: Vec<f64> = sum.iter().map(|sum| sum / count).collect();
    let scale = squares.iter().zip(&mean).map(|(squares, mean)| {
        let deviation = (squares / count - mean * mean).max(0.0).sqrt();
        if deviation > 1e-6 { (1.0 / deviation) as f32 } else { 0.0 }
    });
    (mean.iter().map(|mean| *mean as f32).collect(), scale.collect())
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn softmax(odds: &mut [f32]) {
    let most = odds.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    for odd in odds.iter_mut() {
        *odd = (*odd - most).exp();
    }
    let sum: f32 = odds.iter().sum();
    for odd in odds {
        *odd /= sum;
    }
}
