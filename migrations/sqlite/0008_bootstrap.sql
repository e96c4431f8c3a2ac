-- Documents that came whole, as snapshots, and how far each feed has come with them. Their changes have no rows in `entries`:
-- which changes such a document holds is asked of the document.
ALTER TABLE documents ADD COLUMN received_seq INTEGER NOT NULL DEFAULT 0;  -- the server's number up to which it came as a snapshot; 0 = it did not
ALTER TABLE documents ADD COLUMN unproved INTEGER NOT NULL DEFAULT 0;      -- 1: it was never loaded; heads and list columns are the server's

-- Feeds whose snapshots are on their way, until the last page, or are not wanted, until the cursor is at `upto`.
CREATE TABLE bootstraps (
    feed     INTEGER PRIMARY KEY REFERENCES feeds,
    epoch    BLOB NOT NULL,                -- 8 bytes: in which it began
    upto     INTEGER NOT NULL,             -- the entries up to here come as snapshots, or as entries with pass 0
    pass     INTEGER NOT NULL,             -- 1 recent documents, 2 all others, 3 erasures; 0 = entries instead
    last_doc BLOB,                         -- the pass goes on below it; NULL = from its beginning
    stored   INTEGER NOT NULL DEFAULT 0,   -- documents that came
    total    INTEGER NOT NULL DEFAULT 0    -- of so many
) STRICT;
