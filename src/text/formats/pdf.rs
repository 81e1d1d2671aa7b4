//! The text of a PDF, page by page. The format is a program in disguise: a broken file can make its reader panic or run
//! for ever, so each is read on a thread of its own that is given a time, and a few that never ended end all reading.

use super::super::document::{Document, Writer, running};
use super::plain::{is_contents, numbered_title};
use super::{MAX_TEXT_BYTES, Unread};
use pdf_extract::{Document as Pdf, PlainTextOutput, output_doc_page};
use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// Most pages that are read of one file.
const MAX_PAGES: usize = 5000;
/// How long one file may take. A book of 250 pages takes a second.
const PATIENCE: Duration = Duration::from_secs(60);
/// Deep page trees are walked by recursion.
const STACK_BYTES: usize = 16 << 20;
/// Threads that may be stuck in a file before no further PDF is read.
const MAX_STUCK: usize = 2;
/// A line on so many pages, numbers aside, is a running title.
const MIN_REPEATS: usize = 3;

static STUCK: AtomicUsize = AtomicUsize::new(0);

/// Whether bytes are a PDF, whose mark may follow other bytes.
pub(super) fn is_pdf(bytes: &[u8]) -> bool {
    bytes[..bytes.len().min(1024)].windows(5).any(|window| window == b"%PDF-")
}

/// A PDF.
pub(super) fn read(bytes: Vec<u8>) -> Result<Document, Unread> {
    let pages = guarded(PATIENCE, move || pages(&bytes))??;
    Ok(document(&pages))
}

/// Does work that may panic or never end.
fn guarded<T: Send + 'static>(patience: Duration, work: impl FnOnce() -> T + Send + 'static) -> Result<T, Unread> {
    if STUCK.load(Ordering::Relaxed) >= MAX_STUCK {
        return Err(Unread::TooSlow);
    }
    // Without a buffer: a result is either received or known to have come too late.
    let (done, waiting) = mpsc::sync_channel(0);
    let work = move || {
        let result = catch_unwind(AssertUnwindSafe(work));
        if done.send(result).is_err() {
            STUCK.fetch_sub(1, Ordering::Relaxed);
        }
    };
    let started = thread::Builder::new().name("pdf".into()).stack_size(STACK_BYTES).spawn(work);
    started.map_err(|_| Unread::Unreadable)?;
    match waiting.recv_timeout(patience) {
        Ok(Ok(result)) => Ok(result),
        Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => Err(Unread::Malformed),
        Err(RecvTimeoutError::Timeout) => {
            STUCK.fetch_add(1, Ordering::Relaxed);
            Err(Unread::TooSlow)
        }
    }
}

/// The text of each page; one that cannot be read is empty.
fn pages(bytes: &[u8]) -> Result<Vec<String>, Unread> {
    let mut pdf = Pdf::load_mem(bytes).map_err(|_| Unread::Malformed)?;
    // Many are locked against changes only, with an empty password.
    if pdf.is_encrypted() && pdf.decrypt("").is_err() {
        return Err(Unread::Malformed);
    }
    let until = Instant::now() + PATIENCE;
    let mut pages = Vec::new();
    let mut bytes = 0;
    for number in pdf.get_pages().keys().take(MAX_PAGES) {
        let mut page = Bounded { text: Vec::new(), room: MAX_TEXT_BYTES - bytes, until };
        let read = output_doc_page(&pdf, &mut PlainTextOutput::new(&mut page as &mut dyn io::Write), *number);
        if Instant::now() > until {
            return Err(Unread::TooSlow);
        }
        if page.room == 0 {
            return Err(Unread::TooLarge);
        }
        if let Err(error) = read {
            tracing::debug!(page = number, %error, "a page of a PDF cannot be read");
        }
        bytes += page.text.len();
        pages.push(String::from_utf8_lossy(&page.text).into_owned());
    }
    Ok(pages)
}

/// A page's text as far as there is room and time for it.
struct Bounded {
    text: Vec<u8>,
    room: usize,
    until: Instant,
}

impl io::Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.len() > self.room || Instant::now() > self.until {
            self.room = 0;
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.room -= bytes.len();
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Pages as one document, whose places are the pages' numbers.
fn document(pages: &[String]) -> Document {
    let running_titles = running_titles(pages);
    let mut out = Writer::default();
    for (number, page) in (1..).zip(pages) {
        let lines: Vec<&str> = page.lines().collect();
        let blank = |at: Option<usize>| at.and_then(|at| lines.get(at)).is_none_or(|line| line.trim().is_empty());
        for (at, line) in lines.iter().enumerate() {
            let is_alone = blank(at.checked_sub(1)) && blank(Some(at + 1));
            if line.trim().is_empty() {
                out.gap();
            } else if is_contents(line) || is_edge(&lines, at) && running_titles.contains(&unnumbered(line)) {
            } else if let Some((level, title)) = numbered_title(line).filter(|_| is_alone) {
                out.heading(number, level, title);
            } else {
                out.line(number, &text_line(line));
            }
        }
        out.gap();
    }
    out.document()
}

/// Items keep their marks; whatever else looks like one is text.
fn text_line(line: &str) -> String {
    let line = line.trim();
    let item = ['•', '‣', '◦', '▪', '–'].iter().find_map(|mark| line.strip_prefix(*mark));
    match item {
        Some(item) => format!("- {}", item.trim_start()),
        None => running(line),
    }
}

/// The first and last lines of many pages, which say where one is and nothing else.
fn running_titles(pages: &[String]) -> std::collections::HashSet<String> {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for page in pages {
        let lines: Vec<&str> = page.lines().collect();
        for line in (0..lines.len()).filter(|at| is_edge(&lines, *at)).map(|at| unnumbered(lines[at])) {
            *seen.entry(line).or_default() += 1;
        }
    }
    let needed = MIN_REPEATS.max(pages.len() / 10);
    seen.into_iter().filter(|(line, times)| *times >= needed && !line.is_empty()).map(|(line, _)| line).collect()
}

/// Whether a line is the first or last of its page that is not blank.
fn is_edge(lines: &[&str], at: usize) -> bool {
    let blank = |line: &&str| line.trim().is_empty();
    !blank(&lines[at]) && (lines[..at].iter().all(blank) || lines[at + 1..].iter().all(blank))
}

fn unnumbered(line: &str) -> String {
    line.chars().filter(|c| c.is_alphabetic()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_titles_and_contents_go_and_numbered_titles_are_headings() {
        let page = |number: usize, body: &str| format!("\nGuide {number} / 9\n\n{body}\n");
        let pages: Vec<String> =
            ["1.2 Pipes . . . . 13", "1.2.8 命名管道\n\n命名管道是一個檔案。\n• 項目", "Guide\n\nEnd", "# text"]
                .iter()
                .enumerate()
                .map(|(at, body)| page(at + 1, body))
                .collect();
        let document = document(&pages);
        assert_eq!(document.text, "### 1.2.8 命名管道\n\n命名管道是一個檔案。\n- 項目\n\nGuide\n\nEnd\n\n\\# text\n\n");
        assert_eq!(document.place(3), 2);
    }

    #[test]
    fn what_panics_or_never_ends_is_contained() {
        assert_eq!(guarded(PATIENCE, || 7), Ok(7));
        assert_eq!(guarded(PATIENCE, || -> u8 { panic!("a broken file") }), Err(Unread::Malformed));
        let (release, held) = mpsc::channel::<()>();
        assert_eq!(guarded(Duration::from_millis(1), move || held.recv().is_ok()), Err(Unread::TooSlow));
        assert_eq!(STUCK.load(Ordering::Relaxed), 1);
        drop(release);
        let until = Instant::now() + PATIENCE;
        while STUCK.load(Ordering::Relaxed) > 0 {
            assert!(Instant::now() < until, "a thread that ended after all counts as stuck");
            thread::yield_now();
        }
    }
}
