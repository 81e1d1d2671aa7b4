//! `callboard export`: a store as JSON lines, to keep or to move elsewhere. A file appears under its name only once it is
//! whole and on the disk.

use super::args::ExportArgs;
use super::environment::Environment;
use super::exit::{Code, Exit, Outcome};
use super::output::note;
use super::store::with_store;
use callboard::store::{ExportQuery, Lines, Store};
use callboard::task::{At, Status, TaskId, Tenant};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Runs it.
pub fn export(args: &ExportArgs, environment: &Environment) -> Outcome {
    let query = query(args)?;
    with_store(&args.store, environment, true, |store| async move {
        let totals = match args.out.as_deref().filter(|out| *out != Path::new("-")) {
            Some(path) => to_file(store, query, path).await?,
            None => write(store, query, &mut std::io::stdout().lock(), Path::new("standard output")).await?,
        };
        note(&format!(
            "exported {} tasks, {} fields of shared context, {} budgets",
            totals.tasks, totals.context, totals.budgets
        ));
        Ok(())
    })
}

fn query(args: &ExportArgs) -> Result<ExportQuery, Exit> {
    let usage = |error: String| Exit::new(Code::Failure, error);
    let tenant = args.tenant.as_deref().map(Tenant::parse).transpose().map_err(|error| usage(error.to_string()))?;
    let ids = args.ids.iter().map(|id| TaskId::parse(id)).collect::<Result<_, _>>();
    let status = args.status.as_deref().map(str::parse::<Status>).transpose();
    Ok(ExportQuery {
        tenant,
        ids: ids.map_err(|error| usage(error.to_string()))?,
        status: status.map_err(|error| usage(error.to_string()))?,
        since: args.since.map(moment),
        until: args.until.map(moment),
    })
}

fn moment(at: std::time::SystemTime) -> At {
    let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    At(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

async fn to_file(store: Arc<dyn Store>, query: ExportQuery, path: &Path) -> Result<callboard::store::Totals, Exit> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".part");
    let beside = PathBuf::from(beside);
    let failed = |error: std::io::Error| cannot_write(&beside, &error);
    let mut file = BufWriter::new(File::create(&beside).map_err(failed)?);
    let totals = write(store, query, &mut file, &beside).await?;
    let file = file.into_inner().map_err(|error| cannot_write(&beside, error.error()))?;
    file.sync_all().map_err(failed)?;
    std::fs::rename(&beside, path).map_err(|error| cannot_write(path, &error))?;
    Ok(totals)
}

async fn write(
    store: Arc<dyn Store>,
    query: ExportQuery,
    out: &mut impl Write,
    name: &Path,
) -> Result<callboard::store::Totals, Exit> {
    let mut lines = Lines::new(store, query);
    while let Some(line) = lines.next().await.map_err(|error| Exit::new(Code::Unavailable, error.to_string()))? {
        out.write_all(line.as_bytes()).map_err(|error| cannot_write(name, &error))?;
    }
    out.flush().map_err(|error| cannot_write(name, &error))?;
    Ok(lines.totals())
}

fn cannot_write(path: &Path, error: &std::io::Error) -> Exit {
    Exit::new(Code::Failure, format!("{} cannot be written ({error}): the export is not whole", path.display()))
}
