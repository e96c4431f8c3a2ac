//! Every bound of the protocol and of stored content. The sender enforces them, the receiver checks them while reading.

/// A WebSocket message or one part of a one-shot body, as sent.
pub const FRAME_BYTES: usize = 1 << 20;
/// The same after decompression.
pub const FRAME_DECOMPRESSED_BYTES: usize = 8 << 20;
/// Frames at least this long are compressed; below, zstd's own header costs what it saves.
pub const COMPRESS_FROM_BYTES: usize = 512;
/// Items in one frame (entries, feeds, receipts, digests), counted before any is decoded.
pub const FRAME_ITEMS: usize = 12_000;
/// zstd level of frames: level 1 is where phones spend less time compressing than the radio would take sending.
pub const COMPRESSION_LEVEL: i32 = 1;
/// The payload of one entry.
pub const ENTRY_BYTES: usize = 256 << 10;
/// The name of the cause for which the server erased a document: the payload of that entry.
pub const CAUSE_BYTES: usize = 32;
/// Operations in one change.
pub const CHANGE_OPERATIONS: u64 = 10_000;
/// Dependencies of one change, and heads of one document. Two devices make two; more than this is an attack.
pub const CHANGE_DEPENDENCIES: u64 = 256;
/// Entries in one push.
pub const PUSH_ENTRIES: usize = 500;
/// Payload bytes in one push: well inside a frame even when nothing compresses.
pub const PUSH_BYTES: usize = 512 << 10;
/// Operations in one push, counted without decoding them: a few bytes can claim thousands, and 200,000 are about 80 ms of
/// reading. The longest note alone is 65,000.
pub const PUSH_OPERATIONS: u64 = 200_000;
/// Pushes a device may have sent without having their receipts.
pub const PUSHES_IN_FLIGHT: usize = 4;
/// One document: the sum of its changes' payloads.
pub const DOCUMENT_BYTES: u64 = 1 << 20;
/// Cursors travel in `Hello` when they fit so many bytes; beyond, the summary alone goes first.
pub const HELLO_CURSOR_BYTES: usize = 200;
/// Entry bytes the server sends before the device confirms (by `Credit`) that it has stored them.
pub const UNCONFIRMED_BYTES: u64 = 4 << 20;
/// Payload bytes the server gathers into one `Entries` frame: the page over which zstd finds what entries share.
pub const ENTRIES_PAGE_BYTES: usize = 256 << 10;
/// Entries in one `Entries` frame.
pub const ENTRIES_PAGE: usize = 2_000;
/// Points at which a device says what its history of a feed is, when that differs from the server's: each is twice as far
/// back as the one before, so they reach to the beginning.
pub const LOCATOR_POINTS: usize = 64;
/// Entries that a server says it has lost or holds damaged, in one message.
pub const WANTED_ENTRIES: usize = 512;
/// Feeds of which a device says so in one message.
pub const LOCATED_FEEDS: usize = 64;
/// A feed that is further behind than this comes as snapshots. So many entries are a tenth of a second of a phone's work, and
/// mostly fewer bytes than all the documents that they touch; of a longer way a snapshot is stored without being loaded, for
/// a tenth of what merging one entry takes.
pub const BOOTSTRAP_FROM_ENTRIES: u64 = 200;
/// Documents whose record lies so many days back at most come first.
pub const BOOTSTRAP_RECENT_DAYS: i64 = 90;
/// Bytes of snapshots, list columns and entries that the server gathers into one page.
pub const BOOTSTRAP_PAGE_BYTES: usize = 256 << 10;
/// Documents, or erasures, in one page.
pub const BOOTSTRAP_PAGE: usize = 512;
/// A larger snapshot travels in parts of so many bytes.
pub const SNAPSHOT_PART_BYTES: usize = 256 << 10;
/// One snapshot; of a document with a larger one the entries are sent, which have a bound of their own.
pub const SNAPSHOT_BYTES: usize = 4 << 20;
/// What a list shows of a record, as JSON; where it is more the device projects the document itself.
pub const COLUMNS_BYTES: usize = 64 << 10;
/// Feeds in one session.
pub const FEEDS: usize = 10_000;
/// Actors a device names in `Hello`: app, extensions, background processes.
pub const ACTORS: usize = 16;
/// A token in `Renew`.
pub const TOKEN_BYTES: usize = 1_024;
/// One-shot exchange: bytes of the request's push.
pub const ONCE_PUSH_BYTES: usize = 256 << 10;
/// One-shot exchange: bytes of the answer, unless the request asks for less.
pub const ONCE_ANSWER_BYTES: usize = 4 << 20;
/// Feeds that all grants of one account name together: a hundred people who see everything.
pub const GRANTED_FEEDS_OF_AN_ACCOUNT: u64 = 2_000;
/// Feeds that others grant one account together: with its own they fit one session.
pub const GRANTED_FEEDS_TO_AN_ACCOUNT: u64 = 9_000;
/// One free text (a note), in UTF-8 bytes.
pub const PROSE_BYTES: usize = 64 << 10;
/// One short text (a title, a name, a tag), in UTF-8 bytes.
pub const NAME_BYTES: usize = 256;
/// Items in one list of a record (exercises, sets of one exercise, laps, foods of a meal).
pub const LIST_ITEMS: usize = 2_000;
/// One account: the sum of its documents' changes. Twenty records a day, workouts logged set by set, are 5 MB a year; this
/// is eight hundred years of that, and still a disk that an attacker cannot fill with one account.
pub const ACCOUNT_BYTES: u64 = 4 << 30;
/// Records of one account, those in the trash included: a hundred a day for 27 years.
pub const ACCOUNT_DOCUMENTS: u64 = 1_000_000;
/// Sockets of one device on one node: every writer of a home may have its own.
pub const DEVICE_SOCKETS: usize = ACTORS;
/// Frames a second of one device, over all its sockets and one-shot exchanges, in the long run. A device that pushes
/// entries one by one as fast as receipts come back sends some hundreds; so many cost the server a twentieth of a core.
pub const DEVICE_FRAMES_PER_SECOND: u32 = 1_000;
/// Frames that a device may send at once, after a pause.
pub const DEVICE_FRAMES_BURST: u32 = 10_000;
