//! Whether a new plank is well: what it does against what the old one did just before. `docs/upgrade.md`, "Health".

use std::fs;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use shared::bridge::KernelFigures;
use shared::id::Epoch;
use shared::spread::quantile_us;

/// Fewer requests, or probes, than that say nothing of how long they take.
const FEW_REQUESTS: u64 = 50;
const FEW_PROBES: u64 = 5;
/// Fewer failures than that may be anybody's.
const FEW_FAILURES: u64 = 10;
/// Differences that nobody minds, whatever the ratio.
const LITTLE_US: u64 = 2_000;
const MUCH_US: u64 = 20_000;
const LITTLE_PROBE_US: u64 = 20_000;
const MUCH_PROBE_US: u64 = 100_000;
const LITTLE_MIB: u64 = 128;
const MUCH_MIB: u64 = 512;

/// How much worse than the old plank the new one may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// Failed requests of a thousand, more than before.
    pub errors_permille: u64,
    /// Of the old one's times.
    pub latency_percent: u64,
    /// Of the old one's memory.
    pub memory_percent: u64,
}

/// Beyond the first it is degraded, beyond the second unhealthy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub degraded: Bound,
    pub unhealthy: Bound,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            degraded: Bound {
                errors_permille: 5,
                latency_percent: 200,
                memory_percent: 200,
            },
            unhealthy: Bound {
                errors_permille: 50,
                latency_percent: 800,
                memory_percent: 400,
            },
        }
    }
}

/// One answer of a kernel to a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// What it says; figures without counts from a kernel that knows none.
    pub figures: KernelFigures,
    pub has_counts: bool,
    /// When the question was put, and what the steward waited for it.
    pub asked: Instant,
    pub took: Duration,
}

/// What is seen of one plank over a while.
#[derive(Clone, Debug, Default)]
pub struct Watch {
    first: Option<KernelFigures>,
    last: Option<KernelFigures>,
    probes_us: Vec<u64>,
    resident_mib: u64,
}

/// What that comes to, as the result tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    pub requests: u64,
    pub failed: u64,
    pub p50_us: Option<u64>,
    pub p99_us: Option<u64>,
    /// Of the steward's own questions.
    pub probes: u64,
    pub probe_p50_us: Option<u64>,
    /// The largest that was seen.
    pub resident_mib: u64,
}

/// The judgement that a result carries.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub outcome: Outcome,
    /// What is worse than before; empty where nothing is.
    pub remarks: Vec<String>,
    pub old: Measured,
    pub new: Measured,
}

impl Health {
    /// That the new plank does `what`, with the remarks, or `as_before`.
    pub fn told(&self, what: &str, as_before: &str) -> String {
        match self.remarks.is_empty() {
            true => format!("{what} {as_before}"),
            false => format!("{what}; {}", self.remarks.join("; ")),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Healthy,
    /// Worse, and kept.
    Degraded,
    /// Given up.
    Unhealthy,
}

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Respect {
    All,
    /// What does not come back by itself: failures, memory. What is slow may be so at first.
    Lasting,
}

impl Watch {
    pub fn note(&mut self, probe: &Probe) {
        let us = u64::try_from(probe.took.as_micros()).unwrap_or(u64::MAX);
        self.probes_us.push(us);
        self.resident_mib = self.resident_mib.max(resident_mib(probe.figures.pid));
        if probe.has_counts {
            self.first.get_or_insert_with(|| probe.figures.clone());
            self.last = Some(probe.figures.clone());
        }
    }

    /// The epoch that it told last; zero where it told none.
    pub fn epoch(&self) -> Epoch {
        self.last.as_ref().map_or(Epoch(0), |figures| figures.epoch)
    }

    /// What an old plank did since the first probe, or, if that was little, since it serves.
    pub fn of_late(&self) -> Measured {
        let late = self.measured(self.first.as_ref());
        match late.requests < FEW_REQUESTS {
            true => self.since_it_serves(),
            false => late,
        }
    }

    /// What a plank did since the first probe.
    pub fn since_first(&self) -> Measured {
        self.measured(self.first.as_ref())
    }

    pub fn since_it_serves(&self) -> Measured {
        self.measured(None)
    }

    fn measured(&self, since: Option<&KernelFigures>) -> Measured {
        let none = KernelFigures::default();
        let last = self.last.as_ref().unwrap_or(&none);
        let since = since.unwrap_or(&none);
        let took: Vec<u64> = last
            .took
            .iter()
            .enumerate()
            .map(|(place, count)| count.saturating_sub(since.took.get(place).copied().unwrap_or(0)))
            .collect();
        let mut probes = self.probes_us.clone();
        probes.sort_unstable();
        Measured {
            requests: last.answered.saturating_sub(since.answered),
            failed: last.failed.saturating_sub(since.failed),
            p50_us: quantile_us(&took, 500),
            p99_us: quantile_us(&took, 990),
            probes: probes.len() as u64,
            probe_p50_us: probes.get(probes.len() / 2).copied(),
            resident_mib: self.resident_mib,
        }
    }
}

/// Compares. Where either did too little to be compared in some respect, it is not.
pub fn judge(old: Measured, new: Measured, bounds: &Bounds, respect: Respect) -> Health {
    let mut worst = Outcome::Healthy;
    let mut remarks = Vec::new();
    let mut found = |outcome: Outcome, remark: String| {
        worst = worst.max(outcome);
        remarks.push(remark);
    };
    let permille = |measured: &Measured| measured.failed * 1000 / measured.requests.max(1);
    let more = permille(&new).saturating_sub(permille(&old));
    if new.failed >= FEW_FAILURES {
        let outcome = grade(
            more,
            bounds.degraded.errors_permille,
            bounds.unhealthy.errors_permille,
        );
        if let Some(outcome) = outcome {
            let told = format!(
                "{} of {} requests failed, and {} of {} before",
                new.failed, new.requests, old.failed, old.requests
            );
            found(outcome, told);
        }
    }
    let is_all = respect == Respect::All;
    let is_much = is_all && old.requests >= FEW_REQUESTS && new.requests >= FEW_REQUESTS;
    let is_probed = is_all && old.probes >= FEW_PROBES && new.probes >= FEW_PROBES;
    for (what, is_known, before, now, little, much) in [
        (
            "half of the requests",
            is_much,
            old.p50_us,
            new.p50_us,
            LITTLE_US,
            MUCH_US,
        ),
        (
            "99 of 100 requests",
            is_much,
            old.p99_us,
            new.p99_us,
            MUCH_US,
            u64::MAX,
        ),
        (
            "half of the steward's questions",
            is_probed,
            old.probe_p50_us,
            new.probe_p50_us,
            LITTLE_PROBE_US,
            MUCH_PROBE_US,
        ),
    ] {
        if let (true, Some(before), Some(now)) = (is_known, before, now)
            && let Some(outcome) = worse(before, now, (little, much), |bound| bound.latency_percent, bounds)
        {
            found(
                outcome,
                format!("{what} take up to {now} µs, and {before} µs before"),
            );
        }
    }
    let (before, now) = (old.resident_mib, new.resident_mib);
    if before > 0
        && let Some(outcome) = worse(
            before,
            now,
            (LITTLE_MIB, MUCH_MIB),
            |bound| bound.memory_percent,
            bounds,
        )
    {
        found(
            outcome,
            format!("it has {now} MiB of memory, and the old one had {before}"),
        );
    }
    Health {
        outcome: worst,
        remarks,
        old,
        new,
    }
}

fn worse(
    before: u64,
    now: u64,
    (little, much): (u64, u64),
    percent: impl Fn(&Bound) -> u64,
    bounds: &Bounds,
) -> Option<Outcome> {
    let more = now.saturating_sub(before);
    let beyond =
        |bound: &Bound, least: u64| more > least && now > before.saturating_mul(percent(bound)) / 100;
    match (beyond(&bounds.unhealthy, much), beyond(&bounds.degraded, little)) {
        (true, _) => Some(Outcome::Unhealthy),
        (_, true) => Some(Outcome::Degraded),
        _ => None,
    }
}

fn grade(value: u64, degraded: u64, unhealthy: u64) -> Option<Outcome> {
    match value {
        value if value > unhealthy => Some(Outcome::Unhealthy),
        value if value > degraded => Some(Outcome::Degraded),
        _ => None,
    }
}

/// Of a process of this machine; zero where it does not tell.
pub fn resident_mib(pid: u32) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse::<u64>().ok());
    (pages.unwrap_or(0) * rustix::param::page_size() as u64) >> 20
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(requests: u64, failed: u64, p50_us: u64, resident_mib: u64) -> Measured {
        Measured {
            requests,
            failed,
            p50_us: Some(p50_us),
            p99_us: Some(p50_us * 3),
            probes: 20,
            probe_p50_us: Some(500),
            resident_mib,
        }
    }

    fn check(new: Measured, outcome: Outcome) {
        let old = measured(1000, 1, 1_000, 60);
        let health = judge(old, new, &Bounds::default(), Respect::All);
        assert_eq!(health.outcome, outcome, "{health:?}");
        assert_eq!(health.remarks.is_empty(), outcome == Outcome::Healthy);
    }

    #[test]
    fn a_new_plank_is_judged_by_the_old_one() {
        check(measured(500, 0, 1_000, 60), Outcome::Healthy);
        check(measured(500, 9, 2_900, 150), Outcome::Healthy);
        check(measured(500, 12, 1_000, 60), Outcome::Degraded);
        check(measured(500, 40, 1_000, 60), Outcome::Unhealthy);
        check(measured(500, 0, 4_000, 60), Outcome::Degraded);
        check(measured(500, 0, 40_000, 60), Outcome::Unhealthy);
        // Slow, but hardly anything was asked.
        check(measured(20, 0, 40_000, 60), Outcome::Healthy);
        check(measured(500, 0, 1_000, 300), Outcome::Degraded);
        check(measured(500, 0, 1_000, 900), Outcome::Unhealthy);
        let slow = Measured {
            probe_p50_us: Some(200_000),
            ..measured(0, 0, 0, 60)
        };
        check(slow, Outcome::Unhealthy);
    }

    #[test]
    fn an_old_plank_is_measured_by_what_it_did_of_late() {
        let mut watch = Watch::default();
        let probe = |answered, failed| Probe {
            asked: Instant::now(),
            figures: KernelFigures {
                answered,
                failed,
                took: vec![answered],
                ..KernelFigures::default()
            },
            has_counts: true,
            took: Duration::from_micros(300),
        };
        watch.note(&probe(1000, 900));
        watch.note(&probe(1010, 900));
        assert_eq!(watch.of_late().requests, 1010);
        watch.note(&probe(1100, 901));
        let late = watch.of_late();
        assert_eq!((late.requests, late.failed, late.probes), (100, 1, 3));
        assert_eq!(late.probe_p50_us, Some(300));
    }
}
