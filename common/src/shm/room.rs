//! How much memory this process may still take: what the host has free, and what the limits of its
//! control groups leave.

use std::fs;
use std::path::Path;

use crate::error::{Error, Kind};

const MEMINFO: &str = "/proc/meminfo";
const OWN_GROUPS: &str = "/proc/self/cgroup";
const GROUPS: &str = "/sys/fs/cgroup";

/// The names of a group's files, which differ by version.
struct GroupFiles {
    limit: &'static str,
    used: &'static str,
    /// The line of `memory.stat` that counts what the kernel gives back at once.
    cache: &'static str,
}

const V1: GroupFiles = GroupFiles {
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cache: "total_inactive_file",
};
const V2: GroupFiles =
    GroupFiles { limit: "memory.max", used: "memory.current", cache: "inactive_file" };

/// Bytes that may still be taken; `None` where no limit is known. The figure may be too low once it
/// is at least `wanted`.
pub(super) fn free_bytes(wanted: u64) -> Option<u64> {
    let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let host = host_free(&text(MEMINFO));
    host.into_iter().chain(groups_free(&text(OWN_GROUPS), Path::new(GROUPS), wanted)).min()
}

/// [`Kind::Full`]: so many bytes are not available.
pub(super) fn no_memory(bytes: usize, free: Option<u64>) -> Error {
    let mut e = Error::new(
        Kind::Full,
        format!("memory has no room for {bytes} bytes ({} MiB)", bytes.div_ceil(1 << 20)),
    );
    if let Some(free) = free {
        e = e.detail(format!("{free} bytes are available"));
    }
    e.hint("Give the host or its container more memory, or lower the task's writers or slot_bytes.")
}

fn host_free(meminfo: &str) -> Option<u64> {
    let line = |name: &str| number_after(meminfo, name)?.checked_mul(1024);
    Some(line("MemAvailable:")?.saturating_add(line("SwapFree:").unwrap_or(0)))
}

/// What the group that this process is in leaves, and each that it stands in, as far as they are
/// seen from here.
fn groups_free(own: &str, root: &Path, wanted: u64) -> Option<u64> {
    let of_line = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?.trim_start_matches('/'));
        let (top, files) = match controllers {
            "" => (root.to_owned(), V2),
            v1 if v1.split(',').any(|c| c == "memory") => (root.join("memory"), V1),
            _ => return None,
        };
        let group = top.join(path);
        group
            .ancestors()
            .take_while(|group| group.starts_with(&top))
            .filter_map(|group| group_free(group, &files, wanted))
            .min()
    };
    own.lines().filter_map(of_line).min()
}

fn group_free(group: &Path, files: &GroupFiles, wanted: u64) -> Option<u64> {
    let text = |name: &str| fs::read_to_string(group.join(name)).ok();
    // "max", or no file at all: no limit.
    let limit: u64 = text(files.limit)?.trim().parse().ok()?;
    let used: u64 = text(files.used)?.trim().parse().ok()?;
    let free = limit.saturating_sub(used);
    if free >= wanted {
        // The kernel sums up the whole group for `memory.stat`: that takes as long as a small table.
        return Some(free);
    }
    let cache = number_after(&text("memory.stat").unwrap_or_default(), files.cache).unwrap_or(0);
    Some(limit.saturating_sub(used.saturating_sub(cache)))
}

fn number_after(text: &str, name: &str) -> Option<u64> {
    let mut words = text
        .lines()
        .map(str::split_ascii_whitespace)
        .find_map(|mut words| (words.next() == Some(name)).then_some(words))?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_has_what_is_available_and_what_it_can_swap() {
        let text = "MemTotal: 100 kB\nMemAvailable:   24 kB\nSwapFree: 8 kB\n";
        assert_eq!(host_free(text), Some(32 << 10));
        assert_eq!(host_free("MemAvailable: 24 kB\n"), Some(24 << 10));
        assert_eq!(host_free("MemTotal: 100 kB\n"), None);
        assert!(free_bytes(1).is_some_and(|free| free > 0));
    }

    #[test]
    fn the_narrowest_control_group_counts_whatever_its_version() {
        let root = tempfile::tempdir().unwrap();
        let group = |path: &str, files: &[(&str, &str)]| {
            let dir = root.path().join(path);
            fs::create_dir_all(&dir).unwrap();
            files.iter().for_each(|(name, text)| fs::write(dir.join(name), text).unwrap());
        };
        let free = |own: &str| groups_free(own, root.path(), 1 << 40);
        group("a", &[("memory.max", "1000\n"), ("memory.current", "700\n")]);
        group("a/b", &[("memory.max", "max\n"), ("memory.current", "600\n")]);
        group("c", &[("memory.max", "500\n"), ("memory.current", "450\n")]);
        group("c", &[("memory.stat", "anon 9\ninactive_file 100\n")]);
        assert_eq!(free("0::/a/b\n"), Some(300), "the limit of the group around it");
        assert_eq!(free("0::/c\n"), Some(150), "cache makes room");
        assert_eq!(groups_free("0::/c\n", root.path(), 50), Some(50), "enough without it");
        assert_eq!(free("0::/\n"), None);
        assert_eq!(free("0::/of/another/namespace\n"), None);
        assert_eq!(free("what is this\n"), None);
        let v1 = [("memory.limit_in_bytes", "90\n"), ("memory.usage_in_bytes", "100\n")];
        group("memory/d", &v1);
        group("memory/d", &[("memory.stat", "inactive_file 5\ntotal_inactive_file 30\n")]);
        assert_eq!(free("3:cpu,memory:/d\n1:name=systemd:/d\n0::/c\n"), Some(20));
    }
}
