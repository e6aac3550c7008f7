//! Where the elements of a resampled axis come from: tables in exact whole numbers, so that every device takes the same
//! neighbours.

/// A quotient of whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ratio {
    pub(super) above: u64,
    pub(super) below: u64,
}

/// No quotient stands for a factor with more than that above or below.
const LARGEST: u64 = 1 << 20;

impl Ratio {
    /// In lowest terms.
    pub(super) fn new(above: u64, below: u64) -> Ratio {
        let common = common_divisor(above, below);
        Ratio { above: above / common, below: below / common }
    }

    /// The simplest quotient that is nearest to a positive number, by its continued fraction. What was written as a
    /// decimal, 1.3, is 13/10.
    pub(super) fn nearest(number: f64) -> Ratio {
        let (mut before, mut last) = ([0, 1], [1, 0]);
        let mut rest = number;
        loop {
            let whole = rest.floor();
            if whole > LARGEST as f64 {
                break;
            }
            let next = [0, 1].map(|place| (whole as u64).saturating_mul(last[place]).saturating_add(before[place]));
            if next.iter().any(|&size| size > LARGEST) {
                break;
            }
            (before, last) = (last, next);
            let found = last[0] as f64 / last[1] as f64;
            if (found - number).abs() <= 4.0 * f64::EPSILON * number || rest == whole {
                break;
            }
            rest = 1.0 / (rest - whole);
        }
        // A factor beyond all quotients is the largest or smallest one.
        Ratio { above: last[0].max(1), below: last[1].max(1) }
    }
}

fn common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a.max(1) } else { common_divisor(b, a % b) }
}

/// Which input elements a result is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Input ⌊o · step⌋ is result o.
    Nearest { step: Ratio },
    /// Result o lies at (o + ½) · step − ½ among the inputs: elements are areas, whose outer edges meet.
    Linear { step: Ratio },
    /// Result o lies at o · (inputs − 1)/(results − 1): the centres of the outermost elements meet.
    Corners,
    /// The other way round.
    Reversed,
}

/// The tables of an axis.
pub(super) struct Table {
    /// The input at or before each result.
    pub(super) lows: Vec<u32>,
    /// How far beyond it each result lies, in units of 1/whole; 0 for the last input.
    pub(super) parts: Vec<u32>,
    pub(super) whole: u32,
    /// For each input the results that it takes part in: from the first to before the end.
    pub(super) firsts: Vec<u32>,
    pub(super) ends: Vec<u32>,
}

impl Table {
    /// The tables for `input` elements that become `output`, neither of them 0.
    pub(super) fn new(rule: Rule, input: usize, output: usize) -> Result<Table, String> {
        let (size, count) = (input as u64, output as u64);
        if size.max(count) > u64::from(u32::MAX) {
            return Err(format!("an axis of {input} or {output} elements is beyond what a kernel can address"));
        }
        let wide = u128::from;
        // Where a result lies, in units of 1/whole.
        let place = |o: u64| match rule {
            Rule::Nearest { step } => wide(o) * wide(step.above),
            Rule::Linear { step } => (wide(2 * o + 1) * wide(step.above)).saturating_sub(wide(step.below)),
            Rule::Corners => wide(o) * wide(size - 1),
            Rule::Reversed => wide(size.saturating_sub(1 + o)),
        };
        let whole = match rule {
            Rule::Nearest { step } => step.below,
            Rule::Linear { step } => 2 * step.below,
            Rule::Corners => (count - 1).max(1),
            Rule::Reversed => 1,
        };
        let mut lows = Vec::with_capacity(output);
        let mut parts = Vec::with_capacity(output);
        for o in 0..count {
            let (low, part) = (place(o) / wide(whole), (place(o) % wide(whole)) as u64);
            let only_low = low >= wide(size - 1) || matches!(rule, Rule::Nearest { .. });
            lows.push(low.min(wide(size - 1)) as u32);
            parts.push(if only_low { 0 } else { part });
        }
        let common = parts.iter().fold(whole, |common, &part| common_divisor(common, part));
        let narrow = |number: u64| {
            u32::try_from(number / common)
                .map_err(|_| format!("an axis of {output} elements is beyond what a kernel can address"))
        };
        let parts = parts.into_iter().map(narrow).collect::<Result<Vec<u32>, String>>()?;
        let (mut firsts, mut ends) = (vec![u32::MAX; input], vec![0; input]);
        for (o, (&low, &part)) in (0..).zip(lows.iter().zip(&parts)) {
            for place in low as usize..=low as usize + usize::from(part > 0) {
                firsts[place] = firsts[place].min(o);
                ends[place] = o + 1;
            }
        }
        Ok(Table { lows, parts, whole: narrow(whole)?, firsts, ends })
    }

    /// The most results that one input takes part in.
    pub(super) fn most(&self) -> usize {
        let counts = self.firsts.iter().zip(&self.ends).map(|(&first, &end)| end.saturating_sub(first));
        counts.max().unwrap_or(0) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_are_the_quotients_they_were_written_as() {
        for (number, above, below) in
            [(2.0, 2, 1), (0.5, 1, 2), (1.3, 13, 10), (2.0 / 3.0, 2, 3), (1.0, 1, 1), (0.1, 1, 10), (1e-9, 1, 1 << 20)]
        {
            let ratio = Ratio::nearest(number);
            if number > 1e-6 {
                assert_eq!(ratio, Ratio { above, below }, "{number}");
            }
            assert!(ratio.above > 0 && ratio.below > 0);
        }
        for number in [std::f64::consts::PI, 0.731_234_567_890_1, 1.0 / 777_777.7] {
            let Ratio { above, below } = Ratio::nearest(number);
            assert!((above as f64 / below as f64 - number).abs() < 2e-6 * number, "{number} is not {above}/{below}");
        }
    }

    #[test]
    fn the_results_of_an_input_are_neighbours_and_all_that_name_it() {
        for (input, output) in [(1, 1), (1, 7), (7, 1), (5, 5), (3, 8), (8, 3), (4, 12), (40, 17)] {
            let step = Ratio::new(input as u64, output as u64);
            for rule in [Rule::Nearest { step }, Rule::Linear { step }, Rule::Corners] {
                let table = Table::new(rule, input, output).unwrap();
                for place in 0..input {
                    let named: Vec<u32> = (0..output as u32)
                        .filter(|&o| {
                            let (low, part) = (table.lows[o as usize] as usize, table.parts[o as usize]);
                            low == place || (part > 0 && low + 1 == place)
                        })
                        .collect();
                    let range: Vec<u32> = (table.firsts[place]..table.ends[place]).collect();
                    assert_eq!(named, range, "{rule:?} of {input} to {output} at {place}");
                }
            }
        }
    }
}
