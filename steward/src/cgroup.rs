//! Bounds of memory and processor time for all processes of a plank together, by control groups of version 2: `docs/supervision.md`, "Limits".
//! A system without them, or one that does not let this user make any, is told in one sentence.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::PathBuf;

/// What one plank, with its children, may use; `None` for no bound.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    pub memory_bytes: Option<u64>,
    /// Of one processor: 150 is one and a half.
    pub cpu_percent: Option<u64>,
}

impl Bounds {
    pub fn is_none(&self) -> bool {
        *self == Bounds::default()
    }
}

/// In which `cpu.max` counts, µs.
const PERIOD_US: u64 = 100_000;
/// Where the steward itself goes: a group with processes cannot bound its children.
const OWN: &str = "steward";

/// The steward's group, whose children can be bounded.
#[derive(Debug)]
pub struct Groups(PathBuf);

impl Groups {
    /// Finds the group that this process is in, and prepares it. The error says what the system lacks.
    pub fn prepare() -> Result<Groups, String> {
        let mount = mount(&fs::read_to_string("/proc/self/mountinfo").unwrap_or_default())
            .ok_or("no cgroup2 file system is mounted")?;
        let own = own(&fs::read_to_string("/proc/self/cgroup").unwrap_or_default())
            .ok_or("this process is in no group of version 2")?;
        // A steward that was started anew, or became another program, is where the one before put itself.
        let own = own.strip_suffix(&format!("/{OWN}")).unwrap_or(&own).to_owned();
        Groups::at(mount.join(own.trim_start_matches('/')))
    }

    fn at(base: PathBuf) -> Result<Groups, String> {
        let controllers = fs::read_to_string(base.join("cgroup.controllers")).unwrap_or_default();
        let lacking: Vec<&str> = ["memory", "cpu"]
            .into_iter()
            .filter(|wanted| !controllers.split_whitespace().any(|there| there == *wanted))
            .collect();
        if !lacking.is_empty() {
            return Err(format!(
                "the group {} has no controller for {}; under systemd set Delegate=yes",
                base.display(),
                lacking.join(" and ")
            ));
        }
        let prepared = fs::create_dir(base.join(OWN))
            .or_else(|error| match error.kind() {
                io::ErrorKind::AlreadyExists => Ok(()),
                _ => Err(error),
            })
            .and_then(|()| fs::write(base.join(OWN).join("cgroup.procs"), "0"))
            .and_then(|()| fs::write(base.join("cgroup.subtree_control"), "+memory +cpu"));
        match prepared {
            Ok(()) => Ok(Groups(base)),
            Err(error) => Err(format!(
                "the group {} cannot be divided: {error}; under systemd set Delegate=yes",
                base.display()
            )),
        }
    }

    /// The group of a plank, bounded; what is written to the file joins it.
    pub fn make(&self, name: &str, bounds: &Bounds) -> Result<File, String> {
        let folder = self.0.join(name);
        let make = || {
            match fs::create_dir(&folder) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            fs::write(folder.join("memory.max"), memory_max(bounds))?;
            fs::write(folder.join("cpu.max"), cpu_max(bounds))?;
            OpenOptions::new()
                .write(true)
                .create(cfg!(test))
                .truncate(false)
                .open(folder.join("cgroup.procs"))
        };
        make().map_err(|error| format!("the group {} cannot be made: {error}", folder.display()))
    }
}

fn memory_max(bounds: &Bounds) -> String {
    bounds
        .memory_bytes
        .map_or_else(|| "max".to_owned(), |bytes| bytes.to_string())
}

fn cpu_max(bounds: &Bounds) -> String {
    match bounds.cpu_percent {
        Some(percent) => format!("{} {PERIOD_US}", percent * PERIOD_US / 100),
        None => format!("max {PERIOD_US}"),
    }
}

/// Where version 2 is mounted: the fifth field of a line whose type, the first after ` - `, is `cgroup2`.
fn mount(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (before, after) = line.split_once(" - ")?;
        (after.split(' ').next() == Some("cgroup2"))
            .then(|| before.split(' ').nth(4).map(PathBuf::from))
            .flatten()
    })
}

/// The group of version 2: the line that begins with `0::`.
fn own(cgroup: &str) -> Option<String> {
    cgroup
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_is_found() {
        let mounts = "24 1 0:21 / /proc rw - proc proc rw\n30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
        assert_eq!(mount(mounts), Some("/sys/fs/cgroup".into()));
        assert_eq!(mount("1 2 3 / /x rw - cgroup cgroup rw,cpu"), None);
        assert_eq!(
            own("4:memory:/a\n0::/user.slice/b.service\n"),
            Some("/user.slice/b.service".into())
        );
    }

    #[test]
    fn a_plank_is_bounded_in_a_group_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let base = folder.path().to_path_buf();
        assert!(
            Groups::at(base.clone())
                .unwrap_err()
                .contains("no controller for memory and cpu")
        );
        fs::write(base.join("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        let groups = Groups::at(base.clone()).unwrap();
        assert_eq!(fs::read(base.join("steward/cgroup.procs")).unwrap(), b"0");
        assert_eq!(
            fs::read(base.join("cgroup.subtree_control")).unwrap(),
            b"+memory +cpu"
        );
        let bounds = Bounds {
            memory_bytes: Some(64 << 20),
            cpu_percent: Some(150),
        };
        groups.make("kernel", &bounds).unwrap();
        assert_eq!(fs::read(base.join("kernel/memory.max")).unwrap(), b"67108864");
        assert_eq!(fs::read(base.join("kernel/cpu.max")).unwrap(), b"150000 100000");
        groups.make("kernel", &Bounds::default()).unwrap();
        assert_eq!(fs::read(base.join("kernel/memory.max")).unwrap(), b"max");
        assert_eq!(fs::read(base.join("kernel/cpu.max")).unwrap(), b"max 100000");
    }
}
