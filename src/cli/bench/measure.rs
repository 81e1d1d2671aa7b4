//! Reading the gauges: processor time, memory, the disk, and quantiles of what was timed. It runs nothing.

use super::super::exit::{Code, Exit};
use rustix::time::{ClockId, clock_gettime};
use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// How long the disk is measured.
const DISK_TIME: Duration = Duration::from_millis(300);

/// What this process has used so far, in user and system time of all its threads.
pub fn cpu_time() -> Duration {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    // Neither is ever negative for this clock.
    Duration::new(u64::try_from(used.tv_sec).unwrap_or(0), u32::try_from(used.tv_nsec).unwrap_or(0))
}

/// The most memory that this process ever had, where the system says it.
pub fn peak_rss_mb() -> Option<f64> {
    status_mb(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// The memory that this process has now, where the system says it.
pub fn rss_mb() -> Option<f64> {
    status_mb(&std::fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

fn status_mb(status: &str, name: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(rounded(kib / 1024.0))
}

/// How many times a second one writer can append 256 bytes and have them on the disk.
pub fn fsync_rate(folder: &Path) -> Result<f64, Exit> {
    let path = folder.join(format!(".bench-{}", uuid::Uuid::now_v7().simple()));
    let measured = append_and_sync(&path);
    // Whatever happened, it was only for this.
    let _ = std::fs::remove_file(&path);
    measured.map_err(|error| {
        let message = format!("the disk of {} cannot be measured: {error}; choose another --store", folder.display());
        Exit::new(Code::Unavailable, message)
    })
}

fn append_and_sync(path: &Path) -> std::io::Result<f64> {
    let mut file = OpenOptions::new().create_new(true).append(true).open(path)?;
    let began = Instant::now();
    let mut syncs = 0.0;
    while began.elapsed() < DISK_TIME {
        file.write_all(&[7; 256])?;
        file.sync_data()?;
        syncs += 1.0;
    }
    Ok(rounded(syncs / began.elapsed().as_secs_f64()))
}

/// The value that this share of the sorted values does not exceed, in milliseconds; 0 of none.
pub fn quantile_ms(sorted: &[Duration], share: f64) -> f64 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    let value = sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default();
    rounded(value.as_secs_f64() * 1e3)
}

/// To three digits behind the point: more would be noise.
pub fn rounded(value: f64) -> f64 {
    (value * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_values_that_were_there() {
        let sorted: Vec<_> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!([0.5, 0.99, 1.0].map(|share| quantile_ms(&sorted, share)), [100.0, 198.0, 200.0]);
        assert_eq!([0.5, 0.99, 1.0].map(|share| quantile_ms(&sorted[..1], share)), [1.0; 3]);
        assert_eq!(quantile_ms(&[], 0.5), 0.0);
    }

    #[test]
    fn the_high_water_mark_is_found() {
        assert_eq!(status_mb("VmPeak:\t 1 kB\nVmHWM:\t    2048 kB\n", "VmHWM:"), Some(2.0));
        assert_eq!(status_mb("VmPeak:\t 1 kB\n", "VmHWM:"), None);
    }

    #[test]
    fn the_disk_has_a_rate_and_nothing_stays_behind() {
        let folder = tempfile::tempdir().unwrap();
        assert!(fsync_rate(folder.path()).unwrap() > 0.0);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(fsync_rate(&folder.path().join("none")).unwrap_err().code as u8, 69);
    }

    #[test]
    fn work_takes_time() {
        let before = cpu_time();
        while cpu_time() == before {
            std::hint::black_box(0);
        }
    }
}
