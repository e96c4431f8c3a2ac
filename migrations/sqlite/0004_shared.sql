-- Feeds of others that this account may read. What is in them lies in a store of its own for each owner, beside this one.
CREATE TABLE shared (
    wire       INTEGER PRIMARY KEY,        -- the server's number
    owner      BLOB NOT NULL,              -- whose it is: account id, 16 bytes
    owner_name TEXT NOT NULL,              -- how the owner wants to be seen
    collection TEXT NOT NULL,
    scope      TEXT NOT NULL,
    read_only  INTEGER NOT NULL            -- 1: the owner lets this account read and not write
) STRICT;
CREATE INDEX shared_owner ON shared (owner);
