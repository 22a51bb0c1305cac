//! Claims: a bundle's statement about the image of a plan that this host has not built.
//!
//! One file per plan: `claims/<plan>.json`. A claim is never trusted. It is compared with the image that this host builds from
//! the plan, and a difference is an error.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Store;
use super::small::{self, Small};
use crate::common::error::{Error, Result};
use crate::common::fsx;
use crate::common::value::Sha256;

/// The claimed image of a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageClaim {
    /// The plan's key.
    pub plan: Sha256,
    /// The digest of the tree's text.
    pub tree: Sha256,
    /// The digest of the image.
    pub image: Sha256,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    plan: String,
    tree: String,
    image: String,
    check: String,
}

impl ImageClaim {
    fn check(&self) -> Sha256 {
        Sha256::of(format!("claim {} {} {}\n", self.plan, self.tree, self.image))
    }

    fn read(bytes: &[u8], plan: &Sha256) -> Option<ImageClaim> {
        let text: Text = serde_json::from_slice(bytes).ok()?;
        let claim = ImageClaim { plan: text.plan.parse().ok()?, tree: text.tree.parse().ok()?, image: text.image.parse().ok()? };
        (claim.plan == *plan && text.check == claim.check().to_string()).then_some(claim)
    }
}

impl Store {
    /// The claim about a plan.
    ///
    /// # Errors
    /// Class `Integrity`: a damaged claim. If it were ignored, a wrong image could pass.
    pub fn claim(&self, plan: &Sha256) -> Result<Option<ImageClaim>> {
        let path = self.claim_path(plan);
        let bytes = match small::read(&path)? {
            Small::Absent => return Ok(None),
            found => found.bytes().unwrap_or_default(),
        };
        ImageClaim::read(&bytes, plan).map(Some).ok_or_else(|| {
            Error::integrity(format!("the claim about the plan {plan} is damaged"))
                .detail(format!("in {}", path.display()))
                .hint("import the bundle again; or remove the file to build without a comparison")
        })
    }

    /// The plans with claims, sorted. Files with other names are ignored.
    pub fn claims(&self) -> Result<Vec<Sha256>> {
        let names = fsx::list(&self.root().join("claims"))?;
        Ok(names.iter().filter_map(|name| name.to_str()?.strip_suffix(".json")?.parse().ok()).collect())
    }

    /// Writes a claim, replacing an earlier one about the same plan.
    pub fn put_claim(&self, claim: &ImageClaim) -> Result<()> {
        let ImageClaim { plan, tree, image } = claim;
        let text = Text { plan: plan.to_string(), tree: tree.to_string(), image: image.to_string(), check: claim.check().to_string() };
        let mut bytes = serde_json::to_vec_pretty(&text).map_err(|e| Error::internal(format!("cannot serialize a claim: {e}")))?;
        bytes.push(b'\n');
        self.write_small(&self.claim_path(plan), &bytes)
    }

    /// Removes the claim about a plan, if there is one.
    pub fn remove_claim(&self, plan: &Sha256) -> Result<()> {
        self.remove_small(&self.claim_path(plan))
    }

    /// The path of the claim about a plan.
    pub fn claim_path(&self, plan: &Sha256) -> PathBuf {
        self.root().join("claims").join(format!("{plan}.json"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::common::value::Cancel;
    use crate::storage::store::Access;

    #[test]
    fn a_claim_is_read_back_or_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), Access::Shared, &Cancel::new(), &|| ()).unwrap();
        let [plan, tree, image] = ["p", "t", "i"].map(Sha256::of);
        let claim = ImageClaim { plan, tree, image };
        assert_eq!(store.claim(&plan).unwrap(), None);
        store.put_claim(&claim).unwrap();
        assert_eq!(store.claim(&plan).unwrap(), Some(claim));
        assert_eq!(store.claims().unwrap(), [plan]);
        let path = store.claim_path(&plan);
        let good = fs::read(&path).unwrap();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            fs::write(&path, &bad).unwrap();
            // White space may be another one; a digit may not.
            match store.claim(&plan) {
                Ok(found) => assert_eq!(found, Some(claim), "byte {at}"),
                Err(error) => assert_eq!(error.class(), crate::Class::Integrity, "byte {at}"),
            }
        }
        fs::write(&path, &good).unwrap();
        fs::rename(&path, store.claim_path(&tree)).unwrap();
        assert!(store.claim(&tree).is_err(), "a claim in another's place");
        store.remove_claim(&tree).unwrap();
        assert_eq!(store.claim(&tree).unwrap(), None);
    }
}
