-- All documents that changed after $3, by document id, descending from below $2; so many that their bytes first reach $6. Left
-- out are recent records whose snapshot holds nothing after $10: they came before.
SELECT found AS "found!", doc_id AS "doc_id!", snapshot_seq AS "snapshot_seq!", heads AS "heads!", quarantined AS "quarantined!",
       CASE WHEN octet_length(snapshot) <= $7 THEN snapshot END AS snapshot, COALESCE(payload_bytes, 0) AS "payload_bytes!",
       at AS "at?", trashed AS "trashed?", CASE WHEN projection_version = $8 THEN columns::text END AS columns
FROM (
    SELECT *, count(*) OVER () AS found, sum(bytes) OVER (ORDER BY doc_id DESC) - bytes AS bytes_before
    FROM (
        SELECT s.doc_id, s.snapshot_seq, s.heads, s.snapshot, s.quarantined IS NOT NULL AS quarantined, d.payload_bytes,
               r.at, r.trashed, r.columns, r.projection_version,
               octet_length(s.snapshot) + COALESCE(pg_column_size(r.columns), 0)
                   + CASE WHEN s.quarantined IS NULL THEN 0 ELSE COALESCE(d.payload_bytes, 0) END AS bytes
        FROM snapshots s LEFT JOIN records r ON r.feed = s.feed AND r.doc_id = s.doc_id
        LEFT JOIN LATERAL (
            SELECT payload_bytes FROM documents WHERE account = $9 AND doc_id = s.doc_id LIMIT 1
        ) AS d ON true
        WHERE s.feed = $1 AND s.doc_id < $2 AND (s.snapshot_seq > $3 OR s.quarantined IS NOT NULL)
          AND NOT (s.snapshot_seq <= $10 AND s.quarantined IS NULL AND r.doc_id IS NOT NULL
                   AND (r.at >= $4 OR r.at IS NULL))
        ORDER BY s.doc_id DESC LIMIT $5
    ) AS next
) AS sized
WHERE bytes_before < $6
ORDER BY doc_id DESC
