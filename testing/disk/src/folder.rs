//! A folder of files in memory, and what may happen to all of them at once.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use rand::RngCore;
use tempfile::TempDir;

use crate::file::File;

/// Every folder of this process by its path.
static FOLDERS: RwLock<BTreeMap<PathBuf, Arc<Mutex<Files>>>> = RwLock::new(BTreeMap::new());

/// A folder whose files are in memory; gone when it is dropped.
#[derive(Debug)]
pub struct Folder {
    directory: TempDir,
    path: PathBuf,
    files: Arc<Mutex<Files>>,
}

/// What a power failure takes.
pub enum Lost<'a> {
    /// Nothing: a process was killed, and the system lives.
    Nothing,
    /// All that was not synced.
    Unsynced,
    /// Some sectors of what was not synced.
    SomeSectors(&'a mut dyn RngCore),
}

/// The contents of a folder, as a backup has them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Image(BTreeMap<String, Vec<u8>>);

#[derive(Debug, Default)]
pub(crate) struct Files {
    path: PathBuf,
    by_name: BTreeMap<String, Arc<Mutex<File>>>,
    /// Steps that the disk took.
    steps: u64,
    /// At which step the power fails.
    fails_at: Option<u64>,
    /// Nothing works any more.
    pub(crate) cut: bool,
    /// Bytes that all files together may have.
    room: Option<usize>,
    handles: u64,
}

impl Folder {
    /// An empty one.
    ///
    /// # Panics
    /// Without a folder for temporary files.
    #[must_use]
    pub fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary folder can be made");
        let path = directory.path().canonicalize().expect("a folder that was just made has a path");
        let files = Arc::new(Mutex::new(Files { path: path.clone(), ..Files::default() }));
        FOLDERS.write().unwrap_or_else(PoisonError::into_inner).insert(path.clone(), Arc::clone(&files));
        Self { directory, path, files }
    }

    /// Its path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Lets the power fail after so many more steps of the disk, or not at all.
    pub fn fail_after(&self, steps: Option<u64>) {
        let mut files = lock(&self.files);
        files.fails_at = steps.map(|steps| files.steps + steps);
    }

    /// The power fails now, or the process that uses the folder is killed: nothing works until [`Folder::restart`].
    pub fn cut(&self) {
        lock(&self.files).cut = true;
    }

    /// Whether nothing works any more.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        lock(&self.files).cut
    }

    /// Works again, with what is left. Whoever had files open must have closed them before.
    pub fn restart(&self, lost: Lost<'_>) {
        let mut files = lock(&self.files);
        (files.cut, files.fails_at) = (false, None);
        files.sweep();
        let mut rng = match lost {
            Lost::Nothing => return,
            Lost::Unsynced => None,
            Lost::SomeSectors(rng) => Some(rng),
        };
        for file in files.by_name.values() {
            let rng: Option<&mut dyn RngCore> = match &mut rng {
                Some(rng) => Some(&mut **rng),
                None => None,
            };
            lock(file).lose_power(rng);
        }
        let lost = files.by_name.iter().filter(|(_, file)| lock(file).on_disk().is_none());
        let lost: Vec<_> = lost.map(|(name, _)| name.clone()).collect();
        lost.iter().for_each(|name| files.remove(name));
    }

    /// Bounds what all files together may have from now on, to so much more than they have.
    pub fn set_room(&self, more: Option<usize>) {
        let mut files = lock(&self.files);
        let held = files.size();
        files.room = more.map(|more| held + more);
    }

    /// What is on the disk for certain.
    #[must_use]
    pub fn image(&self) -> Image {
        let mut files = lock(&self.files);
        files.sweep();
        let durable = |(name, file): (&String, &Arc<Mutex<File>>)| Some((name.clone(), lock(file).on_disk()?.to_vec()));
        Image(files.by_name.iter().filter_map(durable).collect())
    }

    /// Holds what a backup has, and nothing else.
    ///
    /// # Panics
    /// When the real disk is full.
    pub fn put_back(&self, image: &Image) {
        let mut files = lock(&self.files);
        let names: Vec<_> = files.by_name.keys().cloned().collect();
        names.iter().for_each(|name| files.remove(name));
        for (name, bytes) in &image.0 {
            let placeholder = fs::File::create(files.path.join(name)).expect("an empty file can be made");
            files.by_name.insert(name.clone(), Arc::new(Mutex::new(File::durable(placeholder, bytes.clone()))));
        }
    }

    /// Writes everything to the disk, as the system does after a while.
    pub fn flush(&self) {
        lock(&self.files).by_name.values().for_each(|file| lock(file).sync());
    }

    /// Shows each file, by its name, as programs see it and as it is on the disk.
    pub fn read(&self, mut look: impl FnMut(&str, &[u8])) {
        let mut files = lock(&self.files);
        files.sweep();
        for (name, file) in &files.by_name {
            let file = lock(file);
            look(name, &file.live);
            if let Some(bytes) = file.on_disk().filter(|bytes| *bytes != file.live) {
                look(name, bytes);
            }
        }
    }
}

impl Default for Folder {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        FOLDERS.write().unwrap_or_else(PoisonError::into_inner).remove(&self.path);
        debug_assert!(self.directory.path().exists(), "nobody else removes the folder");
    }
}

/// The folder in which a file lies, if that is one in memory, and the file's name.
pub(crate) fn folder_of(path: &Path) -> Option<(Arc<Mutex<Files>>, String)> {
    let name = path.file_name()?.to_str()?.to_owned();
    let folders = FOLDERS.read().unwrap_or_else(PoisonError::into_inner);
    Some((Arc::clone(folders.get(path.parent()?)?), name))
}

impl Files {
    /// One step of the disk; false if it does not work.
    pub(crate) fn step(&mut self) -> bool {
        self.steps += 1;
        self.cut |= self.fails_at.is_some_and(|at| self.steps > at);
        !self.cut
    }

    /// Whether a file may become so large.
    pub(crate) fn has_room(&self, more: usize) -> bool {
        self.room.is_none_or(|room| self.size() + more <= room)
    }

    fn size(&self) -> usize {
        self.by_name.values().map(|file| lock(file).live.len()).sum()
    }

    pub(crate) fn next_handle(&mut self) -> u64 {
        self.handles += 1;
        self.handles
    }

    /// The file, unless somebody has removed it without SQLite.
    pub(crate) fn find(&mut self, name: &str) -> Option<Arc<Mutex<File>>> {
        let file = self.by_name.get(name).cloned()?;
        let number = |metadata: std::io::Result<fs::Metadata>| metadata.map(|found| found.ino()).ok();
        let is_here = number(fs::metadata(self.path.join(name))) == number(lock(&file).placeholder.metadata());
        if !is_here {
            self.by_name.remove(name);
        }
        is_here.then_some(file)
    }

    pub(crate) fn create(&mut self, name: &str) -> std::io::Result<Arc<Mutex<File>>> {
        let file = Arc::new(Mutex::new(File::new(fs::File::create(self.path.join(name))?)));
        self.by_name.insert(name.to_owned(), Arc::clone(&file));
        Ok(file)
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.by_name.remove(name);
        // It may be gone already.
        let _gone = fs::remove_file(self.path.join(name));
    }

    /// Forgets what was removed without SQLite.
    fn sweep(&mut self) {
        let names: Vec<_> = self.by_name.keys().cloned().collect();
        for name in names {
            self.find(&name);
        }
    }
}

/// Nothing that holds one of these locks can panic half-way through a change.
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
