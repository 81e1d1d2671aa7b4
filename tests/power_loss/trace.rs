//! What a tracer of system calls wrote down, read back: every call on the files of one folder, with its data, in the order
//! in which the calls began and returned. A call that could change a file and is not understood here fails the test.

use std::collections::{BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

/// The calls that are traced: those that the disk's model knows, and those that must not occur on the store's files. A
/// question mark is for what only some machines have.
pub const TRACED: &str = "trace=?open,openat,?openat2,?creat,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,\
     fallocate,fsync,fdatasync,sync,syncfs,sync_file_range,msync,?unlink,unlinkat,?rename,renameat,renameat2,?link,\
     linkat,mmap,sendfile,splice,copy_file_range,io_uring_setup";

/// What was said aloud goes to this file, a line at a time.
pub const SAID: &str = "said";

/// A call on a file of the folder, by the file's name.
#[derive(Debug, Clone)]
pub enum Call {
    /// Opened, and made where it was not there.
    Make {
        name: String,
    },
    Write {
        name: String,
        at: u64,
        bytes: Vec<u8>,
    },
    /// Made this long, by cutting or by zeros.
    Resize {
        name: String,
        len: u64,
    },
    /// At least this long.
    Reserve {
        name: String,
        len: u64,
    },
    Sync {
        name: String,
    },
    SyncFolder,
    Unlink {
        name: String,
    },
    /// Somebody was told something.
    Say(String),
}

/// A call begins or has returned; one that failed never returns. The number is its place among all calls.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    Begun(usize),
    Done(usize),
}

#[derive(Default)]
pub struct Trace {
    pub calls: Vec<Call>,
    pub steps: Vec<Step>,
    /// Calls that did nothing.
    failed: BTreeSet<usize>,
}

/// Names of a database's files that no power loss is asked about: SQLite makes the index of the log anew, and the lock is
/// a lock.
pub fn is_kept(name: &str) -> bool {
    !name.ends_with("-shm") && !name.ends_with(".lock")
}

impl Trace {
    /// Reads the file of one process more; its calls come after those that are here.
    pub fn read(&mut self, file: &Path, folder: &Path) {
        let first = self.calls.len();
        let reader = Reader { folder: folder.to_str().unwrap().to_owned() };
        let mut under_way: HashMap<String, (Option<usize>, String)> = HashMap::new();
        for line in BufReader::new(File::open(file).unwrap()).lines() {
            let line = line.unwrap();
            let (thread, rest) = line.split_once(char::is_whitespace).unwrap();
            let rest = rest.trim_start();
            if rest.starts_with("+++") || rest.starts_with("---") {
                continue;
            }
            if let Some(resumed) = rest.strip_prefix("<... ") {
                let (begun, _) = under_way.remove(thread).expect("what goes on has begun");
                if let Some(number) = begun {
                    self.done(number, resumed);
                }
            } else if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
                let number = reader.call(begun).map(|call| self.begin(call));
                under_way.insert(thread.to_owned(), (number, begun.to_owned()));
            } else if let Some(call) = reader.call(rest) {
                let number = self.begin(call);
                self.done(number, rest);
            }
        }
        self.settle(first, folder);
    }

    /// Whether a call happened in which its process was killed is seen in the folder. Of a sync nothing is, so it did not.
    fn settle(&mut self, first: usize, folder: &Path) {
        let mut open: BTreeSet<_> = (first..self.calls.len()).filter(|number| !self.failed.contains(number)).collect();
        for step in &self.steps {
            if let Step::Done(number) = step {
                open.remove(number);
            }
        }
        for number in open {
            let there = |name: &str| std::fs::read(folder.join(name)).ok();
            let happened = match &self.calls[number] {
                Call::Make { name } => there(name).is_some(),
                Call::Unlink { name } => there(name).is_none(),
                Call::Resize { name, len } => there(name).is_some_and(|file| file.len() as u64 == *len),
                Call::Reserve { name, len } => there(name).is_some_and(|file| file.len() as u64 >= *len),
                Call::Write { name, at, bytes } => {
                    let at = usize::try_from(*at).unwrap();
                    there(name).is_some_and(|file| file.get(at..at + bytes.len()) == Some(bytes))
                }
                Call::Sync { .. } | Call::SyncFolder | Call::Say(_) => false,
            };
            if happened {
                self.steps.push(Step::Done(number));
            }
        }
    }

    fn begin(&mut self, call: Call) -> usize {
        self.calls.push(call);
        self.steps.push(Step::Begun(self.calls.len() - 1));
        self.calls.len() - 1
    }

    fn done(&mut self, number: usize, line: &str) {
        let (_, returned) = line.rsplit_once(" = ").expect("a call that returned says what");
        let returned = returned.split(['<', ' ']).next().unwrap();
        if returned == "-1" {
            self.failed.insert(number);
        }
        // A question mark stands for what never returned.
        let Ok(returned) = returned.parse::<u64>() else { return };
        if let Call::Write { bytes, .. } = &mut self.calls[number] {
            bytes.truncate(usize::try_from(returned).unwrap());
        }
        self.steps.push(Step::Done(number));
    }
}

struct Reader {
    folder: String,
}

impl Reader {
    /// The call of a line, when it is on one of the folder's files.
    fn call(&self, line: &str) -> Option<Call> {
        let (what, arguments) = line.split_once('(').unwrap_or_else(|| panic!("not a call: {line:.200}"));
        let name = match what {
            "openat" => self.file(&text(quoted(arguments)?)),
            "unlink" | "unlinkat" => self.file(&text(quoted(arguments)?)),
            "sync" | "syncfs" | "io_uring_setup" => panic!("the model of the disk does not know {what}"),
            _ => arguments.split(", ").find_map(|argument| self.file(&text(descriptor(argument)?))),
        }?;
        if !is_kept(&name) {
            return None;
        }
        let number = |nth: usize| -> u64 {
            let words: Vec<_> = arguments.split(')').next().unwrap().split(", ").collect();
            // Behind the last one stands `<unfinished ...>` where the process ended within the call.
            let digits = words.get(nth).and_then(|word| word.split(|c: char| !c.is_ascii_digit()).next());
            let tail = || &line[line.len().saturating_sub(200)..];
            digits.and_then(|digits| digits.parse().ok()).unwrap_or_else(|| panic!("no number {nth}: …{}", tail()))
        };
        match (what, name.as_str()) {
            ("openat", "") => None,
            ("openat", SAID) => None,
            ("openat", _) => {
                assert!(!arguments.contains("O_TRUNC"), "the model of the disk does not know this: {line}");
                arguments.contains("O_CREAT").then_some(Call::Make { name })
            }
            ("write", SAID) => Some(Call::Say(text(quoted(arguments)?).trim_end().to_owned())),
            ("pwrite64", _) => Some(Call::Write { at: number(3), bytes: bytes(quoted(arguments)?), name }),
            ("ftruncate", _) => Some(Call::Resize { len: number(1), name }),
            ("fallocate", _) => {
                assert_eq!(number(1), 0, "the model of the disk does not know this: {line}");
                Some(Call::Reserve { len: number(2) + number(3), name })
            }
            ("fsync" | "fdatasync", "") => Some(Call::SyncFolder),
            ("fsync" | "fdatasync", _) => Some(Call::Sync { name }),
            ("unlink", _) => Some(Call::Unlink { name }),
            // What is only read may be read in any way.
            ("mmap", _) if !arguments.contains("MAP_SHARED") || !arguments.contains("PROT_WRITE") => None,
            _ => panic!("the model of the disk does not know this: {line:.300}"),
        }
    }

    /// A path's name inside the folder; empty for the folder itself.
    fn file(&self, path: &str) -> Option<String> {
        let rest = path.strip_prefix(&self.folder)?;
        if rest.is_empty() { Some(String::new()) } else { rest.strip_prefix('/').map(str::to_owned) }
    }
}

/// The first string among the arguments, as it is written.
fn quoted(arguments: &str) -> Option<&str> {
    arguments.split('"').nth(1)
}

/// The path of a file descriptor, as it is written.
fn descriptor(argument: &str) -> Option<&str> {
    let (number, path) = argument.split_once('<')?;
    number.parse::<u32>().ok()?;
    path.split('>').next()
}

/// The tracer writes each byte as `\x` and two digits.
fn bytes(written: &str) -> Vec<u8> {
    let digit = |digit: u8| (digit as char).to_digit(16).unwrap() as u8;
    let (bytes, rest) = written.as_bytes().as_chunks::<4>();
    assert!(rest.is_empty(), "not in the tracer's form: {written:.200}");
    bytes
        .iter()
        .map(|byte| {
            assert_eq!(&byte[..2], br"\x");
            digit(byte[2]) << 4 | digit(byte[3])
        })
        .collect()
}

fn text(written: &str) -> String {
    String::from_utf8_lossy(&bytes(written)).into_owned()
}
