//! One signal, seen by all: the first asks for an orderly end, the second ends at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Cloned to whoever must know that the end has begun.
#[derive(Clone)]
pub struct Shutdown(watch::Receiver<bool>);

/// As if killed by SIGINT, which is what shells expect of a program that was interrupted.
const EXIT_AT_ONCE: i32 = 130;

impl Shutdown {
    /// Listens for SIGTERM and SIGINT.
    pub fn on_signals() -> std::io::Result<Shutdown> {
        let (mut terminate, mut interrupt) =
            (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (tell, asked) = watch::channel(false);
        tokio::spawn(async move {
            for is_first in [true, false] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                }
                if is_first {
                    tell.send_replace(true);
                } else {
                    std::process::exit(EXIT_AT_ONCE);
                }
            }
        });
        Ok(Shutdown(asked))
    }

    /// Returns when the end has begun.
    pub async fn asked(&self) {
        // The sender lives in a task that ends only with the process.
        let _ = self.0.clone().wait_for(|asked| *asked).await;
    }
}
