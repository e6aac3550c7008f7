//! Beam search on the host: which beginnings of a text are gone on with, and which text is the best.

/// How a translation is searched for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    /// Beginnings that are gone on with at each token; 1 takes the likeliest token each time.
    pub beams: usize,
    /// Texts are compared by the logarithm of their probability over their length (with the end) to the power of this:
    /// above 0 favours long ones, below 0 short ones. `transformers`' `length_penalty`.
    pub length_penalty: f32,
    /// Texts that are translated together, which changes nothing but how scores are rounded.
    pub batch: usize,
}

impl Default for Search {
    fn default() -> Search {
        Search { beams: 4, length_penalty: 1.0, batch: 16 }
    }
}

impl Search {
    /// Whether the settings make sense.
    ///
    /// # Errors
    /// The first that does not.
    pub fn check(&self) -> Result<(), String> {
        for (name, number) in [("beams", self.beams), ("batch", self.batch)] {
            if number == 0 {
                return Err(format!("{name} = 0 makes no sense; give 1 or more"));
            }
        }
        if !self.length_penalty.is_finite() {
            return Err(format!("length-penalty = {} must be a number", self.length_penalty));
        }
        Ok(())
    }
}

/// What a search found.
#[derive(Clone, Debug, PartialEq)]
pub struct Translation {
    /// Its tokens, without beginning and end.
    pub tokens: Vec<u32>,
    /// The logarithm of its probability over its length to the power of the length penalty.
    pub score: f64,
    /// Whether the model ended it; otherwise it was cut off at the greatest length.
    pub ended: bool,
}

/// What all searches have in common.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    pub(super) search: Search,
    /// The greatest length, with the end.
    pub(super) most: usize,
    /// The token that ends a text.
    pub(super) end: u32,
    /// Tokens that no text has, unless it is the end.
    pub(super) never: [u32; 2],
}

impl Rules {
    fn score(&self, sum: f64, length: usize) -> f64 {
        sum / (length as f64).powf(self.search.length_penalty.into())
    }
}

/// The beginning of a text.
#[derive(Clone, Debug)]
pub(super) struct Beam {
    pub(super) tokens: Vec<u32>,
    /// The logarithm of its probability.
    sum: f64,
    /// The beam of the step before that it goes on from.
    pub(super) parent: usize,
}

/// One more token after a beam.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    beam: usize,
    token: u32,
    sum: f64,
}

/// The search for one text.
#[derive(Clone, Debug)]
pub(super) struct Beams {
    rules: Rules,
    /// The likeliest first; empty once the search is over.
    pub(super) open: Vec<Beam>,
    pub(super) best: Option<Translation>,
}

impl Beams {
    pub(super) fn new(rules: Rules) -> Beams {
        Beams { rules, open: vec![Beam { tokens: Vec::new(), sum: 0.0, parent: 0 }], best: None }
    }

    /// Goes on by one token, by the logits `(beams or more, vocabulary)` after the open beams; of equal candidates the one
    /// of the earlier beam, then of the lower token, comes first. `None` if they are NaN, or no token has a chance.
    pub(super) fn advance(&mut self, logits: &[f32], vocabulary: usize) -> Option<()> {
        let candidates = self.candidates(logits, vocabulary)?;
        let Rules { search: Search { beams, length_penalty, .. }, most, end, .. } = self.rules;
        let length = self.open.first()?.tokens.len() + 1;
        let mut open = Vec::with_capacity(beams);
        for (rank, Candidate { beam, token, sum }) in candidates.into_iter().enumerate() {
            let mut tokens = self.open[beam].tokens.clone();
            let ended = token == end;
            if !ended {
                tokens.push(token);
            }
            if ended || length == most {
                let score = self.rules.score(sum, length);
                // Ends that come after others only make room for beams to go on.
                if rank < beams && self.best.as_ref().is_none_or(|best| score > best.score) {
                    self.best = Some(Translation { tokens, score, ended });
                }
            } else if open.len() < beams {
                open.push(Beam { tokens, sum, parent: beam });
            }
        }
        // No beam becomes likelier than it is, so it can win at the length that divides it most, at best.
        let dearest = if length_penalty > 0.0 { most } else { length + 1 };
        let can_win = |best: &Translation| {
            beams > 1 && open.first().is_some_and(|beam| self.rules.score(beam.sum, dearest) > best.score)
        };
        if self.best.as_ref().is_some_and(|best| !can_win(best)) {
            open.clear();
        }
        self.open = open;
        Some(())
    }

    /// The likeliest candidates in order: twice as many as beams, so that enough are left where each beam may end.
    fn candidates(&self, logits: &[f32], vocabulary: usize) -> Option<Vec<Candidate>> {
        let Rules { search, end, never, .. } = self.rules;
        let most = 2 * search.beams;
        let mut chosen: Vec<Candidate> = Vec::with_capacity(most + 1);
        for (beam, (Beam { sum: before, .. }, logits)) in self.open.iter().zip(logits.chunks(vocabulary)).enumerate() {
            let total = log_of_sum(logits)?;
            for (token, &logit) in logits.iter().enumerate() {
                let (token, sum) = (token as u32, before + (f64::from(logit) - total));
                let unlikely = chosen.len() == most && chosen.last().is_some_and(|last| sum <= last.sum);
                if unlikely || sum == f64::NEG_INFINITY || (never.contains(&token) && token != end) {
                    continue;
                }
                let place = chosen.partition_point(|other| other.sum >= sum);
                chosen.insert(place, Candidate { beam, token, sum });
                chosen.truncate(most);
            }
        }
        (!chosen.is_empty()).then_some(chosen)
    }
}

/// ln Σ exp(x); `None` if it is no number.
fn log_of_sum(logits: &[f32]) -> Option<f64> {
    let largest = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let sum: f64 = logits.iter().map(|&logit| (f64::from(logit) - largest).exp()).sum();
    Some(largest + sum.ln()).filter(|total| total.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(beams: usize, length_penalty: f32) -> Rules {
        Rules { search: Search { beams, length_penalty, batch: 1 }, most: 4, end: 2, never: [0, 1] }
    }

    fn logarithms<const COUNT: usize>(probabilities: [f32; COUNT]) -> [f32; COUNT] {
        probabilities.map(f32::ln)
    }

    /// After a rare first token the end is nearly sure, after the likeliest it is not.
    #[test]
    fn a_beam_finds_what_the_likeliest_first_token_hides() {
        let first = logarithms([0.0, 0.0, 0.1, 0.5, 0.4]);
        let (unsure, sure) = (logarithms([0.2, 0.2, 0.2, 0.2, 0.2]), logarithms([0.0, 0.0, 0.9, 0.05, 0.05]));
        let mut greedy = Beams::new(rules(1, 1.0));
        greedy.advance(&first, 5).unwrap();
        assert_eq!(greedy.open[0].tokens, [3]);
        // Padding and beginning are as likely as the end, but no text has them.
        greedy.advance(&unsure, 5).unwrap();
        assert!(greedy.open.is_empty());
        let best = greedy.best.unwrap();
        assert_eq!((best.tokens.as_slice(), best.ended), (&[3][..], true));
        assert!((best.score - 0.1f64.ln() / 2.0).abs() < 1e-6);

        let mut wide = Beams::new(rules(2, 1.0));
        wide.advance(&first, 5).unwrap();
        assert_eq!(wide.open.iter().map(|beam| beam.tokens.clone()).collect::<Vec<_>>(), [[3], [4]]);
        let both: Vec<f32> = unsure.into_iter().chain(sure).collect();
        wide.advance(&both, 5).unwrap();
        let best = wide.best.clone().unwrap();
        assert_eq!(best.tokens, [4]);
        assert!((best.score - 0.36f64.ln() / 2.0).abs() < 1e-6);
        // ln 0.1 over the greatest length of 4 is −0.58, below −0.51: no other can win.
        assert!(wide.open.is_empty());
        // With a greater penalty they can: −2.3/4² is more than −1.02/2².
        let mut patient = Beams::new(rules(2, 2.0));
        patient.advance(&first, 5).unwrap();
        patient.advance(&both, 5).unwrap();
        assert_eq!(patient.best.as_ref().unwrap().tokens, [4]);
        assert_eq!(patient.open.iter().map(|beam| beam.parent).collect::<Vec<_>>(), [0, 0]);
    }

    #[test]
    fn a_text_is_cut_off_at_the_greatest_length() {
        let mut search = Beams::new(rules(1, 0.0));
        for place in 0..4 {
            assert!(!search.open.is_empty(), "{place}");
            search.advance(&logarithms([0.0, 0.0, 0.1, 0.8, 0.1]), 5).unwrap();
        }
        assert!(search.open.is_empty());
        let best = search.best.unwrap();
        assert_eq!((best.tokens.as_slice(), best.ended), (&[3; 4][..], false));
        assert!((best.score - 4.0 * 0.8f64.ln()).abs() < 1e-6);
    }

    #[test]
    fn equals_come_in_order_and_logits_that_are_no_numbers_are_refused() {
        let mut search = Beams::new(rules(3, 1.0));
        search.advance(&[0.0; 6], 6).unwrap();
        assert_eq!(search.open.iter().map(|beam| beam.tokens[0]).collect::<Vec<_>>(), [3, 4, 5]);
        for wrong in [[f32::NAN, 0.0, 1.0, 2.0], [f32::NEG_INFINITY; 4], [0.0, f32::INFINITY, 0.0, 0.0]] {
            assert!(Beams::new(rules(1, 1.0)).advance(&wrong, 4).is_none(), "{wrong:?}");
        }
        // Only tokens that no text has.
        assert!(Beams::new(rules(1, 1.0)).advance(&logarithms([0.5, 0.5, 0.0, 0.0]), 4).is_none());
    }
}
