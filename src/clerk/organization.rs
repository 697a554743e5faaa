//! Clerk's Organization object. Its count of members is not used: ours are counted.

use crate::{domain::Organization, json::Object};

use super::fields::Fields;

/// Reads an Organization; names the members that were of the wrong kind.
pub(super) fn read(clerk_id: String, data: &Object) -> (Organization, Vec<&'static str>) {
    let mut f = Fields::new(data);
    let organization = Organization {
        clerk_id,
        name: f.text("name"),
        slug: f.text("slug"),
        // `logo_url` is what older objects call it.
        image_url: f.text("image_url").or_else(|| f.text("logo_url")),
        created_by: f.text("created_by"),
        public_metadata: f.object("public_metadata"),
        private_metadata: f.object("private_metadata"),
        created_at: f.time("created_at"),
        updated_at: f.time("updated_at"),
    };
    (organization, f.wrong)
}
