-- Each page received forgets the commands that cursor and merge have passed. Without this index it read the whole outbox,
-- which is long exactly when much is received: after a backlog was pushed. Only accepted entries (state 1) are in it, so
-- that a local write does not pay for it.
CREATE INDEX outbox_settled ON outbox (feed, seq) WHERE state = 1;
