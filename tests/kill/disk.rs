//! The server on a disk of its own: an ext4 file system in a file, which can lose its power and fill up.

use std::io::Write;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use crate::common::{Server, now_ms, proto};
use crate::load::{Random, Sender};
use crate::{ARGS, compare, rounds, senders, under_load};

/// A mounted file system; unmounted when dropped.
struct Disk {
    dir: tempfile::TempDir,
    device: String,
}

fn run(program: &str, args: &[&str]) -> Output {
    Command::new(program).args(args).output().unwrap_or_else(|e| panic!("{program}: {e}"))
}

fn succeeds(program: &str, args: &[&str]) -> Result<String, String> {
    let output = Command::new(program).args(args).output().map_err(|e| format!("{program}: {e}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("{program} {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr).trim()))
}

impl Disk {
    /// A disk of so many MiB, or why there can be none.
    fn new(mebibytes: u64) -> Result<Disk, String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let image = dir.path().join("image");
        let file = std::fs::File::create(&image).map_err(|e| e.to_string())?;
        file.set_len(mebibytes << 20).map_err(|e| e.to_string())?;
        let image = image.to_str().expect("a temporary path is UTF-8");
        succeeds("mkfs.ext4", &["-q", "-F", image])?;
        std::fs::create_dir(dir.path().join("mount")).map_err(|e| e.to_string())?;
        let device = succeeds("losetup", &["--find", "--show", image])?;
        let disk = Disk { dir, device };
        disk.mount()?;
        Ok(disk)
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("mount")
    }

    fn mount(&self) -> Result<String, String> {
        succeeds("mount", &[&self.device, self.path().to_str().unwrap()])
    }

    /// Everything that was not synced is gone, as without power: `EXT4_IOC_SHUTDOWN` without a flush of the journal.
    /// Answers with the milliseconds of the clock within which it happened.
    fn cut_power(&self) -> RangeInclusive<i64> {
        let script = "import fcntl, os, struct, sys, time\n\
                      fd = os.open(sys.argv[1], os.O_RDONLY)\n\
                      began = time.time()\n\
                      fcntl.ioctl(fd, 0x8004587D, struct.pack('I', 2))\n\
                      print(int(began * 1e3), int(time.time() * 1e3))";
        let output = run("python3", &["-c", script, self.path().to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let times = String::from_utf8(output.stdout).unwrap();
        let times: Vec<i64> = times.split_whitespace().map(|time| time.parse().unwrap()).collect();
        times[0]..=times[1]
    }

    fn restore_power(&self) {
        succeeds("umount", &[self.path().to_str().unwrap()]).unwrap();
        self.mount().unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = succeeds("umount", &[self.path().to_str().unwrap()]);
        let _ = succeeds("losetup", &["--detach", &self.device]);
    }
}

fn disk_or_skip(mebibytes: u64) -> Option<Disk> {
    let tools = succeeds("python3", &["-c", "import fcntl"]);
    match tools.and_then(|_| Disk::new(mebibytes)) {
        Ok(disk) => Some(disk),
        Err(reason) => {
            println!("skipped: no file system of our own: {reason}");
            None
        }
    }
}

#[test]
fn a_power_cut_loses_nothing_acknowledged() {
    let Some(disk) = disk_or_skip(1024) else { return };
    let mut random = Random::of_this_run("power cut");
    let mut senders: Vec<Sender> = senders();
    let data_dir = disk.path().join("data");
    let args = [&ARGS[..], &["--limits.disk-reserve", "0"]].concat();
    let mut server = Server::start_in(&data_dir, &args);
    let rounds = rounds(3, 50);
    let (mut figures, mut acknowledged) = (None, 0);
    for _ in 0..rounds {
        let mut cut = 0..=0;
        acknowledged += under_load(&mut server, &mut senders, &mut random, |server| {
            cut = disk.cut_power();
            // What comes now must be refused: it is on no disk.
            std::thread::sleep(Duration::from_millis(300));
            server.kill();
        });
        // A sync that is under way while ext4 shuts down may succeed without what it is for: the kernel's, found with
        // nothing but writes and syncs. Whoever lost power in earnest got no answer then.
        senders.iter_mut().for_each(|sender| sender.doubt(*cut.start()..=cut.end() + 100));
        drop(server);
        disk.restore_power();
        server = Server::start_in(&data_dir, &args);
        figures = Some(compare(&server, &senders));
    }
    assert!(acknowledged > 0);
    println!("power cut: {rounds} rounds, {:?}, 0 lost, 0 twice", figures.unwrap());
}

fn write(server: &Server, k: i64) -> (u16, String, String) {
    let answer = server.write(&proto::v1(&[("__name__", "probe")], &[(now_ms() - 600_000 + k, k as f64)]));
    (answer.status, answer.header("retry-after").to_owned(), answer.body)
}

/// The time until a write is answered with a status that `wanted` accepts.
fn until(server: &Server, k: &mut i64, wanted: impl Fn(u16) -> bool) -> (Duration, String, String) {
    let started = Instant::now();
    loop {
        *k += 1;
        let (status, retry_after, body) = write(server, *k);
        if wanted(status) {
            return (started.elapsed(), retry_after, body);
        }
        assert!(started.elapsed() < Duration::from_secs(15), "still {status}: {body}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Takes all the space there is.
fn fill(disk: &Path) {
    let mut ballast = std::fs::File::create(disk.join("ballast")).unwrap();
    let mut piece = vec![0; 1 << 20];
    while !piece.is_empty() {
        // Less and less at a time, so that nothing is left over.
        if ballast.write_all(&piece).is_err() {
            piece.truncate(piece.len() / 4);
        }
    }
}

#[test]
fn a_full_disk_refuses_writes_answers_queries_and_takes_writes_again() {
    let Some(disk) = disk_or_skip(96) else { return };
    let mut random = Random::of_this_run("disk full");
    let mut senders: Vec<Sender> = senders();
    let data_dir = disk.path().join("data");
    let args = [&ARGS[..], &["--limits.disk-reserve", "8MiB"]].concat();
    let mut server = Server::start_in(&data_dir, &args);
    let (mut k, mut slowest) = (0, Duration::ZERO);
    let cycles = rounds(3, 30);
    for _ in 0..cycles {
        under_load(&mut server, &mut senders, &mut random, |_| {
            fill(&disk.path());
        });
        let (_, retry_after, body) = until(&server, &mut k, |status| status == 503);
        assert!(!retry_after.is_empty(), "{body}");
        assert!(body.contains("disk") || body.contains("log"), "{body}");
        compare(&server, &senders);
        std::fs::remove_file(disk.path().join("ballast")).unwrap();
        let (resumed, ..) = until(&server, &mut k, |status| status == 204);
        slowest = slowest.max(resumed);
        under_load(&mut server, &mut senders, &mut random, |_| {});
        compare(&server, &senders);
    }
    assert!(slowest < Duration::from_secs(5), "writes resumed after {slowest:?}");
    server.kill();
    drop(server);
    let server = Server::start_in(&data_dir, &args);
    println!(
        "disk full: {cycles} cycles, resumed within {slowest:?}, {:?}, 0 lost, 0 twice",
        compare(&server, &senders)
    );
}
