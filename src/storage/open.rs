//! Opening a data directory: lock it, read the manifest, replay what was not sealed
//! (`recovery.rs`), start the threads.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};

use super::fs::{DirLock, Fs, RealFs};
use super::generation::Generation;
use super::limiter::SeriesLimiter;
use super::live::{Rollups, View};
use super::logs::{LogsWriter, TailHub};
use super::manifest::{Manifest, ManifestError};
use super::pressure::Pressure;
use super::recovery::Recovery;
use super::shard::{Shard, ShardQueue};
use super::stats::StoreMetrics;
use super::store::{Options, Store, series_ids_max};
use super::sync::{LogQueue, Syncer};
use super::tier_dirs::{TierDirs, is_tier_name};
use super::traces::SpansWriter;
use super::wal::FileLog;
use crate::model::Timestamp;

/// Why a data directory cannot be opened. Each variant names the path: that is what the operator needs.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{}: used by another process; stop that one or choose another --data-dir", path.display())]
    Locked { path: PathBuf },
    #[error("{}: not empty and not a data directory of Icecore; choose another --data-dir", path.display())]
    Foreign { path: PathBuf },
    #[error("{}: no such directory, though --tiers names it; create it, or mount its disk", path.display())]
    NoTierDirectory { path: PathBuf },
    #[error("{}: used by another process; give each server a directory of its own (--tiers)", path.display())]
    TierLocked { path: PathBuf },
    #[error(
        "{}: holds none of the {count} segments that the manifest lists there; is its disk mounted, and does --tiers name the directory they are in?",
        path.display()
    )]
    TierMissing { path: PathBuf, count: usize },
    #[error("{}: bears or holds a number that no data directory gets to, so it was made or damaged by something else; move it away", path.display())]
    NoNextNumber { path: PathBuf },
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

const WAL_FILE_BYTES: u64 = 64 << 20;
/// Frames may wait for the disk up to this much; beyond it the shards wait.
const LOG_QUEUE_BYTES: usize = 32 << 20;

impl Store {
    /// Opens or creates a data directory and replays what was not sealed.
    pub fn open(
        options: Options,
        registry: &prometheus::Registry,
        now: Timestamp,
    ) -> Result<Arc<Store>, OpenError> {
        Store::open_on(Arc::new(RealFs), options, registry, now)
    }

    /// As [`Store::open`], on files of any kind.
    pub(super) fn open_on(
        fs: Arc<dyn Fs>,
        options: Options,
        registry: &prometheus::Registry,
        now: Timestamp,
    ) -> Result<Arc<Store>, OpenError> {
        let dirs = TierDirs::new(&options.data_dir, &options.tiers);
        let mut locks = vec![prepare_directory(&*fs, &options.data_dir, &dirs)?];
        locks.extend(dirs.lock(&*fs)?);
        let metrics = StoreMetrics::register(registry);
        let manifest = open_manifest(&fs, &options.data_dir)?;
        let segments = dirs.find_segments(&fs, &manifest, &metrics)?;

        let data_dir = options.data_dir.clone();
        let log = FileLog {
            fs: fs.clone(),
            data_dir,
            file_bytes: WAL_FILE_BYTES,
            reserve_bytes: options.log_reserve,
        };
        let mut recovery = Recovery::new(&options, &metrics, now);
        let generations = recovery.replay(&log, &manifest)?;
        let next = generations.last().map_or(manifest.wal_done(), |g| g.number).max(recovery.newest) + 1;
        // The log may hold more series than the limit of today.
        let recovered_ids = recovery.registries.iter().map(|registry| registry.ids_end()).max().unwrap_or(0);
        let series_ids_max = series_ids_max(&options).max(recovered_ids);
        let active = Arc::new(Generation::new(next, now, options.shards, series_ids_max));

        let limiter = SeriesLimiter::new(
            options.series_max,
            options.new_series_burst,
            options.new_series_per_second,
            now,
        );
        limiter.registered(recovery.registries.iter().map(|r| r.len()).sum());
        let seq = Arc::new(AtomicU64::new(recovery.max_seq.max(manifest.max_seq())));
        active.note_seq(seq.fetch_add(1, Ordering::Relaxed) + 1);
        let queue = Arc::new(LogQueue::new(LOG_QUEUE_BYTES));
        let pressure = Arc::new(Pressure::new(options.seal_samples, options.seal_bytes));
        let Recovery { registries, metadata, changes, writers, .. } = recovery;
        let (tail, soft_labels) =
            (Arc::new(TailHub::default()), Arc::<[String]>::from(&options.soft_labels[..]));
        let log_counters = metrics.logs.clone();
        let mut threads = Vec::new();
        let shards = writers.into_iter().enumerate().map(|(index, metrics)| {
            let mut metrics = metrics.into_inner();
            metrics.rotate(active.metrics[index].clone(), active.number, active.opened_at);
            let (shard_queue, parker) = ShardQueue::new(options.queue_batches);
            let shard_queue = Arc::new(shard_queue);
            let shard = Shard {
                index,
                queue: shard_queue.clone(),
                parker,
                log: queue.clone(),
                seq: seq.clone(),
                generation: active.clone(),
                pressure: pressure.clone(),
                metrics,
                logs: LogsWriter::new(
                    active.logs[index].clone(),
                    soft_labels.clone(),
                    tail.clone(),
                    log_counters.clone(),
                ),
                traces: SpansWriter::new(active.traces[index].clone()),
            };
            threads.push(spawn(format!("shard-{index}"), move || shard.run()));
            shard_queue
        });
        let shards: Vec<_> = shards.collect();
        let syncer = Syncer::new(queue.clone(), log, options.sync, metrics.sync.clone());
        threads.push(spawn("syncer".into(), move || syncer.run()));

        let floors = manifest.floors().clone();
        let resolutions = options.tiers.iter().map(|tier| tier.resolution_ms);
        let rollups = Rollups::new(resolutions.filter(|&resolution| resolution > 0).collect());
        let view = View {
            rollups,
            floors,
            generations,
            tombstones: manifest.tombstones().clone(),
            ..View::default()
        };
        let mut view = view.with_segments(&segments, &[]).masked();
        view.generations.push(active);
        changes.note_all(view.rolled_until());
        let store = Store {
            next_segment_id: AtomicU64::new(manifest.next_segment_id()),
            disowned: Mutex::default(),
            seq,
            view: ArcSwap::from_pointee(view),
            manifest: Mutex::new(manifest),
            registries,
            metadata,
            changes,
            limiter,
            series_ids_max,
            shards,
            log: queue,
            metrics,
            free_bytes: AtomicU64::new(fs.free_bytes(&options.data_dir).unwrap_or(u64::MAX)),
            pressure,
            epoch: RwLock::new(0),
            closing: false.into(),
            tidying_stopped: false.into(),
            sealing: Mutex::default(),
            merging: Mutex::new(()),
            arrivals: Default::default(),
            derived: Mutex::default(),
            retired: Mutex::default(),
            deleted_at: now.into(),
            uncleaned: 0.into(),
            tail,
            threads: Mutex::new(threads),
            _locks: locks,
            fs,
            dirs,
            options,
        };
        store.hide_expired(store.now_for_ages(now));
        store.observe();
        Ok(Arc::new(store))
    }
}

fn spawn(name: String, run: impl FnOnce() + Send + 'static) -> std::thread::JoinHandle<()> {
    let run = move || {
        if catch_unwind(AssertUnwindSafe(run)).is_err() {
            tracing::error!(
                "a storage thread panicked: ending the process, or its senders would wait for ever"
            );
            std::process::abort();
        }
    };
    std::thread::Builder::new().name(name).spawn(run).expect("the system can start a few threads")
}

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> OpenError + '_ {
    move |source| OpenError::Io { path: path.to_owned(), source }
}

/// Makes the directories and takes the lock; refuses what belongs to somebody else.
fn prepare_directory(fs: &dyn Fs, dir: &Path, tiers: &TierDirs) -> Result<Box<dyn DirLock>, OpenError> {
    let names = match fs.list(dir) {
        Ok(names) => names,
        Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(source) => return Err(OpenError::Io { path: dir.to_owned(), source }),
    };
    let ours = |name: &String| {
        name == "LOCK"
            || name == "wal"
            || name == "lost+found"
            || name.starts_with("MANIFEST")
            || is_tier_name(name)
    };
    if !names.iter().all(ours) && !names.iter().any(|name| name == "MANIFEST") {
        return Err(OpenError::Foreign { path: dir.to_owned() });
    }
    fs.create_dir(&dir.join("wal")).map_err(io_error(dir))?;
    tiers.create(fs)?;
    let lock = fs.lock(&dir.join("LOCK")).map_err(|source| match source.kind() {
        io::ErrorKind::WouldBlock => OpenError::Locked { path: dir.to_owned() },
        _ => OpenError::Io { path: dir.join("LOCK"), source },
    })?;
    fs.sync_dir(dir).map_err(io_error(dir))?;
    // The directory's own entry; its parent may be one that we cannot open, and then there is nothing to do.
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        let _ = fs.sync_dir(parent);
    }
    Ok(lock)
}

fn open_manifest(fs: &Arc<dyn Fs>, dir: &Path) -> Result<Manifest, OpenError> {
    if Manifest::exists(&**fs, dir).map_err(io_error(dir))? {
        return Ok(Manifest::open(fs.clone(), dir)?);
    }
    Ok(Manifest::create(fs.clone(), dir)?)
}
