-- What each account holds, counted by ingest in the transaction that appends: its bounds cost one lookup, however much
-- there is. What exists is counted here, once; that reads `documents` and locks nothing that ingest waits for. What nodes
-- of the version before append while both run is not counted: the bounds leave room for far more.
CREATE TABLE account_usage (
    account   uuid   PRIMARY KEY,
    documents bigint NOT NULL,                      -- records, those in the trash included
    bytes     bigint NOT NULL                       -- sum of documents.payload_bytes
) WITH (fillfactor = 50);
INSERT INTO account_usage (account, documents, bytes)
SELECT account, count(*), sum(payload_bytes) FROM documents GROUP BY account;
