-- Steps 3 and 4: the plan's rows, in one round trip. Rows come in ascending order of their keys, and the tables in the
-- order of the counts at the end, so that groups which share an actor or a document wait in line and not in a circle.
WITH appended AS (
    -- No ON CONFLICT: duplicates were found before numbering, and one that was left out here would leave a gap.
    INSERT INTO entries (
        feed, seq, entry_id, kind, doc_id, change_hash, actor, actor_seq, author, device_time, digest, salt, payload,
        offered_by, clock_offset_ms)
    SELECT * FROM UNNEST(
        $1::bigint[], $2::bigint[], $3::bytea[], $4::smallint[], $5::bytea[], $6::bytea[], $7::bytea[], $8::bigint[],
        $9::uuid[], $10::bigint[], $11::bytea[], $12::bytea[], $13::bytea[], $32::uuid[], $33::bigint[])
    RETURNING 1
), placed AS (
    -- $18 holds the heads of all documents one after the other, $19 and $20 where each document's begin and end.
    -- A document that another feed took in the meantime is not touched: the count tells.
    INSERT INTO documents (account, doc_id, feed, payload_bytes, heads)
    SELECT account, doc_id, feed, payload_bytes, ($18::bytea[])[first_head:last_head]
    FROM UNNEST($14::uuid[], $15::bytea[], $16::bigint[], $17::bigint[], $19::int[], $20::int[])
        AS new (account, doc_id, feed, payload_bytes, first_head, last_head)
    ON CONFLICT (account, doc_id) DO UPDATE SET heads = EXCLUDED.heads, payload_bytes = EXCLUDED.payload_bytes
    WHERE documents.feed = EXCLUDED.feed
    RETURNING 1
), bound AS (
    -- An actor that another device took in the meantime is not touched either.
    INSERT INTO actors (actor, device, last_entry_id, last_feed, last_seq)
    SELECT * FROM UNNEST($21::bytea[], $22::uuid[], $23::bytea[], $24::bigint[], $25::bigint[])
    ON CONFLICT (actor) DO UPDATE
    SET last_entry_id = EXCLUDED.last_entry_id, last_feed = EXCLUDED.last_feed, last_seq = EXCLUDED.last_seq
    WHERE actors.device = EXCLUDED.device
    RETURNING 1
), queued AS (
    INSERT INTO merge_queue (feed, head_seq)
    SELECT * FROM UNNEST($26::bigint[], $27::bigint[])
    ON CONFLICT (feed) DO UPDATE SET head_seq = EXCLUDED.head_seq
    RETURNING 1
), moved AS (
    UPDATE feeds SET head_seq = new.head_seq, digest = new.digest, touched_at = clock_timestamp()
    FROM UNNEST($26::bigint[], $27::bigint[], $28::bytea[]) AS new (feed, head_seq, digest)
    -- The second condition says nothing new, but it makes every plan of the join one by the index.
    WHERE feeds.feed = new.feed AND feeds.feed = ANY ($26)
    RETURNING 1
), counted AS (
    INSERT INTO account_usage (account, documents, bytes)
    SELECT * FROM UNNEST($29::uuid[], $30::bigint[], $31::bigint[])
    ON CONFLICT (account) DO UPDATE
    SET documents = account_usage.documents + EXCLUDED.documents, bytes = account_usage.bytes + EXCLUDED.bytes
    RETURNING 1
)
SELECT (SELECT count(*) FROM appended) AS "appended!",
       (SELECT count(*) FROM placed) AS "placed!",
       (SELECT count(*) FROM bound) AS "bound!",
       (SELECT count(*) FROM queued) AS "queued!",
       (SELECT count(*) FROM moved) AS "moved!",
       (SELECT count(*) FROM counted) AS "counted!"
