//! The inner loops of direct convolution: vectors of channels side by side, each times one element of an image.

use pulp::{Arch, Simd, WithSimd};

/// Rows that are summed at once where there are registers for them, and where there are half as many.
const MOST_ROWS: usize = 8;
const FEWER_ROWS: usize = 4;

/// Channels side by side in a panel on this machine, which are two vectors; none without vectors.
pub(super) fn lanes() -> Option<usize> {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = Option<usize>;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _simd: S) -> Option<usize> {
            (!S::IS_SCALAR).then_some(2 * S::F32_LANES)
        }
    }
    Arch::new().dispatch(Lanes)
}

/// For each row `Σ x[inner[i] + outer[row]] · panel[i]` over `i`, in order; each row is as wide as the panel.
pub(super) struct Products<'a> {
    pub(super) x: &'a [f32],
    pub(super) inner: &'a [u32],
    pub(super) outer: &'a [u32],
    /// As many rows as `inner`, of [`lanes`] channels each.
    pub(super) panel: &'a [f32],
}

impl Products<'_> {
    /// Computes some rows at a time: `write(first row, the rows' values)`.
    pub(super) fn write(self, write: impl FnMut(usize, &[f32])) {
        Arch::new().dispatch(Writing { products: self, write });
    }

    /// Adds each row to that of `sums`.
    pub(super) fn add(self, sums: &mut [f32]) {
        Arch::new().dispatch(Adding { products: self, sums });
    }

    /// The rows from `first` on that are summed at once.
    #[inline(always)]
    fn count<S: Simd>(&self, first: usize) -> usize {
        let most = if S::REGISTER_COUNT >= 32 { MOST_ROWS } else { FEWER_ROWS };
        most.min(self.outer.len() - first)
    }

    /// Adds the products of some rows.
    #[inline(always)]
    fn tile<S: Simd>(&self, simd: S, first: usize, count: usize, sums: &mut [[S::f32s; 2]; MOST_ROWS]) {
        match count {
            0..=2 => self.rows::<S, 2>(simd, first, count, sums),
            3..=4 => self.rows::<S, 4>(simd, first, count, sums),
            5..=6 => self.rows::<S, 6>(simd, first, count, sums),
            _ => self.rows::<S, MOST_ROWS>(simd, first, count, sums),
        }
    }

    /// The same, of `ROWS` rows, whose sums stay in registers; those beyond `count` are the first again.
    #[inline(always)]
    fn rows<S: Simd, const ROWS: usize>(
        &self,
        simd: S,
        first: usize,
        count: usize,
        sums: &mut [[S::f32s; 2]; MOST_ROWS],
    ) {
        let mut outer = [self.outer[first]; ROWS];
        outer[..count].copy_from_slice(&self.outer[first..first + count]);
        let Some(sums) = sums.first_chunk_mut::<ROWS>() else { return };
        let panel: &[[S::f32s; 2]] = bytemuck::cast_slice(self.panel);
        let mut held = *sums;
        for (start, vectors) in self.inner.iter().zip(panel) {
            let x = &self.x[*start as usize..];
            for (sums, place) in held.iter_mut().zip(&outer) {
                let value = simd.splat_f32s(x[*place as usize]);
                sums[0] = simd.mul_add_f32s(value, vectors[0], sums[0]);
                sums[1] = simd.mul_add_f32s(value, vectors[1], sums[1]);
            }
        }
        *sums = held;
    }
}

struct Writing<'a, W> {
    products: Products<'a>,
    write: W,
}

impl<W: FnMut(usize, &[f32])> WithSimd for Writing<'_, W> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let mut first = 0;
        while first < self.products.outer.len() {
            let count = self.products.count::<S>(first);
            let mut sums = [[simd.splat_f32s(0.0); 2]; MOST_ROWS];
            self.products.tile(simd, first, count, &mut sums);
            (self.write)(first, bytemuck::cast_slice(&sums[..count]));
            first += count;
        }
    }
}

struct Adding<'a> {
    products: Products<'a>,
    sums: &'a mut [f32],
}

impl WithSimd for Adding<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let all: &mut [[S::f32s; 2]] = bytemuck::cast_slice_mut(self.sums);
        let mut first = 0;
        while first < self.products.outer.len() {
            let count = self.products.count::<S>(first);
            let mut sums = [[simd.splat_f32s(0.0); 2]; MOST_ROWS];
            sums[..count].copy_from_slice(&all[first..first + count]);
            self.products.tile(simd, first, count, &mut sums);
            all[first..first + count].copy_from_slice(&sums[..count]);
            first += count;
        }
    }
}
