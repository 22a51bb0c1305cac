//! Files whose bytes come out of locked artifacts and container images, by what decides them.

use crate::oci;
use crate::value::{Arch, Digest, Epoch, Reference, Sha256, TreePath, escape, unescape};

/// The version of what makes these files' bytes. It is raised whenever kbake would make other bytes of the same words.
const MADE_FORMAT: u32 = 1;

/// A file that is made when the image is baked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Made {
    /// An artifact, or what is in it.
    Extract(Extract),
    /// A container image that a registry has.
    Pulled(PulledImage, Form),
    /// A container image that kbake builds.
    Built(BuiltImage, Form),
}

/// How a container image is brought to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// As an OCI archive, which the node imports.
    Archive,
    /// Unpacked, ready in containerd's folder. An image whose layers cannot be unpacked here is an archive all the same.
    Unpacked,
}

impl Form {
    /// The words behind the image's.
    fn words(self) -> String {
        match self {
            Form::Archive => String::new(),
            Form::Unpacked => format!(" unpacked {}", oci::overlay::FORMAT),
        }
    }

    /// The form that the last words say; the first of them was read.
    fn parse<'a>(word: Option<&str>, words: &mut impl Iterator<Item = &'a str>) -> Option<Form> {
        match word {
            None => Some(Form::Archive),
            Some("unpacked") if words.next()?.parse() == Ok(oci::overlay::FORMAT) => Some(Form::Unpacked),
            Some(_) => None,
        }
    }
}

/// Where bytes come from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extract {
    /// They are the artifact.
    Whole(Digest),
    /// They are a file of an archive (a tar, compressed or not, or a `.deb`), whose path it is once the first `strip`
    /// folders are gone.
    Member { archive: Digest, strip: u32, member: String },
}

/// A container image out of a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledImage {
    /// Its full name.
    pub reference: Reference,
    /// The digest of its index.
    pub index: Sha256,
    /// For which machine.
    pub arch: Arch,
}

/// A container image of a few static programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    /// Its full name.
    pub reference: Reference,
    /// For which machine.
    pub arch: Arch,
    /// Its one point in time.
    pub epoch: Epoch,
    /// What is run.
    pub command: Vec<String>,
    /// Its files and where their bytes come from; all may be executed by everyone.
    pub files: Vec<(TreePath, Extract)>,
}

impl Made {
    /// The words that decide the bytes.
    pub fn text(&self) -> String {
        match self {
            Made::Extract(extract) => extract.text(),
            Made::Pulled(PulledImage { reference, index, arch }, form) => {
                format!("pulled {} {reference} {arch} sha256:{index}{}", oci::FORMAT, form.words())
            }
            Made::Built(image, form) => {
                let mut words = vec![format!("built {} {} {} {}", oci::FORMAT, image.reference, image.arch, image.epoch)];
                words.extend(image.command.iter().map(|word| format!("run {}", escape(word.as_bytes()))));
                words.extend(image.files.iter().map(|(path, extract)| format!("of {path} {}", extract.text())));
                words.join(" ") + &form.words()
            }
        }
    }

    /// The same, with the version of what makes the bytes: what stands in the plan.
    pub(super) fn words(&self) -> String {
        format!("{MADE_FORMAT} {}", self.text())
    }

    /// The inverse of what stands in a plan behind the owner: `1 member sha256:… 1 etcd`. None for words that this kbake would
    /// not write.
    pub fn parse(words: &str) -> Option<Made> {
        let (format, text) = words.split_once(' ')?;
        let mut words = text.split(' ');
        let made = match (format.parse() == Ok(MADE_FORMAT)).then(|| words.next())?? {
            "pulled" if words.next()?.parse() == Ok(oci::FORMAT) => {
                let (reference, arch) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                let index = words.next()?.strip_prefix("sha256:")?.parse().ok()?;
                Made::Pulled(PulledImage { reference, arch, index }, Form::parse(words.next(), &mut words)?)
            }
            "built" if words.next()?.parse() == Ok(oci::FORMAT) => {
                let (reference, arch) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                let epoch = Epoch::from_seconds(words.next()?.parse().ok()?).ok()?;
                let mut image = BuiltImage { reference, arch, epoch, command: Vec::new(), files: Vec::new() };
                let form = loop {
                    match words.next() {
                        Some("run") => image.command.push(String::from_utf8(unescape(words.next()?)?).ok()?),
                        Some("of") => {
                            let path = TreePath::parse(&unescape(words.next()?)?, true).ok()?;
                            image.files.push((path, Extract::parse(words.next()?, &mut words)?));
                        }
                        last => break Form::parse(last, &mut words)?,
                    }
                };
                Made::Built(image, form)
            }
            word => Made::Extract(Extract::parse(word, &mut words)?),
        };
        // One thing has one text.
        (words.next().is_none() && made.text() == text).then_some(made)
    }

    /// The name of the container image that it is, with how it is brought to the node.
    pub fn image(&self) -> Option<(&Reference, Form)> {
        match self {
            Made::Extract(_) => None,
            Made::Pulled(image, form) => Some((&image.reference, *form)),
            Made::Built(image, form) => Some((&image.reference, *form)),
        }
    }

    /// What the bytes are remembered by.
    pub fn key(&self) -> Sha256 {
        Sha256::of(format!("kbake-made {}\n", self.words()))
    }

    /// The digests of the artifacts that are needed.
    pub fn artifacts(&self) -> Vec<Digest> {
        match self {
            Made::Extract(extract) => vec![extract.artifact()],
            Made::Pulled(..) => Vec::new(),
            Made::Built(image, _) => image.files.iter().map(|(_, extract)| extract.artifact()).collect(),
        }
    }
}

impl Extract {
    /// The artifact that the bytes are, or are in.
    pub fn artifact(&self) -> Digest {
        match self {
            Extract::Whole(digest) | Extract::Member { archive: digest, .. } => *digest,
        }
    }

    fn parse<'a>(word: &str, words: &mut impl Iterator<Item = &'a str>) -> Option<Extract> {
        match word {
            "artifact" => Some(Extract::Whole(words.next()?.parse().ok()?)),
            "member" => {
                let (archive, strip) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                Some(Extract::Member { archive, strip, member: String::from_utf8(unescape(words.next()?)?).ok()? })
            }
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self {
            Extract::Whole(digest) => format!("artifact {digest}"),
            Extract::Member { archive, strip, member } => format!("member {archive} {strip} {}", escape(member.as_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_decides() {
        let digest = Digest::Sha256(Sha256::of("a"));
        let member = |strip, member: &str| Extract::Member { archive: digest, strip, member: member.to_owned() };
        let built = |command: &[&str], path: &str, form| {
            let image = BuiltImage {
                reference: "a.test/b:1".parse().unwrap(),
                arch: Arch::Amd64,
                epoch: Epoch::from_seconds(1).unwrap(),
                command: command.iter().map(|&word| word.to_owned()).collect(),
                files: vec![(TreePath::fixed(path), member(0, "x"))],
            };
            Made::Built(image, form)
        };
        let pulled =
            |arch, form| Made::Pulled(PulledImage { reference: "a.test/b:1".parse().unwrap(), index: Sha256::of("a"), arch }, form);
        let all = [
            Made::Extract(Extract::Whole(digest)),
            Made::Extract(member(0, "x")),
            Made::Extract(member(1, "x")),
            Made::Extract(member(0, "y")),
            built(&["a", "b"], "x", Form::Archive),
            built(&["a", "b"], "x", Form::Unpacked),
            built(&["a b"], "x", Form::Archive),
            built(&["a", "b"], "y", Form::Archive),
            pulled(Arch::Amd64, Form::Archive),
            pulled(Arch::Amd64, Form::Unpacked),
            pulled(Arch::Arm64, Form::Archive),
        ];
        let keys: std::collections::BTreeSet<Sha256> = all.iter().map(Made::key).collect();
        assert_eq!(keys.len(), all.len());
        assert!(all.iter().all(|made| !made.text().contains('\n')), "a plan has one line for each file");
        for made in &all {
            assert_eq!(Made::parse(&made.words()).as_ref(), Some(made));
            for odd in [format!("2 {}", made.text()), format!("{} x", made.words()), format!("{} ", made.words()), made.text()] {
                assert_eq!(Made::parse(&odd), None, "{odd}");
            }
        }
    }
}
