-- What this device wrote for somebody who ended what was shared before the server had it. It is kept here until it is discarded,
-- because their store goes with the feed, and without the record around it, which is theirs.
CREATE TABLE rejected_for (
    n           INTEGER PRIMARY KEY,
    entry_id    BLOB NOT NULL UNIQUE,      -- 16 bytes; a receipt that comes after all names it
    owner_name  TEXT NOT NULL,             -- how the owner wanted to be seen
    doc_id      BLOB NOT NULL,             -- 16 bytes
    collection  TEXT NOT NULL,
    code        TEXT NOT NULL,
    message     TEXT NOT NULL,
    rejected_at INTEGER NOT NULL,          -- ms UTC by this device's clock
    command     TEXT NOT NULL              -- JSON: what the person asked for
) STRICT;
