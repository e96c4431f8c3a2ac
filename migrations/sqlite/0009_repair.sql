-- Feeds whose history at the server became another one: their documents are to be compared with the server's, which may lack
-- what is here. Own ones and those of others.
CREATE TABLE repairs_owed (
    wire INTEGER PRIMARY KEY               -- the server's number
) STRICT;
-- What the server is found to lack is queued again, whoever wrote it.
ALTER TABLE outbox ADD COLUMN offered INTEGER NOT NULL DEFAULT 0;  -- 1: this device does not say that it wrote it
