-- no-transaction
-- A feed's documents in the order of their ids: what a device compares with what it holds when one of the two was restored.
CREATE INDEX CONCURRENTLY documents_of_feed ON documents (feed, doc_id);
