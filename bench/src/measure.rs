//! What is measured and how it is summed up: times, CPU time and memory of processes, medians over repetitions.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Ticks a second of CPU times under /proc; the same on every Linux a person meets.
const USER_HZ: f64 = 100.0;

/// One figure per repetition, in the order of the repetitions.
#[derive(Debug, Clone, Default)]
pub struct Runs(pub Vec<f64>);

impl Runs {
    /// A figure that is the same in every repetition.
    pub fn once(value: f64) -> Self {
        Self(vec![value])
    }

    /// Adds the figure of one more repetition.
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle one; NaN of none.
    pub fn median(&self) -> f64 {
        percentile(&self.0, 50.0)
    }

    /// The smallest and the largest.
    pub fn spread(&self) -> (f64, f64) {
        self.0.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(*value), high.max(*value)))
    }

    /// Each repetition over its own neighbour, which ran in the same minute; over the median where there are fewer of
    /// those.
    pub fn over(&self, beside: &Self) -> Self {
        let other = |at| if beside.0.len() == self.0.len() { beside.0[at] } else { beside.median() };
        Self(self.0.iter().enumerate().map(|(at, value)| value / other(at)).collect())
    }
}

/// Times of single operations of one repetition, in seconds.
#[derive(Debug, Clone, Default)]
pub struct Times(Vec<f64>);

impl Times {
    /// Adds one operation.
    pub fn push(&mut self, took: Duration) {
        self.0.push(took.as_secs_f64());
    }

    /// Runs `work` and adds what it took.
    pub fn time<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let started = Instant::now();
        let done = work();
        self.push(started.elapsed());
        done
    }

    /// The time below which `percent` of the operations stayed.
    pub fn percentile(&self, percent: f64) -> f64 {
        percentile(&self.0, percent)
    }
}

fn percentile(values: &[f64], percent: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = (percent / 100.0 * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(f64::NAN)
}

/// A process that is watched from outside.
#[derive(Debug, Clone, Copy)]
pub struct Process(u32);

impl Process {
    /// The process with this id.
    pub fn with_pid(pid: u32) -> Self {
        Self(pid)
    }

    /// This very process.
    pub fn own() -> Self {
        Self(std::process::id())
    }

    /// CPU seconds it has used, of its own.
    pub fn cpu(self) -> Result<f64> {
        Ok((self.ticks(UTIME)? + self.ticks(STIME)?) / USER_HZ)
    }

    /// CPU seconds that it and its children have used, also those that ended: all of PostgreSQL.
    pub fn cpu_with_children(self) -> Result<f64> {
        let ended = (self.ticks(CHILDREN_UTIME)? + self.ticks(CHILDREN_STIME)?) / USER_HZ;
        let living: f64 = self.children().iter().filter_map(|child| child.cpu().ok()).sum();
        Ok(self.cpu()? + ended + living)
    }

    /// Bytes of memory it has now.
    pub fn memory(self) -> Result<f64> {
        self.status("VmRSS:")
    }

    /// The most bytes of memory it had at once since it began or since [`Self::forget_peak`].
    pub fn peak_memory(self) -> Result<f64> {
        self.status("VmHWM:")
    }

    /// The peak of all children added up: an upper bound, because they share pages.
    pub fn peak_memory_with_children(self) -> Result<f64> {
        let children: f64 = self.children().iter().filter_map(|child| child.peak_memory().ok()).sum();
        Ok(self.peak_memory()? + children)
    }

    /// Begins the peak anew, from what it has now.
    pub fn forget_peak(self) -> Result<()> {
        Ok(fs::write(format!("/proc/{}/clear_refs", self.0), "5")?)
    }

    fn ticks(self, field: usize) -> Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0)).context("the process has ended")?;
        // The name, which may hold spaces, stands in parentheses; what follows is counted from field 3 on.
        let after_name = stat.rsplit_once(')').context("a line of /proc without a name")?.1;
        let ticks = after_name.split_whitespace().nth(field - 3).context("a short line of /proc")?;
        Ok(ticks.parse()?)
    }

    fn status(self, key: &str) -> Result<f64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0)).context("the process has ended")?;
        let kib = status.lines().find_map(|line| line.strip_prefix(key)?.split_whitespace().next());
        Ok(kib.context("/proc does not say how much memory")?.parse::<f64>()? * 1024.0)
    }

    fn children(self) -> Vec<Self> {
        let list = fs::read_to_string(format!("/proc/{0}/task/{0}/children", self.0)).unwrap_or_default();
        list.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Self).collect()
    }
}

/// Fields of /proc/PID/stat by the numbers of its manual page.
const UTIME: usize = 14;
const STIME: usize = 15;
const CHILDREN_UTIME: usize = 16;
const CHILDREN_STIME: usize = 17;

/// Peak memory of the processes of a measurement.
#[derive(Debug, Clone, Default)]
pub struct Peaks(pub Vec<(&'static str, f64)>);

impl Peaks {
    /// Notes a process; the highest of all repetitions stays.
    pub fn note(&mut self, name: &'static str, bytes: f64) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, most)) => *most = most.max(bytes),
            None => self.0.push((name, bytes)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_measured_value() {
        let values: Vec<_> = (1..=100).map(f64::from).collect();
        assert_eq!((percentile(&values, 50.0), percentile(&values, 99.0)), (50.0, 99.0));
        assert_eq!(percentile(&[7.0], 99.0), 7.0);
    }

    #[test]
    fn a_ratio_pairs_repetitions() {
        let ratio = Runs(vec![2.0, 6.0]).over(&Runs(vec![1.0, 2.0]));
        assert_eq!(ratio.0, [2.0, 3.0]);
    }

    #[test]
    fn this_process_uses_time_and_memory() {
        let own = Process::own();
        assert!(own.cpu().expect("/proc is there") >= 0.0);
        assert!(own.memory().expect("/proc is there") > 0.0);
        assert!(own.peak_memory().expect("/proc is there") >= own.memory().expect("/proc is there"));
    }
}
