-- Writes merged documents, each only onto the snapshot that it was merged from. $7 holds the heads of all documents one
-- after the other, $8 and $9 where each document's begin and end.
WITH new AS (
    SELECT feed, doc_id, is_new, from_seq, snapshot_seq, snapshot, ($7::bytea[])[first_head:last_head] AS heads
    FROM UNNEST($1::bigint[], $2::bytea[], $3::bool[], $4::bigint[], $5::bigint[], $6::bytea[], $8::int[], $9::int[])
        AS new (feed, doc_id, is_new, from_seq, snapshot_seq, snapshot, first_head, last_head)
), inserted AS (
    INSERT INTO snapshots (feed, doc_id, snapshot_seq, heads, snapshot)
    SELECT feed, doc_id, snapshot_seq, heads, snapshot FROM new WHERE is_new
    ON CONFLICT DO NOTHING
    RETURNING 1
), updated AS (
    UPDATE snapshots s
    SET snapshot_seq = new.snapshot_seq, heads = new.heads, snapshot = new.snapshot, quarantined = NULL
    FROM new
    WHERE NOT new.is_new AND s.feed = new.feed AND s.doc_id = new.doc_id AND s.snapshot_seq = new.from_seq
    RETURNING 1
)
SELECT (SELECT count(*) FROM inserted) + (SELECT count(*) FROM updated) AS "count!"
