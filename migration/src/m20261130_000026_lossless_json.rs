//! Columns that hold what users write keep it as it is written. `jsonb` would not: it writes `1e400` as 401 digits, and
//! refuses a number of more than 131,072 of them, which any signed-in user can send.
use crate::step::Step;

pub(crate) const STEP: Step = Step {
    name: "m20261130_000026_lossless_json",
    up: &[
        "pg:alter table user_metadata
            alter column public_metadata type json using public_metadata::text::json,
            alter column private_metadata type json using private_metadata::text::json,
            alter column unsafe_metadata type json using unsafe_metadata::text::json",
        "pg:alter table user_settings alter column mapped type json using mapped::text::json",
        "pg:alter table organizations
            alter column public_metadata type json using public_metadata::text::json,
            alter column private_metadata type json using private_metadata::text::json",
    ],
    down: &[
        "pg:alter table organizations
            alter column public_metadata type jsonb using public_metadata::text::jsonb,
            alter column private_metadata type jsonb using private_metadata::text::jsonb",
        "pg:alter table user_settings alter column mapped type jsonb using mapped::text::jsonb",
        "pg:alter table user_metadata
            alter column public_metadata type jsonb using public_metadata::text::jsonb,
            alter column private_metadata type jsonb using private_metadata::text::jsonb,
            alter column unsafe_metadata type jsonb using unsafe_metadata::text::jsonb",
    ],
};
