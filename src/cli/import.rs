//! `callboard import FILE`: takes the JSON lines of an export into a store. What the store has already is left alone, so it
//! can be run again after it was broken off.

use super::args::ImportArgs;
use super::environment::Environment;
use super::exit::{Code, Exit, Outcome};
use super::output::{note, print};
use super::store::with_store;
use callboard::store::{ImportReport, Importer, Store};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::sync::Arc;

/// The longest line that is taken, in bytes: a task with all its payloads.
const LONGEST_LINE: u64 = 1 << 30;

/// Runs it.
pub fn import(args: &ImportArgs, environment: &Environment) -> Outcome {
    let source: Box<dyn Read> = if args.file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(File::open(&args.file).map_err(|error| cannot_read(&args.file, &error))?)
    };
    let mut lines = BufReader::new(source);
    let report = with_store(&args.store, environment, false, |store| take(store, &mut lines, args))?;
    tell(&report, args.dry_run)
}

async fn take(store: Arc<dyn Store>, lines: &mut impl BufRead, args: &ImportArgs) -> Result<ImportReport, Exit> {
    let failed = |error: callboard::store::ImportError| Exit::new(Code::Failure, error.to_string());
    let mut importer = Importer::new(store, args.dry_run);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = lines.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line);
        match read.map_err(|error| cannot_read(&args.file, &error))? {
            0 => return importer.finish().await.map_err(failed),
            _ => importer.take(&line).await.map_err(failed)?,
        }
    }
}

fn tell(report: &ImportReport, dry_run: bool) -> Outcome {
    let verb = if dry_run { "would be imported" } else { "imported" };
    print(&format!("{} {verb}, {} there already, {} refused", report.written, report.already_there, report.refused))?;
    for refused in &report.refusals {
        note(&format!("line {}: {}: {}", refused.line, refused.what, refused.why));
    }
    if !report.complete {
        let message = "the file ends before its last line: it was cut off, or written by an export that failed";
        return Err(Exit::new(Code::Failure, message));
    }
    if report.refused > 0 {
        return Err(Exit::new(Code::Failure, "some records were refused; the others are as said above"));
    }
    Ok(())
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Exit {
    Exit::new(Code::Failure, format!("{} cannot be read ({error}): check the path", path.display()))
}
