//! Files of every format that is read, as documents: the ending says whether a file is one, its content how it is read.
//! Everything here is bounded in size and time, and no file can make it panic.

mod encoding;
mod html;
mod pdf;
mod plain;
mod troff;

use super::document::Document;
use flate2::read::MultiGzDecoder;
use std::io::Read;

/// Most bytes of text in one document; a larger one is data.
pub(crate) const MAX_TEXT_BYTES: usize = 8 << 20;
/// Most bytes of a file; those with pictures (PDF) may hold more than text.
pub(crate) const MAX_FILE_BYTES: u64 = 32 << 20;

/// Endings of documents. Manual pages (`ls.1`) are known by their number, and each may end in `.gz` on top.
const ENDINGS: [&str; 13] =
    ["adoc", "asciidoc", "htm", "html", "markdown", "md", "mdown", "pdf", "rst", "text", "txt", "xht", "xhtml"];

/// Why a document was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unread {
    /// More bytes than are read of one file, packed or unpacked.
    TooLarge,
    /// No text at all, whatever its ending says.
    Binary,
    /// Its format is broken, or it is locked.
    Malformed,
    /// Reading it took too long.
    TooSlow,
    /// The system would not hand it out.
    Unreadable,
    /// It has no words: pictures only, a link to another page, or nothing.
    NoText,
    /// As many documents as are read were there before it.
    TooMany,
    /// As much text as is read was there before it.
    TooMuch,
}

impl Unread {
    /// Its name in accounts and logs.
    pub fn name(self) -> &'static str {
        match self {
            Self::TooLarge => "too_large",
            Self::Binary => "binary",
            Self::Malformed => "malformed",
            Self::TooSlow => "too_slow",
            Self::Unreadable => "unreadable",
            Self::NoText => "no_text",
            Self::TooMany => "too_many",
            Self::TooMuch => "too_much",
        }
    }
}

/// Whether a file's name is that of a document.
pub(crate) fn is_document(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let name = name.strip_suffix(".gz").unwrap_or(&name);
    let Some((stem, ending)) = name.rsplit_once('.') else { return false };
    !stem.is_empty() && (ENDINGS.binary_search(&ending).is_ok() || is_section(ending))
}

/// A section of the manual: `1`, `3pm`, `8`.
fn is_section(ending: &str) -> bool {
    let rest = ending.strip_prefix(|c: char| ('1'..='9').contains(&c));
    rest.is_some_and(|rest| rest.len() <= 4 && rest.bytes().all(|byte| byte.is_ascii_lowercase()))
}

/// Reads a file's bytes. Blocks, for as long as a PDF may take at most.
///
/// # Errors
/// [`Unread`] says why it cannot be searched.
pub(crate) fn read(name: &str, bytes: Vec<u8>) -> Result<Document, Unread> {
    let name = name.to_ascii_lowercase();
    let bytes = if bytes.starts_with(&[0x1f, 0x8b]) { unpacked(&bytes)? } else { bytes };
    let ending = name.strip_suffix(".gz").unwrap_or(&name).rsplit('.').next().unwrap_or_default();
    let document = if pdf::is_pdf(&bytes) {
        pdf::read(bytes)?
    } else if bytes.len() > MAX_TEXT_BYTES {
        return Err(Unread::TooLarge);
    } else if ending == "pdf" {
        return Err(Unread::Malformed);
    } else if ["htm", "html", "xht", "xhtml"].contains(&ending) {
        html::read(&encoding::decode(&bytes, html::declared_encoding(&bytes)).ok_or(Unread::Binary)?)
    } else {
        let text = encoding::decode(&bytes, None).ok_or(Unread::Binary)?;
        match ending {
            "md" | "markdown" | "mdown" => Document::as_written(text),
            "adoc" | "asciidoc" => plain::asciidoc(&text),
            _ if is_section(ending) && troff::is_manual_page(&text) => troff::read(&text),
            _ => plain::read(&text),
        }
    };
    let says_something = document.text.chars().any(char::is_alphanumeric);
    if says_something { Ok(document) } else { Err(Unread::NoText) }
}

fn unpacked(bytes: &[u8]) -> Result<Vec<u8>, Unread> {
    let mut out = Vec::new();
    let most = MAX_FILE_BYTES;
    let read = MultiGzDecoder::new(bytes).take(most + 1).read_to_end(&mut out);
    match read {
        Ok(length) if length as u64 > most => Err(Unread::TooLarge),
        Ok(_) => Ok(out),
        Err(_) => Err(Unread::Malformed),
    }
}

#[cfg(test)]
mod tests;
