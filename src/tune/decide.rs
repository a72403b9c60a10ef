//! Which of the measured candidates to take. No clock here: only numbers, so that tests can give any.

/// How much faster than the default a candidate must be to replace it.
pub(super) const MARGIN: f64 = 0.05;
/// Fewer rounds than this decide nothing.
pub(super) const MIN_ROUNDS: usize = 5;

/// The middle value, or the mean of the two in the middle; NaN where there are none.
pub(super) fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        length if length % 2 == 1 => sorted[middle],
        _ => (sorted[middle - 1] + sorted[middle]) / 2.0,
    }
}

/// The candidate to take: an index into `samples`, where `samples[c][r]` is the time of candidate `c` in round `r`, all
/// candidates having taken turns within a round.
///
/// The default is kept unless another one is faster by [`MARGIN`] in the median and faster than it in at least three
/// rounds of four. Without a default the smallest median wins.
pub(super) fn decide(default: Option<usize>, samples: &[&[f64]]) -> Option<usize> {
    let sound = |of: &[f64]| !of.is_empty() && of.iter().all(|ms| ms.is_finite() && *ms > 0.0);
    let mut ranking: Vec<usize> = (0..samples.len()).filter(|&candidate| sound(samples[candidate])).collect();
    ranking.sort_by(|&a, &b| median(samples[a]).total_cmp(&median(samples[b])));
    let Some(default) = default else { return ranking.first().copied() };
    let own = samples.get(default).copied().filter(|own| sound(own) && own.len() >= MIN_ROUNDS);
    let clearly_faster = |candidate: &usize| {
        own.is_some_and(|own| {
            let other = samples[*candidate];
            let wins = other.iter().zip(own).filter(|(other, own)| other < own).count();
            other.len() == own.len() && median(other) <= (1.0 - MARGIN) * median(own) && 4 * wins >= 3 * own.len()
        })
    };
    Some(ranking.into_iter().find(clearly_faster).unwrap_or(default))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Times around `ms`, each with the noise of its round and its own.
    fn noisy(ms: f64, noise: f64, seed: u64) -> Vec<f64> {
        let mut random = super::super::trial::Random::new(seed);
        (0..9).map(|_| ms * (1.0 + noise * random.unit())).collect()
    }

    #[test]
    fn noise_keeps_the_default() {
        let [mut lucky, mut twice] = [0, 0];
        for seed in 0..2000 {
            let of = |noise| -> Vec<Vec<f64>> { (0..8).map(|number| noisy(1.0, noise, 16 * seed + number)).collect() };
            let slices = |all: &[Vec<f64>]| decide(Some(3), &all.iter().map(Vec::as_slice).collect::<Vec<_>>());
            assert_eq!(slices(&of(0.03)), Some(3), "seed {seed}");
            // With more noise than the margin somebody is lucky among many, now and then; hardly ever twice.
            let winner = slices(&of(0.06)).unwrap();
            if winner != 3 {
                lucky += 1;
                let again = [3, winner as u64].map(|number| noisy(1.0, 0.06, 16 * seed + 8 + number));
                twice += usize::from(decide(Some(0), &[&again[0], &again[1]]) != Some(0));
            }
        }
        assert!((1..200).contains(&lucky) && twice <= 2, "{lucky} of 2000, {twice} of them twice");
    }

    #[test]
    fn what_is_clearly_faster_is_taken() {
        for seed in 0..2000 {
            let all = [noisy(1.0, 0.05, seed), noisy(0.8, 0.05, seed + 5000), noisy(0.6, 0.05, seed + 9000)];
            assert_eq!(decide(Some(0), &[&all[0], &all[1], &all[2]]), Some(2));
            assert_eq!(decide(Some(1), &[&all[0], &all[1], &all[2]]), Some(2));
            assert_eq!(decide(Some(2), &[&all[0], &all[1], &all[2]]), Some(2));
            assert_eq!(decide(Some(0), &[&all[0], &all[1]]), Some(1));
        }
    }

    #[test]
    fn the_margin_is_where_it_is_said_to_be() {
        let default = [1.0; 5];
        assert_eq!(decide(Some(0), &[&default, &[0.951; 5]]), Some(0));
        assert_eq!(decide(Some(0), &[&default, &[0.949; 5]]), Some(1));
        assert_eq!(decide(Some(1), &[&[0.949; 5], &default]), Some(0));
        // Faster in the median, but only because it won the rounds that count there: 3 of 5.
        assert_eq!(decide(Some(0), &[&default, &[0.5, 0.5, 0.5, 2.0, 2.0]]), Some(0));
        assert_eq!(decide(Some(0), &[&default, &[0.5, 0.5, 0.5, 0.5, 2.0]]), Some(1));
        // The fastest is not steady, the next one is.
        assert_eq!(decide(Some(0), &[&default, &[0.5, 0.5, 0.5, 2.0, 2.0], &[0.9; 5]]), Some(2));
    }

    #[test]
    fn too_few_or_senseless_times_decide_nothing() {
        for other in [&[0.1; 4][..], &[0.1; 6], &[], &[0.0; 5], &[f64::NAN; 5], &[-1.0; 5]] {
            assert_eq!(decide(Some(0), &[&[1.0; 5], other]), Some(0), "{other:?}");
        }
        assert_eq!(decide(Some(0), &[&[1.0; 4], &[0.1; 4]]), Some(0));
        assert_eq!(decide(Some(0), &[&[], &[0.1; 5]]), Some(0));
        assert_eq!(decide(Some(7), &[&[1.0; 5]]), Some(7));
    }

    #[test]
    fn without_a_default_the_fastest_is_taken() {
        assert_eq!(decide(None, &[&[2.0, 1.0], &[1.1, 1.2], &[f64::NAN]]), Some(1));
        assert_eq!(decide(None, &[&[], &[f64::INFINITY]]), None);
        assert_eq!(decide(None, &[]), None);
    }
}
