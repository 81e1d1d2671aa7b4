//! Text as people write it: words and terms in English and CJK, sentences, Markdown. It knows nobody, so that searching
//! and quoting mean the same by a word.

pub(crate) mod document;
pub(crate) mod formats;
pub(crate) mod markup;
pub(crate) mod sentences;
pub(crate) mod terms;
mod variants;
