//! Splitting a data set in two: stratified at random, or the end held out.

use cpu_reference::philox::Philox;

use crate::{DataError, Dataset, Targets};

/// Streams of random numbers that this file uses; each purpose has its own, so that none repeats another.
const SPLIT_STREAM: u32 = 0x2000_0000;
const SPLIT_ORDER_STREAM: u32 = 0x2800_0000;

/// Which of `count` are held out: about a `fraction` of them, drawn by `seed` from numbers of `stream`; of two or more at
/// least one, and not all.
pub(crate) fn held_out(count: usize, fraction: f64, (seed, stream): (u64, u32)) -> Vec<bool> {
    let most = count.saturating_sub(1);
    let chosen = ((count as f64 * fraction).round() as usize).clamp(1.min(most), most);
    let mut held_out = vec![false; count];
    let order = Philox::new(seed, stream).permutation(count);
    order.into_iter().take(chosen).for_each(|place| held_out[place as usize] = true);
    held_out
}

impl Dataset {
    /// Splits into (training, held out), where `fraction` of the rows, rounded, is held out.
    ///
    /// The choice is random but fixed by `seed`, and stratified: each class gives its share (to within
    /// one row). Both parts come shuffled and have at least one row.
    ///
    /// # Errors
    /// [`DataError::Argument`] unless 0 < `fraction` < 1 and there are two rows or more; what
    /// [`Dataset::validate`] finds.
    pub fn split(&self, fraction: f64, seed: u64) -> Result<(Self, Self), DataError> {
        self.validate()?;
        let held_out = self.held_out_rows(fraction)?;
        let (mut first, mut second) = (Vec::new(), Vec::new());
        let mut groups = self.rows_by_class();
        let shares = shares(&groups.iter().map(Vec::len).collect::<Vec<_>>(), held_out);
        for (class, (group, share)) in groups.iter_mut().zip(shares).enumerate() {
            Philox::new(seed, SPLIT_STREAM.wrapping_add(class as u32)).shuffle(group);
            second.extend_from_slice(&group[..share]);
            first.extend_from_slice(&group[share..]);
        }
        // Without this the rows would come class by class.
        let mut random = Philox::new(seed, SPLIT_ORDER_STREAM);
        random.shuffle(&mut first);
        random.shuffle(&mut second);
        Ok((self.subset(&first)?, self.subset(&second)?))
    }

    /// Splits into (all but the last `fraction` of the rows, the last `fraction`), in the given order.
    ///
    /// # Errors
    /// As [`Dataset::split`].
    pub fn split_last(&self, fraction: f64) -> Result<(Self, Self), DataError> {
        let first = self.rows() - self.held_out_rows(fraction)?;
        let indices: Vec<usize> = (0..self.rows()).collect();
        Ok((self.subset(&indices[..first])?, self.subset(&indices[first..])?))
    }

    /// How many rows `fraction` holds out: at least one, and not all.
    fn held_out_rows(&self, fraction: f64) -> Result<usize, DataError> {
        self.check_lengths()?;
        if !(fraction > 0.0 && fraction < 1.0) {
            return Err(DataError::argument(
                format!("cannot hold out {fraction} of data set {}", self.name),
                "give a fraction above 0 and below 1, such as 0.1",
            ));
        }
        if self.rows() < 2 {
            return Err(DataError::argument(
                format!("data set {} has one row and cannot be split", self.name),
                "give more rows, or train without a validation part",
            ));
        }
        let wanted = (self.rows() as f64 * fraction).round() as usize;
        Ok(wanted.clamp(1, self.rows() - 1))
    }

    /// Row numbers grouped by class; all in one group where a row has no class of its own.
    fn rows_by_class(&self) -> Vec<Vec<usize>> {
        match &self.targets {
            Targets::Classes { labels, .. } => {
                let classes = labels.iter().max().map_or(0, |&class| class as usize + 1);
                let mut groups = vec![Vec::new(); classes];
                for (row, &class) in labels.iter().enumerate() {
                    groups[class as usize].push(row);
                }
                groups
            }
            Targets::Values { .. } | Targets::ClassMaps { .. } | Targets::Sequences { .. } => {
                vec![(0..self.rows()).collect()]
            }
        }
    }
}

/// Deals `total` out to groups in proportion to their sizes, by largest remainder (ties: first group).
///
/// Needs `total` ≤ the sum of `sizes`; no share is larger than its group.
fn shares(sizes: &[usize], total: usize) -> Vec<usize> {
    let all: u128 = sizes.iter().map(|&size| size as u128).sum::<u128>().max(1);
    let exact = |size: usize| size as u128 * total as u128;
    let mut shares: Vec<usize> = sizes.iter().map(|&size| (exact(size) / all) as usize).collect();
    let missing = total.saturating_sub(shares.iter().sum());
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_key(|&group| std::cmp::Reverse(exact(sizes[group]) % all));
    for &group in order.iter().take(missing) {
        shares[group] += 1;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_add_up_and_never_exceed_a_group() {
        for total in 0..=13 {
            let shares = shares(&[1, 7, 0, 5], total);
            assert_eq!(shares.iter().sum::<usize>(), total);
            assert!(shares.iter().zip([1, 7, 0, 5]).all(|(share, size)| *share <= size));
        }
    }
}
