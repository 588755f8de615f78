//! What the machine has, as far as Linux tells: the memory that this process may use.

use std::path::Path;

/// Bytes of memory, or fewer where a cgroup allows no more; `None` where nothing is told.
pub fn memory_bytes() -> Option<u64> {
    let total = read("/proc/meminfo").and_then(|text| total_of(&text));
    let group = read("/proc/self/cgroup").and_then(|text| {
        let group = text.lines().find_map(|line| line.strip_prefix("0::"))?.to_owned();
        limit_of(Path::new("/sys/fs/cgroup"), &group)
    });
    // Version 1 of cgroups, where a container sees its own group as the root.
    let old = read("/sys/fs/cgroup/memory/memory.limit_in_bytes").and_then(|text| text.trim().parse().ok());
    [total, group, old].into_iter().flatten().min()
}

fn read(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? * 1024)
}

/// The smallest limit of a group and those around it; `max` is none.
fn limit_of(root: &Path, group: &str) -> Option<u64> {
    let groups = Path::new(group).ancestors().filter_map(|group| group.strip_prefix("/").ok());
    let limits = groups.filter_map(|group| read(root.join(group).join("memory.max"))?.trim().parse().ok());
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_the_machine_is_told_in_kib() {
        assert_eq!(total_of("MemFree: 7 kB\n"), None);
        assert_eq!(total_of("MemTotal:       16384 kB\nMemFree: 7 kB\n"), Some(16 << 20));
    }

    #[test]
    fn the_tightest_group_around_a_process_counts() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("a/b")).unwrap();
        assert_eq!(limit_of(root.path(), "/a/b"), None);
        std::fs::write(root.path().join("memory.max"), "900\n").unwrap();
        std::fs::write(root.path().join("a/memory.max"), "500\n").unwrap();
        std::fs::write(root.path().join("a/b/memory.max"), "max\n").unwrap();
        assert_eq!(limit_of(root.path(), "/a/b"), Some(500));
        assert_eq!(limit_of(root.path(), "/"), Some(900));
    }
}
