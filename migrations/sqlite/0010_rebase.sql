-- Rebase: what the server refuses leaves its document, and what was written on top of it is written again.

-- What ids of new items were drawn from: a command that is written again makes the same ones. NULL before this migration.
ALTER TABLE outbox ADD COLUMN seed INTEGER;
ALTER TABLE outbox ADD COLUMN replays INTEGER NOT NULL DEFAULT 0;  -- how often the command was written again
-- As in outbox; their entries go when they are refused. NULL before this migration.
ALTER TABLE rejected ADD COLUMN seed INTEGER;
ALTER TABLE rejected ADD COLUMN feed INTEGER;
ALTER TABLE rejected ADD COLUMN entry_id BLOB;

-- The actor of a writer in one document, where changes under its usual one were left out: their numbers are not used again.
CREATE TABLE document_actors (
    doc_id BLOB NOT NULL,
    writer TEXT NOT NULL,                  -- writers.name
    actor  BLOB NOT NULL,                  -- 16 bytes
    PRIMARY KEY (doc_id, writer)
) WITHOUT ROWID, STRICT;

-- The highest n of an entry that is not here any more. Receipts under way name entries by n, so none is given twice.
CREATE TABLE spent (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    n        INTEGER NOT NULL
) STRICT;

-- Documents of which an earlier version left the refused changes where they were.
CREATE INDEX documents_blocked ON documents (doc_id) WHERE blocked = 1;
