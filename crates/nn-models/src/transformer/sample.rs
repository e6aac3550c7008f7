//! Choosing the next token from logits.

use cpu_reference::philox::Philox;

/// Stream of random numbers of this file.
const STREAM: u32 = 0x3000_0000;

/// How the next token is chosen. `transformers`' `GenerationConfig` has the same names.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// What logits are divided by; 0 takes the likeliest token.
    pub temperature: f32,
    /// Only the so many likeliest tokens are chosen from; 0 for all.
    pub top_k: usize,
    /// Only the likeliest tokens whose probabilities together reach this are chosen from; 1 for all.
    pub top_p: f32,
    /// What positive logits of tokens that occurred are divided by, and negative ones multiplied (Keskar et al. 2019); 1
    /// changes nothing.
    pub repetition_penalty: f32,
    /// Other numbers choose other tokens.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, repetition_penalty: 1.0, seed: 0 }
    }
}

impl Sampling {
    /// Whether the settings make sense.
    ///
    /// # Errors
    /// The first that does not, with its range.
    pub fn check(&self) -> Result<(), String> {
        let wrong = |name: &str, value: f32, range: &str| Err(format!("{name} = {value} must be {range}"));
        match self {
            Sampling { temperature, .. } if !(temperature.is_finite() && *temperature >= 0.0) => {
                wrong("temperature", *temperature, "0 or more")
            }
            Sampling { top_p, .. } if !(*top_p > 0.0 && *top_p <= 1.0) => {
                wrong("top-p", *top_p, "above 0 and at most 1")
            }
            Sampling { repetition_penalty: penalty, .. } if !(penalty.is_finite() && *penalty > 0.0) => {
                wrong("repetition-penalty", *penalty, "above 0")
            }
            _ => Ok(()),
        }
    }
}

/// Chooses tokens one after the other.
#[derive(Clone, Debug)]
pub(super) struct Sampler {
    settings: Sampling,
    random: Philox,
}

impl Sampler {
    pub(super) fn new(settings: Sampling) -> Sampler {
        Sampler { settings, random: Philox::new(settings.seed, STREAM) }
    }

    /// The next token after `text`; the logits are changed. Of equal ones the lowest id is likelier. `None` if every logit
    /// is NaN or −∞.
    pub(super) fn choose(&mut self, logits: &mut [f32], text: &[u32]) -> Option<u32> {
        let Sampling { temperature, top_k, top_p, repetition_penalty, .. } = self.settings;
        if repetition_penalty != 1.0 {
            let mut seen: Vec<u32> = text.to_vec();
            seen.sort_unstable();
            seen.dedup();
            for token in seen {
                if let Some(logit) = logits.get_mut(token as usize) {
                    *logit = if *logit > 0.0 { *logit / repetition_penalty } else { *logit * repetition_penalty };
                }
            }
        }
        let mut order: Vec<u32> =
            (0..logits.len() as u32).filter(|&token| logits[token as usize] > f32::NEG_INFINITY).collect();
        let by_logit = |a: &u32, b: &u32| logits[*b as usize].total_cmp(&logits[*a as usize]).then(a.cmp(b));
        if temperature == 0.0 || order.len() <= 1 {
            return order.into_iter().min_by(by_logit);
        }
        if top_k > 0 && top_k < order.len() {
            order.select_nth_unstable_by(top_k - 1, by_logit);
            order.truncate(top_k);
        }
        order.sort_unstable_by(by_logit);
        let largest = f64::from(logits[order[0] as usize]);
        let power = |token: &u32| ((f64::from(logits[*token as usize]) - largest) / f64::from(temperature)).exp();
        let mut powers: Vec<f64> = order.iter().map(power).collect();
        if top_p < 1.0 {
            let most = f64::from(top_p) * powers.iter().sum::<f64>();
            let mut before = 0.0;
            // The first always stays.
            let kept = powers.iter().take_while(|power| {
                let keep = before < most;
                before += **power;
                keep
            });
            let kept = kept.count().max(1);
            powers.truncate(kept);
        }
        let mut left = self.random.uniform_f64() * powers.iter().sum::<f64>();
        let place = powers.iter().position(|power| {
            left -= power;
            left < 0.0
        });
        Some(order[place.unwrap_or(powers.len() - 1)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(settings: Sampling, logits: &[f32], text: &[u32]) -> Vec<usize> {
        let mut sampler = Sampler::new(settings);
        let mut counts = vec![0; logits.len()];
        for _ in 0..20_000 {
            counts[sampler.choose(&mut logits.to_vec(), text).unwrap() as usize] += 1;
        }
        counts
    }

    /// Probabilities 1/2, 1/4, 1/8, 1/8; four standard errors of a share are below 0.015.
    #[test]
    fn tokens_come_as_often_as_the_settings_say() {
        let logits = [0.0, -2f32.ln(), -8f32.ln() + 2f32.ln(), -4f32.ln()];
        let near = |found: &[usize], expected: [f64; 4]| {
            for (count, share) in found.iter().zip(expected) {
                assert!((*count as f64 / 20_000.0 - share).abs() < 0.015, "{found:?}, expected {expected:?}");
            }
        };
        let plain = Sampling::default();
        near(&counts(plain, &logits, &[]), [0.5, 0.25, 0.125, 0.125]);
        near(&counts(Sampling { top_k: 2, ..plain }, &logits, &[]), [2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]);
        near(&counts(Sampling { top_p: 0.7, ..plain }, &logits, &[]), [2.0 / 3.0, 1.0 / 3.0, 0.0, 0.0]);
        near(&counts(Sampling { top_p: 1e-6, ..plain }, &logits, &[]), [1.0, 0.0, 0.0, 0.0]);
        // At temperature ½ probabilities are squared: 16, 4, 1 and 1 of 22.
        near(
            &counts(Sampling { temperature: 0.5, ..plain }, &logits, &[]),
            [16.0 / 22.0, 4.0 / 22.0, 1.0 / 22.0, 1.0 / 22.0],
        );
        near(&counts(Sampling { temperature: 0.0, ..plain }, &logits, &[]), [1.0, 0.0, 0.0, 0.0]);
        // −ln 2 doubled is the logit of a quarter of the first.
        let penalty = Sampling { repetition_penalty: 2.0, ..plain };
        near(&counts(penalty, &logits, &[1, 1]), [4.0 / 7.0, 1.0 / 7.0, 1.0 / 7.0, 1.0 / 7.0]);
    }

    #[test]
    fn seeds_repeat_and_differ_and_nonsense_is_refused() {
        let draw = |seed| {
            let mut sampler = Sampler::new(Sampling { seed, ..Sampling::default() });
            (0..50).map(|_| sampler.choose(&mut [0.0; 10], &[]).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert!(draw(1) != draw(2));
        assert_eq!(Sampler::new(Sampling::default()).choose(&mut [f32::NEG_INFINITY, f32::NAN], &[]), None);
        for wrong in [
            Sampling { temperature: -1.0, ..Sampling::default() },
            Sampling { top_p: 0.0, ..Sampling::default() },
            Sampling { repetition_penalty: f32::NAN, ..Sampling::default() },
        ] {
            assert!(wrong.check().is_err(), "{wrong:?}");
        }
    }
}
