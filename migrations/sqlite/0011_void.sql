-- Changes that the server took out of their documents, and what built on them: they are not taken in again, whoever sends them.
CREATE TABLE voided (
    doc_id      BLOB NOT NULL,
    change_hash BLOB NOT NULL,             -- 32 bytes
    n           INTEGER NOT NULL,          -- entries.n of the entry that says so
    PRIMARY KEY (doc_id, change_hash)
) WITHOUT ROWID, STRICT;

-- Documents of which something is stored that could not be applied: looked through at each opening.
CREATE INDEX documents_unapplied ON documents (doc_id) WHERE unapplied > 0;

