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

/// What a process has used so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Used {
    /// In user and system time of all its threads.
    pub cpu: Duration,
    /// Memory that it has now.
    pub rss_mb: f64,
    /// The most that it ever had.
    pub peak_rss_mb: f64,
}

/// What another process has used so far, as far as the system says it.
pub fn process_use(pid: u32) -> Used {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default();
    let status = read("status");
    let mb = |name: &str| status_mb(&status, name).unwrap_or_default();
    Used { cpu: cpu_of(&read("stat")), rss_mb: mb("VmRSS:"), peak_rss_mb: mb("VmHWM:") }
}

/// User and system time in `/proc/PID/stat`, fields 14 and 15 (proc(5)); the name before them may hold anything.
fn cpu_of(stat: &str) -> Duration {
    let behind_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 =
        behind_name.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second()).unwrap_or(100).max(1)
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
    fn a_process_is_measured_from_outside() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 1 0 100";
        assert_eq!(cpu_of(stat), Duration::from_secs(3));
        assert!(process_use(std::process::id()).rss_mb > 1.0);
        assert_eq!(process_use(0).peak_rss_mb, 0.0);
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
