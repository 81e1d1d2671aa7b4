//! The project's own documentation, inside the program: what is searched when no folder is given, so that a first
//! question needs nothing but the binary.

use super::corpus::EmbeddedDocuments;

/// Name and text of each document.
pub const OWN_DOCUMENTS: EmbeddedDocuments = &[
    ("README.md", include_str!("../../README.md")),
    ("ARCHITECTURE.md", include_str!("../../ARCHITECTURE.md")),
    ("docs/semantics.md", include_str!("../../docs/semantics.md")),
    ("docs/concepts.md", include_str!("../../docs/concepts.md")),
    ("docs/teams.md", include_str!("../../docs/teams.md")),
    ("docs/configuration.md", include_str!("../../docs/configuration.md")),
    ("docs/operations.md", include_str!("../../docs/operations.md")),
    ("docs/troubleshooting.md", include_str!("../../docs/troubleshooting.md")),
];
