//! Where the documents come from: a folder of files, or texts that are part of the program. It says which there are, by
//! name and stamp, and reads one when it is asked; what is done with them is the index's.

use crate::text::document::Document;
use crate::text::formats::{self, MAX_FILE_BYTES, Unread};
use std::fs::{self, FileType, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Most files that are read; the rest is left out with a warning.
const MAX_FILES: usize = 20_000;
/// Most files and folders that are looked at, so that a folder of a million other things does not hold us.
const MAX_ENTRIES: usize = 500_000;
/// How deep folders may lie in one another.
const MAX_DEPTH: usize = 64;
/// A file that was changed so short a time ago may be changed again without a change of its stamp.
const UNSETTLED: Duration = Duration::from_secs(2);

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
    #[error(
        "no documents in {0}: put Markdown, text, HTML or PDF files there (docs/documents.md has the endings), or name \
         another folder"
    )]
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
        if found(&folder, 1).map_err(unreadable)?.is_empty() {
            return Err(CorpusError::Empty(name));
        }
        Ok(Self(Source::Folder(folder)))
    }

    /// Documents that are part of the program.
    pub fn embedded(documents: EmbeddedDocuments) -> Self {
        Self(Source::Embedded(documents))
    }

    /// Whether the documents can change while the program runs.
    pub(super) fn can_change(&self) -> bool {
        matches!(self.0, Source::Folder(_))
    }

    /// The documents that there are now, by name. Blocks.
    pub(super) fn list(&self) -> Result<Vec<Listed>, CorpusError> {
        let folder = match &self.0 {
            Source::Embedded(documents) => {
                let listed = |(at, (name, _)): (usize, &(&str, &str))| Listed {
                    name: (*name).into(),
                    place: Place::Embedded(at),
                    stamp: Stamp::default(),
                };
                return Ok(documents.iter().enumerate().map(listed).collect());
            }
            Source::Folder(folder) => folder,
        };
        let unreadable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => CorpusError::Missing(folder.display().to_string()),
            _ => CorpusError::Unreadable { folder: folder.display().to_string(), why: error.to_string() },
        };
        let listed = |(path, metadata): (PathBuf, Metadata)| Listed {
            name: relative(&path, folder).into(),
            stamp: Stamp::of(&metadata),
            place: Place::File(path),
        };
        Ok(found(folder, MAX_ENTRIES).map_err(unreadable)?.into_iter().map(listed).collect())
    }

    /// Reads a listed document. Blocks.
    pub(super) fn read(&self, listed: &Listed) -> Result<Document, Unread> {
        match (&listed.place, &self.0) {
            (Place::Embedded(at), Source::Embedded(documents)) => Ok(Document::as_written(documents[*at].1.to_owned())),
            (Place::File(path), _) => {
                if listed.stamp.bytes > MAX_FILE_BYTES {
                    return Err(Unread::TooLarge);
                }
                let bytes = read_file(path).map_err(|error| {
                    tracing::debug!(file = %path.display(), %error, "a document cannot be read");
                    Unread::Unreadable
                })?;
                if bytes.len() as u64 > MAX_FILE_BYTES {
                    return Err(Unread::TooLarge);
                }
                formats::read(&listed.name, bytes)
            }
            (Place::Embedded(_), Source::Folder(_)) => Err(Unread::Unreadable),
        }
    }

    /// How many documents are read at most.
    pub(super) const fn most() -> usize {
        MAX_FILES
    }
}

/// A document that is there.
#[derive(Debug, Clone)]
pub(super) struct Listed {
    /// Its name below the folder, with `/` between the parts.
    pub(super) name: Arc<str>,
    /// What changes when it does.
    pub(super) stamp: Stamp,
    place: Place,
}

#[derive(Debug, Clone)]
enum Place {
    File(PathBuf),
    Embedded(usize),
}

/// What a file system says of a file without reading it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Stamp {
    /// The file's size.
    pub(super) bytes: u64,
    modified: Option<SystemTime>,
    /// When name, owner or content were last changed, and which file it is: what a copy that keeps times cannot hide.
    changed: (i64, i64, u64),
}

impl Stamp {
    #[cfg(unix)]
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let changed = (metadata.ctime(), metadata.ctime_nsec(), metadata.ino());
        Self { bytes: metadata.len(), modified: metadata.modified().ok(), changed }
    }

    #[cfg(not(unix))]
    fn of(metadata: &Metadata) -> Self {
        Self { bytes: metadata.len(), modified: metadata.modified().ok(), changed: (0, 0, 0) }
    }

    /// Whether the file was changed so shortly before a moment that a further change may leave the same stamp.
    pub(super) fn is_unsettled(&self, at: SystemTime) -> bool {
        self.modified.is_some_and(|modified| modified + UNSETTLED > at)
    }
}

/// A file's bytes, as far as they are read of one file and one more.
fn read_file(path: &Path) -> io::Result<Vec<u8>> {
    use io::Read as _;
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn relative(path: &Path, folder: &Path) -> String {
    let parts = path.strip_prefix(folder).unwrap_or(path).components();
    parts.map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

/// The documents below a folder in the order of their paths, until so many things have been looked at. Links to files
/// are followed, as container platforms mount documents that way; links to folders are not, so no loop can hold us.
fn found(folder: &Path, most: usize) -> io::Result<Vec<(PathBuf, Metadata)>> {
    let (mut found, mut looked_at) = (Vec::new(), 0);
    let mut open = vec![(folder.to_owned(), 0)];
    while let Some((current, depth)) = open.pop() {
        let entries = match entries(&current) {
            Ok(entries) => entries,
            Err(error) if current == folder => return Err(error),
            Err(error) => {
                tracing::debug!(folder = %current.display(), %error, "a folder cannot be read and is not searched");
                continue;
            }
        };
        looked_at += entries.len();
        // The last one pushed is opened first, so folders go on in reverse.
        let folders = entries.iter().rev().filter(|(_, kind)| kind.is_dir() && depth < MAX_DEPTH);
        open.extend(folders.map(|(path, _)| (path.clone(), depth + 1)));
        let documents = entries.into_iter().filter(|(_, kind)| !kind.is_dir());
        found.extend(documents.filter_map(|(path, _)| Some((document(&path)?, path)).map(|(data, path)| (path, data))));
        if found.len() >= most || looked_at >= MAX_ENTRIES {
            break;
        }
    }
    found.truncate(most);
    found.sort_by(|(one, _), (other, _)| one.cmp(other));
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

/// What is known of a file that is a document by its name: no pipe or device is opened. Follows a link.
fn document(path: &Path) -> Option<Metadata> {
    let name = path.file_name()?.to_str()?;
    let metadata = formats::is_document(name).then(|| fs::metadata(path).ok())??;
    metadata.is_file().then_some(metadata)
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
        corpus.list().unwrap().into_iter().map(|listed| listed.name.to_string()).collect()
    }

    #[test]
    fn only_documents_are_read_and_hidden_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["b.md", "a/c.TXT", "a/deep/d.rst", ".git/e.md", ".f.md", "g.rs", "h"] {
            write(folder.path(), name, b"text");
        }
        let corpus = Corpus::open(folder.path()).unwrap();
        assert_eq!(names(&corpus), ["a/c.TXT", "a/deep/d.rst", "b.md"]);
    }

    #[test]
    fn a_file_that_cannot_be_a_document_is_not_read_into_memory() {
        let folder = tempfile::tempdir().unwrap();
        let large = fs::File::create(folder.path().join("large.md")).unwrap();
        large.set_len(50 << 20).unwrap();
        write(folder.path(), "gone.md", b"text");
        let corpus = Corpus::open(folder.path()).unwrap();
        let listed = corpus.list().unwrap();
        fs::remove_file(folder.path().join("gone.md")).unwrap();
        let outcomes: Vec<_> = listed.iter().map(|listed| corpus.read(listed)).collect();
        assert_eq!(outcomes, [Err(Unread::Unreadable), Err(Unread::TooLarge)]);
    }

    #[test]
    fn a_stamp_changes_with_the_file_even_when_its_time_and_size_do_not() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "a.md", b"one");
        let corpus = Corpus::open(folder.path()).unwrap();
        let stamp = || corpus.list().unwrap()[0].stamp;
        let before = stamp();
        assert_eq!(stamp(), before);
        write(folder.path(), "b.tmp", b"two");
        let modified = fs::metadata(folder.path().join("a.md")).unwrap().modified().unwrap();
        fs::File::open(folder.path().join("b.tmp")).unwrap().set_modified(modified).unwrap();
        fs::rename(folder.path().join("b.tmp"), folder.path().join("a.md")).unwrap();
        assert_ne!(stamp(), before);
        assert!(before.is_unsettled(modified) && !before.is_unsettled(modified + UNSETTLED));
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
        assert!(matches!(corpus.list().map(|_| ()), Err(CorpusError::Missing(_))), "gone since it was opened");
    }
}
