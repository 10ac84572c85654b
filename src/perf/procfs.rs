//! CPU time and memory of a process, from /proc.

use std::fs;

/// Clock ticks per second in /proc: fixed by Linux's interface to programs, whatever the kernel counts with.
const TICKS: f64 = 100.0;

/// A process on this machine.
#[derive(Clone, Debug)]
pub struct Process {
    stat: String,
    status: String,
}

/// Resident memory in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub now: u64,
    pub peak: u64,
}

impl Process {
    pub fn this() -> Self {
        Self::named("self")
    }

    pub fn of(pid: u32) -> Self {
        Self::named(&pid.to_string())
    }

    fn named(pid: &str) -> Self {
        Self { stat: format!("/proc/{pid}/stat"), status: format!("/proc/{pid}/status") }
    }

    /// Seconds of all threads, in the program and in the kernel for it.
    pub fn cpu(&self) -> Option<f64> {
        cpu_of(&fs::read_to_string(&self.stat).ok()?)
    }

    pub fn memory(&self) -> Option<Memory> {
        let status = fs::read_to_string(&self.status).ok()?;
        Some(Memory { now: field(&status, "VmRSS:")?, peak: field(&status, "VmHWM:")? })
    }
}

fn cpu_of(stat: &str) -> Option<f64> {
    // The name, in parentheses, may have spaces; utime and stime are the 12th and 13th field after it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<f64>().ok();
    Some((ticks()? + ticks()?) / TICKS)
}

/// A line of /proc/.../status in kB, as bytes.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_spaces_does_not_shift_the_fields() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 4194304 1 0 0 0 150 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_of(stat), Some(2.0));
    }

    #[test]
    fn memory_is_in_bytes() {
        assert_eq!(field("VmHWM:\t    12 kB\nVmRSS:\t  7 kB\n", "VmRSS:"), Some(7168));
    }
}
