//! Ids as Clerk makes them: a prefix and 27 characters that spell a second (32 bits) and 128 bits more. Those of seeded
//! objects can be read back to the object's place in its row, so that nothing has to be remembered about it.

/// The three kinds of objects that a world holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A person.
    User,
    /// An organisation.
    Organization,
    /// A person's membership in an organisation.
    Membership,
}

impl Kind {
    /// What its ids begin with.
    pub(super) fn prefix(self) -> &'static str {
        match self {
            Self::User => "user_",
            Self::Organization => "org_",
            Self::Membership => "orgmem_",
        }
    }

    /// What its objects' `object` says.
    pub(super) fn object(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Organization => "organization",
            Self::Membership => "organization_membership",
        }
    }

    /// What its events' types begin with.
    pub(super) fn event(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Organization => "organization",
            Self::Membership => "organizationMembership",
        }
    }
}

const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const LENGTH: usize = 27;

/// The second that the ids' clock counts from.
const EPOCH: i64 = 1_400_000_000;

/// The 27 characters for a moment (ms since 1970) and 128 bits.
pub(super) fn spell(at: i64, bits: u128) -> String {
    let second = u32::try_from(at.div_euclid(1000) - EPOCH).unwrap_or(0);
    let mut words = [second, (bits >> 96) as u32, (bits >> 64) as u32, (bits >> 32) as u32, bits as u32];
    let mut text = [b'0'; LENGTH];
    for place in text.iter_mut().rev() {
        let mut rest = 0_u64;
        for word in &mut words {
            let value = (rest << 32) | u64::from(*word);
            *word = (value / 62) as u32;
            rest = value % 62;
        }
        *place = ALPHABET[rest as usize];
    }
    text.iter().map(|byte| char::from(*byte)).collect()
}

/// The 128 bits that 27 characters spell.
pub(super) fn bits(text: &str) -> Option<u128> {
    if text.len() != LENGTH {
        return None;
    }
    // The second stands above the 128 bits, where the arithmetic drops it.
    text.bytes().try_fold(0_u128, |sum, byte| {
        let digit = ALPHABET.iter().position(|letter| *letter == byte)?;
        Some(sum.wrapping_mul(62).wrapping_add(digit as u128))
    })
}

/// A number that looks like any other, one to one.
pub(super) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// What [`mix`] made `x` of.
pub(super) fn unmix(mut x: u64) -> u64 {
    x = (x ^ (x >> 31) ^ (x >> 62)).wrapping_mul(0x3196_42b2_d24d_8ec3);
    x = (x ^ (x >> 27) ^ (x >> 54)).wrapping_mul(0x96de_1b17_3f11_9089);
    x ^ (x >> 30) ^ (x >> 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_can_be_read_back() {
        for number in [0, 1, 77, u64::MAX, 0x9e37_79b9_7f4a_7c15] {
            assert_eq!(unmix(mix(number)), number);
            let wide = (u128::from(mix(number)) << 64) | u128::from(number);
            let text = spell(1_768_619_811_660, wide);
            assert_eq!(text.len(), 27);
            assert!(text.starts_with('3'), "ids of 2026 do: {text}");
            assert_eq!(bits(&text), Some(wide));
        }
        assert_eq!(bits("short"), None);
        assert_eq!(bits("3_____________000000000000A"), None);
    }
}
