-- How far those of some feeds are merged whose merge is behind, or that have documents in quarantine: of all the others every
-- entry is. Only feeds of the transaction's accounts are told of, as behind the wall; the policy of merge_queue, though, has
-- PostgreSQL read all feeds of these accounts first to look up the few that are behind, and a trainer has a thousand. Sessions
-- ask it when they begin, so the statement is planned once for a connection.
CREATE FUNCTION merges_behind(feeds bigint[]) RETURNS TABLE (feed bigint, clean_seq bigint, merged_seq bigint)
    LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
#variable_conflict use_column
DECLARE
    accounts constant uuid[] := walled_accounts();
BEGIN
    RETURN QUERY SELECT q.feed, coalesce(q.clean_seq, q.merged_seq), q.merged_seq
        FROM merge_queue q CROSS JOIN LATERAL (SELECT f.account FROM feeds f WHERE f.feed = q.feed LIMIT 1) AS whose
        WHERE q.feed = ANY (merges_behind.feeds) AND (q.merged_seq < q.head_seq OR q.clean_seq IS NOT NULL)
          AND whose.account = ANY (accounts);
END
$$;
REVOKE EXECUTE ON FUNCTION merges_behind FROM PUBLIC;
GRANT EXECUTE ON FUNCTION merges_behind TO fitme_server;
