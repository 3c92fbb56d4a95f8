//! Accounts and pseudonyms are one to one: what that adds to scores.

/// For each row its column, so that the sum of scores is the greatest (Hungarian method with potentials).
pub(crate) fn assignment(scores: &[Vec<f64>]) -> Vec<usize> {
    let n = scores.len();
    // One-based, row 0 and column 0 are the method's own.
    let (mut u, mut v) = (vec![0.0; n + 1], vec![0.0; n + 1]);
    let mut row_of = vec![0; n + 1];
    for row in 1..=n {
        row_of[0] = row;
        let mut least = vec![f64::INFINITY; n + 1];
        let mut before = vec![0; n + 1];
        let mut seen = vec![false; n + 1];
        let mut column = 0;
        while row_of[column] != 0 {
            seen[column] = true;
            let at = row_of[column];
            let (mut delta, mut next) = (f64::INFINITY, 0);
            for other in 1..=n {
                if seen[other] {
                    continue;
                }
                let cost = -scores[at - 1][other - 1] - u[at] - v[other];
                if cost < least[other] {
                    least[other] = cost;
                    before[other] = column;
                }
                if least[other] < delta {
                    delta = least[other];
                    next = other;
                }
            }
            for other in 0..=n {
                if seen[other] {
                    u[row_of[other]] += delta;
                    v[other] -= delta;
                } else {
                    least[other] -= delta;
                }
            }
            column = next;
        }
        while column != 0 {
            row_of[column] = row_of[before[column]];
            column = before[column];
        }
    }
    let mut columns = vec![0; n];
    for (column, row) in row_of.iter().enumerate().skip(1) {
        columns[row - 1] = column - 1;
    }
    columns
}

/// Log-likelihoods as a posterior whose rows and columns sum to one (Sinkhorn).
pub(crate) fn constrained(scores: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let mut posterior: Vec<Vec<f64>> = scores
        .iter()
        .map(|row| {
            let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            row.iter().map(|score| (score - most).exp() + 1e-12).collect()
        })
        .collect();
    for _ in 0..60 {
        for column in 0..posterior.len() {
            let sum: f64 = posterior.iter().map(|row| row[column]).sum();
            for row in &mut posterior {
                row[column] /= sum;
            }
        }
        for row in &mut posterior {
            let sum: f64 = row.iter().sum();
            for p in row {
                *p /= sum;
            }
        }
    }
    posterior
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_other_assignment_scores_more(scores in prop::collection::vec(prop::collection::vec(-9.0f64..9.0, 5), 5)) {
            let sum = |columns: &[usize]| columns.iter().enumerate().map(|(row, column)| scores[row][*column]).sum::<f64>();
            let found = sum(&assignment(&scores));
            let mut columns = vec![0, 1, 2, 3, 4];
            // Heap's permutations.
            let mut counters = [0; 5];
            let mut at = 0;
            while at < 5 {
                prop_assert!(sum(&columns) <= found + 1e-9);
                if counters[at] < at {
                    columns.swap(if at % 2 == 0 { 0 } else { counters[at] }, at);
                    counters[at] += 1;
                    at = 0;
                } else {
                    counters[at] = 0;
                    at += 1;
                }
            }
        }

        #[test]
        fn a_constrained_posterior_has_rows_and_columns_of_one(scores in prop::collection::vec(prop::collection::vec(-5.0f64..5.0, 6), 6)) {
            let posterior = constrained(&scores);
            for (at, row) in posterior.iter().enumerate() {
                prop_assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-6);
                prop_assert!((posterior.iter().map(|row| row[at]).sum::<f64>() - 1.0).abs() < 0.05);
            }
        }
    }
}
