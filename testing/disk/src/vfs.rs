//! SQLite's view of the folders: its tables of functions. Whatever does not lie in a folder is handed to the file system that
//! was the default before.

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::{Arc, Mutex, OnceLock};

use rusqlite::ffi::{
    self, SQLITE_BUSY, SQLITE_CANTOPEN, SQLITE_FULL, SQLITE_IOERR_DELETE, SQLITE_IOERR_READ, SQLITE_IOERR_SHORT_READ,
    SQLITE_IOERR_WRITE, SQLITE_NOTFOUND, SQLITE_OK, sqlite3_file, sqlite3_io_methods, sqlite3_vfs,
};

use crate::file::{File, FileLocks, SHARED_LOCKS};
use crate::folder::{Files, folder_of, lock};

/// As a file system says that is made of pages of flash.
const SECTOR_BYTES: c_int = 4096;

/// An open file. SQLite gives the memory and looks at the first field alone.
#[repr(C)]
struct Handle {
    methods: *const sqlite3_io_methods,
    open: *mut Open,
}

struct Open {
    number: u64,
    folder: Arc<Mutex<Files>>,
    file: Arc<Mutex<File>>,
    /// To be removed when it is closed.
    temporary: Option<String>,
}

/// The file system that was the default before.
struct Before(*mut sqlite3_vfs);

// SAFETY: SQLite itself uses its file systems from every thread; they are never changed after they were registered.
unsafe impl Send for Before {}
// SAFETY: as above.
unsafe impl Sync for Before {}

static BEFORE: OnceLock<Before> = OnceLock::new();

static METHODS: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 2,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(raise_lock),
    xUnlock: Some(lower_lock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: Some(map_shared),
    xShmLock: Some(lock_shared),
    xShmBarrier: Some(barrier),
    xShmUnmap: Some(unmap_shared),
    xFetch: None,
    xUnfetch: None,
};

/// Makes the disk in memory SQLite's default; again it changes nothing.
///
/// # Panics
/// When SQLite takes no file system.
pub fn install() {
    BEFORE.get_or_init(|| {
        // SAFETY: SQLite is initialised by the call, and the default file system lives as long as the process. The new one is
        // a copy of it, leaked, with other functions where files are named.
        unsafe {
            assert_eq!(ffi::sqlite3_initialize(), SQLITE_OK, "SQLite starts");
            let before = ffi::sqlite3_vfs_find(ptr::null());
            assert!(!before.is_null(), "SQLite has a file system");
            let mut ours = *before;
            ours.szOsFile = ours.szOsFile.max(size_of::<Handle>() as c_int);
            ours.pNext = ptr::null_mut();
            ours.zName = c"fitme-disk".as_ptr();
            ours.xOpen = Some(open);
            ours.xDelete = Some(delete);
            ours.xAccess = Some(access);
            assert_eq!(
                ffi::sqlite3_vfs_register(Box::leak(Box::new(ours)), 1),
                SQLITE_OK,
                "SQLite takes a file system"
            );
            Before(before)
        }
    });
}

fn before() -> *mut sqlite3_vfs {
    BEFORE.get().map_or(ptr::null_mut(), |before| before.0)
}

/// # Safety
/// `name` is null or a string as C has them.
unsafe fn path<'a>(name: *const c_char) -> Option<&'a Path> {
    // SAFETY: promised by the caller.
    (!name.is_null()).then(|| Path::new(OsStr::from_bytes(unsafe { CStr::from_ptr(name) }.to_bytes())))
}

/// # Safety
/// SQLite opens a file: its arguments are those of `xOpen`.
unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    out_flags: *mut c_int,
) -> c_int {
    // SAFETY: SQLite passes a string or null.
    let found = unsafe { path(name) }.and_then(folder_of);
    let Some((folder, file_name)) = found else {
        // SAFETY: the file system of before gets what SQLite passed, and a file with more room than it asked for.
        return unsafe {
            (*before()).xOpen.map_or(SQLITE_CANTOPEN, |open| open(before(), name, file, flags, out_flags))
        };
    };
    let handle = file.cast::<Handle>();
    // SAFETY: SQLite gives at least `szOsFile` bytes; without methods it does not close what was not opened.
    unsafe { (*handle).methods = ptr::null() };
    let mut files = lock(&folder);
    if !files.step() {
        return SQLITE_CANTOPEN;
    }
    let found = match files.find(&file_name) {
        Some(found) => found,
        None if flags & ffi::SQLITE_OPEN_CREATE == 0 => return SQLITE_CANTOPEN,
        None => match files.create(&file_name) {
            Ok(made) => made,
            Err(_) => return SQLITE_CANTOPEN,
        },
    };
    let number = files.next_handle();
    drop(files);
    let temporary = (flags & ffi::SQLITE_OPEN_DELETEONCLOSE != 0).then_some(file_name);
    let opened = Box::new(Open { number, folder, file: found, temporary });
    // SAFETY: as above; `out_flags` may be null.
    unsafe {
        (*handle).open = Box::into_raw(opened);
        (*handle).methods = &raw const METHODS;
        if !out_flags.is_null() {
            *out_flags = flags;
        }
    }
    SQLITE_OK
}

/// # Safety
/// Its arguments are those of `xDelete`.
unsafe extern "C" fn delete(_: *mut sqlite3_vfs, name: *const c_char, sync_directory: c_int) -> c_int {
    // SAFETY: SQLite passes a string.
    let Some((folder, file_name)) = unsafe { path(name) }.and_then(folder_of) else {
        // SAFETY: the file system of before gets what SQLite passed.
        return unsafe {
            (*before()).xDelete.map_or(SQLITE_IOERR_DELETE, |delete| delete(before(), name, sync_directory))
        };
    };
    let mut files = lock(&folder);
    if !files.step() {
        return SQLITE_IOERR_DELETE;
    }
    files.remove(&file_name);
    SQLITE_OK
}

/// # Safety
/// Its arguments are those of `xAccess`.
unsafe extern "C" fn access(_: *mut sqlite3_vfs, name: *const c_char, flags: c_int, out: *mut c_int) -> c_int {
    // SAFETY: SQLite passes a string.
    let Some((folder, file_name)) = unsafe { path(name) }.and_then(folder_of) else {
        // SAFETY: the file system of before gets what SQLite passed.
        return unsafe { (*before()).xAccess.map_or(SQLITE_CANTOPEN, |access| access(before(), name, flags, out)) };
    };
    let is_here = lock(&folder).find(&file_name).is_some_and(|file| {
        // As on a real disk, SQLite takes an empty journal for none.
        flags != ffi::SQLITE_ACCESS_EXISTS || !lock(&file).live.is_empty()
    });
    // SAFETY: SQLite passes a place for the answer.
    unsafe { *out = c_int::from(is_here) };
    SQLITE_OK
}

/// # Safety
/// `file` was opened by [`open`].
unsafe fn opened<'a>(file: *mut sqlite3_file) -> &'a mut Open {
    // SAFETY: promised by the caller; SQLite uses a file in one thread at a time.
    unsafe { &mut *(*file.cast::<Handle>()).open }
}

/// # Safety
/// As [`opened`], and it is used no more.
unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    // SAFETY: it was leaked by `open` and is taken back once.
    let open = unsafe { Box::from_raw((*file.cast::<Handle>()).open) };
    let mut inner = lock(&open.file);
    inner.locks.lower(open.number, 0);
    inner.shared.leave(open.number);
    drop(inner);
    if let Some(name) = &open.temporary {
        lock(&open.folder).remove(name);
    }
    SQLITE_OK
}

/// # Safety
/// As [`opened`]; `buffer` has `amount` bytes.
unsafe extern "C" fn read(file: *mut sqlite3_file, buffer: *mut c_void, amount: c_int, offset: i64) -> c_int {
    // SAFETY: promised by the caller.
    let (open, buffer) =
        unsafe { (opened(file), std::slice::from_raw_parts_mut(buffer.cast::<u8>(), amount as usize)) };
    if lock(&open.folder).cut {
        return SQLITE_IOERR_READ;
    }
    let inner = lock(&open.file);
    let from = usize::try_from(offset).unwrap_or(usize::MAX).min(inner.live.len());
    let there = &inner.live[from..inner.live.len().min(from + buffer.len())];
    buffer[..there.len()].copy_from_slice(there);
    buffer[there.len()..].fill(0);
    if there.len() == buffer.len() { SQLITE_OK } else { SQLITE_IOERR_SHORT_READ }
}

/// # Safety
/// As [`opened`]; `bytes` has `amount` bytes.
unsafe extern "C" fn write(file: *mut sqlite3_file, bytes: *const c_void, amount: c_int, offset: i64) -> c_int {
    // SAFETY: promised by the caller.
    let (open, bytes) = unsafe { (opened(file), std::slice::from_raw_parts(bytes.cast::<u8>(), amount as usize)) };
    let offset = usize::try_from(offset).unwrap_or_default();
    let mut files = lock(&open.folder);
    if !files.step() {
        return SQLITE_IOERR_WRITE;
    }
    let grows = (offset + bytes.len()).saturating_sub(lock(&open.file).live.len());
    if grows > 0 && !files.has_room(grows) {
        return SQLITE_FULL;
    }
    drop(files);
    lock(&open.file).write(offset, bytes);
    SQLITE_OK
}

/// # Safety
/// As [`opened`].
unsafe extern "C" fn truncate(file: *mut sqlite3_file, size: i64) -> c_int {
    // SAFETY: promised by the caller.
    let open = unsafe { opened(file) };
    if !lock(&open.folder).step() {
        return SQLITE_IOERR_WRITE;
    }
    lock(&open.file).truncate(usize::try_from(size).unwrap_or_default());
    SQLITE_OK
}

/// # Safety
/// As [`opened`].
unsafe extern "C" fn sync(file: *mut sqlite3_file, _: c_int) -> c_int {
    // SAFETY: promised by the caller.
    let open = unsafe { opened(file) };
    if !lock(&open.folder).step() {
        return SQLITE_IOERR_WRITE;
    }
    lock(&open.file).sync();
    SQLITE_OK
}

/// # Safety
/// As [`opened`].
unsafe extern "C" fn file_size(file: *mut sqlite3_file, out: *mut i64) -> c_int {
    // SAFETY: promised by the caller; SQLite passes a place for the answer.
    unsafe { *out = lock(&opened(file).file).live.len() as i64 };
    SQLITE_OK
}

/// # Safety
/// As [`opened`].
unsafe extern "C" fn raise_lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: promised by the caller.
    let open = unsafe { opened(file) };
    if lock(&open.file).locks.raise(open.number, level) { SQLITE_OK } else { SQLITE_BUSY }
}

/// # Safety
/// As [`opened`].
unsafe extern "C" fn lower_lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    // SAFETY: promised by the caller.
    let open = unsafe { opened(file) };
    lock(&open.file).locks.lower(open.number, level);
    SQLITE_OK
}

/// # Safety
/// As [`opened`].
unsafe extern "C" fn check_reserved_lock(file: *mut sqlite3_file, out: *mut c_int) -> c_int {
    // SAFETY: promised by the caller; SQLite passes a place for the answer.
    unsafe { *out = c_int::from(lock(&opened(file).file).locks.is_reserved()) };
    SQLITE_OK
}

unsafe extern "C" fn file_control(_: *mut sqlite3_file, _: c_int, _: *mut c_void) -> c_int {
    SQLITE_NOTFOUND
}

unsafe extern "C" fn sector_size(_: *mut sqlite3_file) -> c_int {
    SECTOR_BYTES
}

/// What lies beside written bytes is safe when the power fails, as SQLite takes for granted of every disk.
unsafe extern "C" fn device_characteristics(_: *mut sqlite3_file) -> c_int {
    ffi::SQLITE_IOCAP_POWERSAFE_OVERWRITE
}

/// # Safety
/// As [`opened`]; `out` is a place for an address.
unsafe extern "C" fn map_shared(
    file: *mut sqlite3_file,
    region: c_int,
    _: c_int,
    extend: c_int,
    out: *mut *mut c_void,
) -> c_int {
    // SAFETY: promised by the caller.
    let open = unsafe { opened(file) };
    let address = lock(&open.file).shared.region(open.number, region as usize, extend != 0);
    // SAFETY: as above.
    unsafe { *out = address.map_or(ptr::null_mut(), <*mut u64>::cast) };
    SQLITE_OK
}

/// # Safety
/// As [`opened`].
unsafe extern "C" fn lock_shared(file: *mut sqlite3_file, offset: c_int, count: c_int, flags: c_int) -> c_int {
    // SAFETY: promised by the caller.
    let open = unsafe { opened(file) };
    let places = offset as usize..((offset + count) as usize).min(SHARED_LOCKS);
    let exclusive = flags & ffi::SQLITE_SHM_EXCLUSIVE != 0;
    let shared = &mut lock(&open.file).shared;
    if flags & ffi::SQLITE_SHM_UNLOCK != 0 {
        shared.unlock(open.number, places, exclusive);
        return SQLITE_OK;
    }
    if shared.lock(open.number, places, exclusive) { SQLITE_OK } else { SQLITE_BUSY }
}

/// One thread at a time uses a folder.
unsafe extern "C" fn barrier(_: *mut sqlite3_file) {}

/// # Safety
/// As [`opened`].
unsafe extern "C" fn unmap_shared(file: *mut sqlite3_file, _: c_int) -> c_int {
    // SAFETY: promised by the caller.
    let open = unsafe { opened(file) };
    lock(&open.file).shared.leave(open.number);
    SQLITE_OK
}

const _: () = assert!(FileLocks::SHARED == 1 && FileLocks::EXCLUSIVE == 4, "SQLite's levels");
