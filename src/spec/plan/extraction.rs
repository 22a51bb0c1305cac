//! Extractions: files of an image that come from locked artifacts and container images, as the words that decide their bytes.

use crate::common::value::{Arch, Digest, Epoch, Reference, Sha256, TreePath, escape, unescape};
use crate::formats::oci;

/// The version of the code behind extractions. Raise it whenever the same words give other bytes.
const EXTRACTION_FORMAT: u32 = 1;

/// A file that the build extracts from locked artifacts or container images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Extraction {
    /// An artifact, or a member of it.
    File(FileSource),
    /// A container image from a registry.
    Pulled(PulledImage, Form),
    /// A container image that kbake builds.
    Built(BuiltImage, Form),
}

/// The form in which a container image is delivered to the node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// An OCI archive, which the node imports.
    Archive,
    /// Unpacked in containerd's folder. An image whose layers cannot be unpacked here is delivered as an archive all the same.
    Unpacked,
}

impl Form {
    /// The words that follow the image's.
    fn words(self) -> String {
        match self {
            Form::Archive => String::new(),
            Form::Unpacked => format!(" unpacked {}", oci::overlay::FORMAT),
        }
    }

    /// The form in the last words, the first of which has been read.
    fn parse<'a>(word: Option<&str>, words: &mut impl Iterator<Item = &'a str>) -> Option<Form> {
        match word {
            None => Some(Form::Archive),
            Some("unpacked") if words.next()?.parse() == Ok(oci::overlay::FORMAT) => Some(Form::Unpacked),
            Some(_) => None,
        }
    }
}

/// The source of a file's bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileSource {
    /// The artifact itself.
    Whole(Digest),
    /// A file in an archive: a tar, compressed or not, or a `.deb`.
    Member {
        /// The digest of the archive.
        archive: Digest,
        /// The number of leading folders to strip from members' paths.
        strip: u32,
        /// The member's path without those folders.
        member: String,
    },
}

/// A container image from a registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PulledImage {
    /// Its full name.
    pub reference: Reference,
    /// The digest of its index.
    pub index: Sha256,
    /// Its architecture.
    pub arch: Arch,
}

/// A container image of a few static programs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuiltImage {
    /// Its full name.
    pub reference: Reference,
    /// Its architecture.
    pub arch: Arch,
    /// The date of all its files.
    pub epoch: Epoch,
    /// Its command.
    pub command: Vec<String>,
    /// Its files and the sources of their bytes; everyone may execute them.
    pub files: Vec<(TreePath, FileSource)>,
}

impl Extraction {
    /// The words that decide the bytes.
    pub fn text(&self) -> String {
        match self {
            Extraction::File(source) => source.text(),
            Extraction::Pulled(PulledImage { reference, index, arch }, form) => {
                format!("pulled {} {reference} {arch} sha256:{index}{}", oci::FORMAT, form.words())
            }
            Extraction::Built(image, form) => {
                let mut words = vec![format!("built {} {} {} {}", oci::FORMAT, image.reference, image.arch, image.epoch)];
                words.extend(image.command.iter().map(|word| format!("run {}", escape(word.as_bytes()))));
                words.extend(image.files.iter().map(|(path, source)| format!("of {path} {}", source.text())));
                words.join(" ") + &form.words()
            }
        }
    }

    /// The words, preceded by the version of the code: the text in the plan.
    pub(super) fn words(&self) -> String {
        format!("{EXTRACTION_FORMAT} {}", self.text())
    }

    /// Parses the words behind the owner in a plan: `1 member sha256:… 1 etcd`. None for words that this kbake would not write.
    pub fn parse(words: &str) -> Option<Extraction> {
        let (format, text) = words.split_once(' ')?;
        let mut words = text.split(' ');
        let extraction = match (format.parse() == Ok(EXTRACTION_FORMAT)).then(|| words.next())?? {
            "pulled" if words.next()?.parse() == Ok(oci::FORMAT) => {
                let (reference, arch) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                let index = words.next()?.strip_prefix("sha256:")?.parse().ok()?;
                Extraction::Pulled(PulledImage { reference, arch, index }, Form::parse(words.next(), &mut words)?)
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
                            image.files.push((path, FileSource::parse(words.next()?, &mut words)?));
                        }
                        last => break Form::parse(last, &mut words)?,
                    }
                };
                Extraction::Built(image, form)
            }
            word => Extraction::File(FileSource::parse(word, &mut words)?),
        };
        // The text is canonical.
        (words.next().is_none() && extraction.text() == text).then_some(extraction)
    }

    /// The name of the container image, and its form, if the file is one.
    pub fn image(&self) -> Option<(&Reference, Form)> {
        match self {
            Extraction::File(_) => None,
            Extraction::Pulled(image, form) => Some((&image.reference, *form)),
            Extraction::Built(image, form) => Some((&image.reference, *form)),
        }
    }

    /// The cache key of the bytes.
    pub fn key(&self) -> Sha256 {
        Sha256::of(format!("kbake-made {}\n", self.words()))
    }

    /// The digests of the artifacts that it needs.
    pub fn artifacts(&self) -> Vec<Digest> {
        match self {
            Extraction::File(source) => vec![source.artifact()],
            Extraction::Pulled(..) => Vec::new(),
            Extraction::Built(image, _) => image.files.iter().map(|(_, source)| source.artifact()).collect(),
        }
    }
}

impl FileSource {
    /// The artifact that is, or contains, the bytes.
    pub fn artifact(&self) -> Digest {
        match self {
            FileSource::Whole(digest) | FileSource::Member { archive: digest, .. } => *digest,
        }
    }

    fn parse<'a>(word: &str, words: &mut impl Iterator<Item = &'a str>) -> Option<FileSource> {
        match word {
            "artifact" => Some(FileSource::Whole(words.next()?.parse().ok()?)),
            "member" => {
                let (archive, strip) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
                Some(FileSource::Member { archive, strip, member: String::from_utf8(unescape(words.next()?)?).ok()? })
            }
            _ => None,
        }
    }

    fn text(&self) -> String {
        match self {
            FileSource::Whole(digest) => format!("artifact {digest}"),
            FileSource::Member { archive, strip, member } => format!("member {archive} {strip} {}", escape(member.as_bytes())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_decides() {
        let digest = Digest::Sha256(Sha256::of("a"));
        let member = |strip, member: &str| FileSource::Member { archive: digest, strip, member: member.to_owned() };
        let built = |command: &[&str], path: &str, form| {
            let image = BuiltImage {
                reference: "a.test/b:1".parse().unwrap(),
                arch: Arch::Amd64,
                epoch: Epoch::from_seconds(1).unwrap(),
                command: command.iter().map(|&word| word.to_owned()).collect(),
                files: vec![(TreePath::fixed(path), member(0, "x"))],
            };
            Extraction::Built(image, form)
        };
        let pulled =
            |arch, form| Extraction::Pulled(PulledImage { reference: "a.test/b:1".parse().unwrap(), index: Sha256::of("a"), arch }, form);
        let all = [
            Extraction::File(FileSource::Whole(digest)),
            Extraction::File(member(0, "x")),
            Extraction::File(member(1, "x")),
            Extraction::File(member(0, "y")),
            built(&["a", "b"], "x", Form::Archive),
            built(&["a", "b"], "x", Form::Unpacked),
            built(&["a b"], "x", Form::Archive),
            built(&["a", "b"], "y", Form::Archive),
            pulled(Arch::Amd64, Form::Archive),
            pulled(Arch::Amd64, Form::Unpacked),
            pulled(Arch::Arm64, Form::Archive),
        ];
        let keys: std::collections::BTreeSet<Sha256> = all.iter().map(Extraction::key).collect();
        assert_eq!(keys.len(), all.len());
        assert!(all.iter().all(|extraction| !extraction.text().contains('\n')), "a plan has one line for each file");
        for extraction in &all {
            assert_eq!(Extraction::parse(&extraction.words()).as_ref(), Some(extraction));
            for odd in [
                format!("2 {}", extraction.text()),
                format!("{} x", extraction.words()),
                format!("{} ", extraction.words()),
                extraction.text(),
            ] {
                assert_eq!(Extraction::parse(&odd), None, "{odd}");
            }
        }
    }
}
