//! Explanations of an image: its bill of materials, the origin of each path, the reasons for a rebuild.

pub(crate) mod advisories;
pub(crate) mod contents;
pub(crate) mod origin;
pub(crate) mod provenance;
pub(crate) mod sbom;
pub(crate) mod why;
