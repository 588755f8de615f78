//! Programs from outside: whether they are there, and running them.

use std::fs::File;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::common::{request, skipped};

/// Long enough for any machine: nothing here is judged by its speed.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Where the program is, or says that the test is skipped.
pub fn installed(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).map(|dir| dir.join(name)).find(|path| path.is_file());
    if found.is_none() {
        skipped(&format!("{name} is not installed (.ci/install does it)"));
    }
    found
}

/// A Python that can import all this: the one `.ci/install` made, or the machine's own.
pub fn python(imports: &str) -> Option<PathBuf> {
    let candidates =
        [Path::new(env!("CARGO_TARGET_TMPDIR")).join("python/bin/python"), PathBuf::from("python3")];
    let has_all = |python: &&PathBuf| {
        let output = Command::new(python).args(["-c", imports]).output();
        output.is_ok_and(|output| output.status.success())
    };
    let found = candidates.iter().find(has_all).cloned();
    if found.is_none() {
        skipped("no python3 with the clients is installed (.ci/install does it)");
    }
    found
}

/// Where `.ci/install` put the modules for Node.js, if that is there.
pub fn node_modules() -> Option<PathBuf> {
    let modules = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node");
    if !modules.join("installed").is_file() {
        skipped("the OpenTelemetry SDK for JavaScript is not installed (.ci/install does it)");
        return None;
    }
    Some(modules)
}

/// Runs a script of `tests/real_clients` to its end, which must be good; what it prints.
pub fn run_script(interpreter: &Path, script: &str, arguments: &[&str]) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/real_clients").join(script);
    let output = Command::new(interpreter).arg(script).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{arguments:?}: {said}{}", String::from_utf8_lossy(&output.stderr));
    said
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Asks until the answer is there.
pub fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "{what} did not come");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A running program; killed when dropped. What it says goes to a file that is shown if it fails.
pub struct Program {
    child: Child,
    log: PathBuf,
}

impl Program {
    pub fn start(path: &Path, arguments: &[String], log: PathBuf) -> Program {
        let said = File::create(&log).unwrap();
        let child = Command::new(path)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(said.try_clone().unwrap())
            .stderr(said)
            .spawn()
            .unwrap();
        Program { child, log }
    }

    /// Waits until `url` answers 200.
    pub fn ready(&mut self, url: &str) {
        let address = url.trim_start_matches("http://").split('/').next().unwrap();
        wait_for(url, || {
            if let Some(status) = self.child.try_wait().unwrap() {
                panic!("{status}: {}", std::fs::read_to_string(&self.log).unwrap());
            }
            std::net::TcpStream::connect(address).ok()?;
            (request("GET", url, &[], Vec::new()).status == 200).then_some(())
        });
    }

    /// SIGTERM, and the wait for the end.
    pub fn stop(mut self) -> ExitStatus {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", "TERM", &id]).status().unwrap().success());
        wait_for("the program's end", || self.child.try_wait().unwrap())
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
