//! Where the documents come from: a folder of Markdown and text files, or texts that are part of the program. It reads
//! them one by one, within bounds; what is done with them is the index's.

use std::fs::{self, FileType};
use std::io;
use std::path::{Path, PathBuf};

/// Endings of files that are read.
const ENDINGS: [&str; 5] = ["md", "markdown", "txt", "rst", "text"];
/// Larger files are data, not documents.
const MAX_FILE_BYTES: u64 = 8 << 20;
/// Most files that are read; the rest is left out with a warning.
const MAX_FILES: usize = 20_000;
/// Most bytes that are read in all, because the index lives in memory.
const MAX_TOTAL_BYTES: u64 = 256 << 20;

/// Documents that are part of the program: name and text.
pub type EmbeddedDocuments = &'static [(&'static str, &'static str)];

/// A source of documents.
#[derive(Debug, Clone)]
pub struct Corpus(Source);

#[derive(Debug, Clone)]
enum Source {
    Folder(PathBuf),
    Embedded(EmbeddedDocuments),
}

/// Why documents cannot be had from a folder.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorpusError {
    /// Not there.
    #[error("the documents' folder {0} does not exist: name one that does, or leave --docs out")]
    Missing(String),
    /// A file or something else.
    #[error("{0} is not a folder: --docs takes the folder that holds the documents")]
    NotAFolder(String),
    /// There, but closed to us.
    #[error("the documents' folder {folder} cannot be read ({why}): check its permissions")]
    Unreadable {
        /// The folder.
        folder: String,
        /// The system's words.
        why: String,
    },
    /// Nothing to search in.
    #[error("no documents in {0}: put .md, .markdown, .txt, .rst or .text files there, or name another folder")]
    Empty(String),
}

impl Corpus {
    /// The documents of a folder and the folders in it. Only looks whether there are any; they are read later.
    ///
    /// # Errors
    /// [`CorpusError`] when the folder cannot be read or holds no document.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, CorpusError> {
        let folder = folder.into();
        let name = folder.display().to_string();
        let unreadable = |error: io::Error| CorpusError::Unreadable { folder: name.clone(), why: error.to_string() };
        match fs::metadata(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(CorpusError::Missing(name)),
            Err(error) => return Err(unreadable(error)),
            Ok(metadata) if !metadata.is_dir() => return Err(CorpusError::NotAFolder(name)),
            Ok(_) => {}
        }
        if files(&folder, 1).map_err(unreadable)?.is_empty() {
            return Err(CorpusError::Empty(name));
        }
        Ok(Self(Source::Folder(folder)))
    }

    /// Documents that are part of the program.
    pub fn embedded(documents: EmbeddedDocuments) -> Self {
        Self(Source::Embedded(documents))
    }

    /// Hands out each document's name and text, in the order of names. Blocks. A single file that cannot be read is
    /// left out with a warning.
    pub(super) fn read(&self, mut each: impl FnMut(&str, &str)) -> Result<(), CorpusError> {
        let folder = match &self.0 {
            Source::Embedded(documents) => {
                documents.iter().for_each(|(name, text)| each(name, text));
                return Ok(());
            }
            Source::Folder(folder) => folder,
        };
        let unreadable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => CorpusError::Missing(folder.display().to_string()),
            _ => CorpusError::Unreadable { folder: folder.display().to_string(), why: error.to_string() },
        };
        let mut found = files(folder, MAX_FILES + 1).map_err(unreadable)?;
        if found.len() > MAX_FILES {
            found.truncate(MAX_FILES);
            tracing::warn!(folder = %folder.display(), limit = MAX_FILES, "too many documents, the rest is not searched");
        }
        let mut total = 0;
        for path in found {
            let Some(text) = read_file(&path) else { continue };
            total += text.len() as u64;
            if total > MAX_TOTAL_BYTES {
                let limit = MAX_TOTAL_BYTES;
                tracing::warn!(folder = %folder.display(), limit, "too many bytes of documents, the rest is not searched");
                break;
            }
            each(&relative(&path, folder), &text);
        }
        Ok(())
    }
}

/// The file's text; invalid UTF-8 becomes replacement characters.
fn read_file(path: &Path) -> Option<String> {
    match fs::read(path) {
        Ok(bytes) => Some(String::from_utf8_lossy(&bytes).into_owned()),
        Err(error) => {
            tracing::warn!(file = %path.display(), %error, "a document cannot be read and is not searched");
            None
        }
    }
}

fn relative(path: &Path, folder: &Path) -> String {
    let parts = path.strip_prefix(folder).unwrap_or(path).components();
    parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// The documents below a folder, at most that many, in the order of their paths. Links to files are followed, as
/// container platforms mount documents that way; links to folders are not, so no loop can hold us.
fn files(folder: &Path, most: usize) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![folder.to_owned()];
    while let Some(current) = open.pop() {
        let entries = match entries(&current) {
            Ok(entries) => entries,
            Err(error) if current == folder => return Err(error),
            Err(error) => {
                tracing::warn!(folder = %current.display(), %error, "a folder cannot be read and is not searched");
                continue;
            }
        };
        // The last one pushed is opened first, so folders go on in reverse.
        open.extend(entries.iter().rev().filter(|(_, kind)| kind.is_dir()).map(|(path, _)| path.clone()));
        found.extend(
            entries.into_iter().filter(|(path, kind)| !kind.is_dir() && is_document(path)).map(|(path, _)| path),
        );
        if found.len() >= most {
            break;
        }
    }
    found.truncate(most);
    found.sort();
    Ok(found)
}

/// What is in a folder and not hidden, by name.
fn entries(folder: &Path) -> io::Result<Vec<(PathBuf, FileType)>> {
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            entries.push((entry.path(), entry.file_type()?));
        }
    }
    entries.sort_by(|(one, _), (other, _)| one.cmp(other));
    Ok(entries)
}

fn is_document(path: &Path) -> bool {
    let ending = path.extension().and_then(|ending| ending.to_str()).unwrap_or_default();
    if !ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)) {
        return false;
    }
    // Follows a link, unlike the entry's own type.
    let Ok(metadata) = fs::metadata(path) else { return false };
    if metadata.is_file() && metadata.len() > MAX_FILE_BYTES {
        tracing::warn!(file = %path.display(), limit = MAX_FILE_BYTES, "a document is too large and is not searched");
    }
    metadata.is_file() && metadata.len() <= MAX_FILE_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(folder: &Path, name: &str, bytes: &[u8]) {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    fn names(corpus: &Corpus) -> Vec<String> {
        let mut names = Vec::new();
        corpus.read(|name, _| names.push(name.to_owned())).unwrap();
        names
    }

    #[test]
    fn only_documents_are_read_and_hidden_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.md", "a/c.TXT", "a/deep/d.rst", ".git/e.md", ".f.md", "g.rs", "h"] {
            write(folder.path(), name, b"text");
        }
        write(folder.path(), "large.txt", &vec![b'x'; MAX_FILE_BYTES as usize + 1]);
        let corpus = Corpus::open(folder.path()).unwrap();
        assert_eq!(names(&corpus), ["a/c.TXT", "a/deep/d.rst", "b.md"]);
    }

    #[test]
    fn invalid_utf8_is_read_as_far_as_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a.md", b"caf\xe9 latte");
        let mut texts = Vec::new();
        Corpus::open(folder.path()).unwrap().read(|_, text| texts.push(text.to_owned())).unwrap();
        assert_eq!(texts, ["caf\u{fffd} latte"]);
    }

    #[cfg(unix)]
    #[test]
    fn links_to_files_are_followed_and_loops_are_not() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "..data/real.md", b"text");
        std::os::unix::fs::symlink(folder.path().join("..data/real.md"), folder.path().join("linked.md")).unwrap();
        std::os::unix::fs::symlink(folder.path(), folder.path().join("loop")).unwrap();
        assert_eq!(names(&Corpus::open(folder.path()).unwrap()), ["linked.md"]);
    }

    #[test]
    fn what_cannot_be_searched_is_refused_with_a_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: PathBuf| Corpus::open(path).unwrap_err().to_string();
        assert!(refused(folder.path().join("none")).contains("none does not exist: name one that does"));
        assert!(refused(folder.path().to_owned()).starts_with("no documents in "));
        write(folder.path(), "a.md", b"text");
        assert!(refused(folder.path().join("a.md")).contains("is not a folder"));
        let corpus = Corpus::open(folder.path()).unwrap();
        drop(folder);
        assert!(matches!(corpus.read(|_, _| {}), Err(CorpusError::Missing(_))), "gone since it was opened");
    }
}
