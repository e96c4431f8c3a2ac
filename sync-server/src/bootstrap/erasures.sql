-- Entries after $4 and up to $5 that erased documents or took changes out of them, by document, descending from below $3;
-- about $6 of them, but all of each document.
SELECT doc_id AS "doc_id!", seq AS "seq!", kind AS "kind!", device_time AS "device_time!", salt AS "salt!", payload AS "payload!"
FROM (
    (SELECT d.doc_id, e.seq, e.kind, e.device_time, e.salt, e.payload
     FROM documents d JOIN entries e ON e.feed = d.feed AND e.seq = d.erased_seq
     WHERE d.account = $1 AND d.feed = $2 AND d.doc_id < $3 AND d.erased_seq > $4 AND d.erased_seq <= $5
       AND e.salt IS NOT NULL AND e.payload IS NOT NULL
     ORDER BY d.doc_id DESC LIMIT $6)
    UNION ALL
    (SELECT v.doc_id, e.seq, e.kind, e.device_time, e.salt, e.payload
     FROM (SELECT DISTINCT doc_id, void_seq FROM left_out
           WHERE feed = $2 AND doc_id < $3 AND void_seq > $4 AND void_seq <= $5) AS v
     JOIN entries e ON e.feed = $2 AND e.seq = v.void_seq
     WHERE e.salt IS NOT NULL AND e.payload IS NOT NULL
     ORDER BY v.doc_id DESC FETCH FIRST $6 ROWS WITH TIES)
) AS ended
ORDER BY doc_id DESC FETCH FIRST $6 ROWS WITH TIES
