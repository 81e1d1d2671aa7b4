//! Tests of `library`.

use super::super::search::{Extra, Search};
use super::*;
use std::fs;
use std::path::Path;

fn files(folder: &Path, question: &str) -> Vec<String> {
    found(&Library::new(Corpus::open(folder).unwrap()), question)
}

fn found(library: &Library, question: &str) -> Vec<String> {
    let search = Search { question: question.into(), extra: Extra::Loose(String::new()), most: 9 };
    let passages = library.refresh().unwrap().search(&search).unwrap();
    passages.into_iter().map(|passage| passage.file.to_string()).collect()
}

#[test]
fn what_is_added_changed_and_removed_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("a.md", "Leases run for five seconds.");
    write("b.md", "Masters are stateless.");
    let library = Library::new(Corpus::open(folder.path()).unwrap());
    assert!(library.current().is_none());
    assert_eq!(found(&library, "leases"), ["a.md"]);
    assert_eq!(library.account().changes, 1);

    write("c.md", "Leases are renewed by heartbeats.");
    write("b.md", "Leases know no master.");
    fs::remove_file(folder.path().join("a.md")).unwrap();
    let mut after = found(&library, "leases");
    after.sort();
    assert_eq!(after, ["b.md", "c.md"]);
    assert_eq!(found(&library, "stateless"), [] as [&str; 0]);
    let account = library.account();
    assert_eq!((account.documents, account.changes), (2, 2));
    assert_eq!(files(folder.path(), "leases").len(), 2, "and so it is found by who reads it all anew");
}

#[test]
fn where_nothing_changed_nothing_is_indexed() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.md"), "Leases run for five seconds.").unwrap();
    let library = Library::new(Corpus::open(folder.path()).unwrap());
    library.refresh().unwrap();
    let account = library.account();
    // The same words at another time.
    fs::write(folder.path().join("a.md"), "Leases run for five seconds.").unwrap();
    library.refresh().unwrap();
    assert_eq!(library.account(), account);
}

#[test]
fn what_cannot_be_read_is_accounted_for_and_stops_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.md"), "Leases run for five seconds.").unwrap();
    fs::write(folder.path().join("broken.pdf"), b"%PDF-1.7 and then nothing of the kind").unwrap();
    let library = Library::new(Corpus::open(folder.path()).unwrap());
    assert_eq!(found(&library, "leases"), ["a.md"]);
    let account = library.account();
    assert_eq!((account.documents, account.skipped.values().sum::<usize>()), (1, 1), "{account:?}");
    assert_eq!(account.skipped_files[0].0.as_ref(), "broken.pdf");
    fs::write(folder.path().join("broken.pdf"), b"").unwrap();
    fs::remove_file(folder.path().join("broken.pdf")).unwrap();
    library.refresh().unwrap();
    assert!(library.account().skipped.is_empty());
}

#[test]
fn a_look_that_fails_leaves_what_was_there() {
    let folder = tempfile::tempdir().unwrap();
    let docs = folder.path().join("docs");
    fs::create_dir(&docs).unwrap();
    fs::write(docs.join("a.md"), "Leases run for five seconds.").unwrap();
    let library = Library::new(Corpus::open(&docs).unwrap());
    library.refresh().unwrap();
    fs::rename(&docs, folder.path().join("away")).unwrap();
    assert!(library.refresh().is_err());
    assert_eq!(library.current().unwrap().documents(), 1);
}
