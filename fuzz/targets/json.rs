#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target, fuzzer_mutate};

fuzz_target!(|data: &[u8]| clerk_sync_fuzz::invariants::json::check(data));

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    clerk_sync_fuzz::mutate_bytes(data, size, max_size, seed, fuzzer_mutate)
});
