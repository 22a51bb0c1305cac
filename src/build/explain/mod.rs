//! Explanations of an image: its bill of materials, the origin of each path, the reasons for a rebuild.

pub mod contents;
pub mod origin;
pub mod provenance;
pub mod sbom;
pub mod why;
