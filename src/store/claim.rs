//! What a bundle says of a plan whose image nobody here has made: it must come out so.
//!
//! One file per plan: `claims/<plan>.json`. A claim is no reason to believe anything. It is held against what this host
//! makes of the plan, and a difference is an error.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Store;
use super::small::{self, Small};
use crate::error::{Error, Result};
use crate::fsx;
use crate::value::Sha256;

/// The image that a plan is said to give.
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
    /// What is claimed of a plan.
    ///
    /// # Errors
    /// Of class `Integrity`: a claim that is damaged. Without it, a wrong image could pass.
    pub fn claim(&self, plan: &Sha256) -> Result<Option<ImageClaim>> {
        let path = self.claim_path(plan);
        let bytes = match small::read(&path)? {
            Small::Absent => return Ok(None),
            found => found.bytes().unwrap_or_default(),
        };
        ImageClaim::read(&bytes, plan).map(Some).ok_or_else(|| {
            Error::integrity(format!("what a bundle said of the plan {plan} is damaged"))
                .detail(format!("in {}", path.display()))
                .hint("import the bundle again; or remove the file, and the image is held against nothing")
        })
    }

    /// The plans of which something is claimed, sorted. Files with other names are passed over.
    pub fn claims(&self) -> Result<Vec<Sha256>> {
        let names = fsx::list(&self.root().join("claims"))?;
        Ok(names.iter().filter_map(|name| name.to_str()?.strip_suffix(".json")?.parse().ok()).collect())
    }

    /// Remembers a claim, in place of what was claimed of its plan before.
    pub fn put_claim(&self, claim: &ImageClaim) -> Result<()> {
        let ImageClaim { plan, tree, image } = claim;
        let text = Text { plan: plan.to_string(), tree: tree.to_string(), image: image.to_string(), check: claim.check().to_string() };
        let mut bytes = serde_json::to_vec_pretty(&text).map_err(|e| Error::internal(format!("a claim cannot be written: {e}")))?;
        bytes.push(b'\n');
        self.write_small(&self.claim_path(plan), &bytes)
    }

    /// Forgets what is claimed of a plan, if anything is.
    pub fn remove_claim(&self, plan: &Sha256) -> Result<()> {
        self.remove_small(&self.claim_path(plan))
    }

    /// Where the claim about a plan is, or would be.
    pub fn claim_path(&self, plan: &Sha256) -> PathBuf {
        self.root().join("claims").join(format!("{plan}.json"))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::store::Access;
    use crate::value::Cancel;

    #[test]
    fn a_claim_is_what_was_put_or_an_error() {
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
