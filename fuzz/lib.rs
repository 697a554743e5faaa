//! What the fuzz targets share.

use fastrand::Rng;

pub mod invariants;

use invariants::mutate::mutate_part;

/// A fuzzer's mutator: changes the JSON in the first `size` bytes, or has `other` change all of them.
pub fn mutate_bytes(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    other: impl FnOnce(&mut [u8], usize, usize) -> usize,
) -> usize {
    let mut rng = Rng::with_seed(seed.into());
    let text = std::str::from_utf8(&data[..size]).ok().filter(|_| rng.bool());
    let changed = text.map(|text| mutate_part(text, &mut rng)).filter(|changed| changed.len() <= max_size);
    let Some(changed) = changed else { return other(data, size, max_size) };
    data[..changed.len()].copy_from_slice(changed.as_bytes());
    changed.len()
}
