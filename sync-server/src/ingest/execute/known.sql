-- Step 2: everything that is known of the offered entries, in one round trip. Each part looks its keys up in an index
-- and answers with the position (n, from 1) of the key it found.
--
-- LATERAL with LIMIT keeps the planner from joining the other way round, which would read whole tables. BETWEEN with ORDER
-- BY says "equal" so that the planner must take the index that is made for it: every index of `entries` begins with the
-- feed, and on tables that were small when the statement was prepared all of them look equally good; then each lookup
-- may read the whole feed until the next ANALYZE. Only one index has the order.

-- 1: entries by id: $1, $2
SELECT 1::smallint AS "part!", q.n AS "n!", e.seq AS number, NULL::bytea AS entry_id,
       NULL::bytea[] AS heads, NULL::uuid AS device, NULL::uuid AS account, NULL::bigint AS feed, NULL::bigint AS other
FROM UNNEST($1::bigint[], $2::bytea[]) WITH ORDINALITY AS q (feed, entry_id, n)
CROSS JOIN LATERAL (
    SELECT seq FROM entries
    WHERE feed = q.feed AND entry_id BETWEEN q.entry_id AND q.entry_id ORDER BY entry_id LIMIT 1
) AS e
UNION ALL
-- 2: changes by hash, the offered ones and those they depend on: $3, $4, $5
SELECT 2::smallint, q.n, e.seq, e.entry_id, NULL, NULL, NULL, NULL,
       (SELECT void_seq FROM left_out WHERE feed = q.feed AND doc_id = q.doc_id AND change_hash = q.change_hash LIMIT 1)
FROM UNNEST($3::bigint[], $4::bytea[], $5::bytea[]) WITH ORDINALITY AS q (feed, doc_id, change_hash, n)
CROSS JOIN LATERAL (
    SELECT seq, entry_id FROM entries
    WHERE feed = q.feed AND doc_id = q.doc_id AND change_hash BETWEEN q.change_hash AND q.change_hash
    ORDER BY change_hash LIMIT 1
) AS e
UNION ALL
-- 3: documents of the account: $6, $7
SELECT 3::smallint, q.n, d.payload_bytes, d.erased_id, d.heads, NULL, NULL, d.feed, d.erased_seq
FROM UNNEST($6::uuid[], $7::bytea[]) WITH ORDINALITY AS q (account, doc_id, n)
CROSS JOIN LATERAL (
    SELECT feed, heads, payload_bytes, erased_seq, erased_id FROM documents WHERE account = q.account AND doc_id = q.doc_id LIMIT 1
) AS d
UNION ALL
-- 4: the last sequence number of each actor in each document: $8, $9, $10
SELECT 4::smallint, q.n, e.actor_seq, NULL, NULL, NULL, NULL, NULL, NULL
FROM UNNEST($8::bigint[], $9::bytea[], $10::bytea[]) WITH ORDINALITY AS q (feed, doc_id, actor, n)
CROSS JOIN LATERAL (
    SELECT actor_seq FROM entries
    WHERE feed = q.feed AND doc_id = q.doc_id AND actor = q.actor ORDER BY actor_seq DESC LIMIT 1
) AS e
UNION ALL
-- 5: the device of each actor, whoever's it is, and its account if the group has to do with it: $11
SELECT 5::smallint, a.n, NULL, NULL, NULL, a.device, d.account, NULL, NULL
FROM devices_of_actors($11) AS a
LEFT JOIN LATERAL (SELECT account FROM devices WHERE device = a.device LIMIT 1) AS d ON true
UNION ALL
-- 6: what each account holds: $12
SELECT 6::smallint, q.n, u.bytes, NULL, NULL, NULL, NULL, NULL, u.documents
FROM UNNEST($12::uuid[]) WITH ORDINALITY AS q (account, n)
CROSS JOIN LATERAL (SELECT documents, bytes FROM account_usage WHERE account = q.account LIMIT 1) AS u
