-- no-transaction
-- The quarantined documents of a feed, the one that was merged least first.
CREATE INDEX CONCURRENTLY snapshots_quarantined ON snapshots (feed, snapshot_seq) WHERE quarantined IS NOT NULL;
