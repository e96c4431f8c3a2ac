-- Until where a feed is merged without a document in quarantine. Devices are told this number and not merged_seq: they keep
-- the commands of later entries, to make them again once an operator has decided about the document. NULL until the first
-- merge after this migration; then merged_seq stands in for it.
SET LOCAL lock_timeout = '2s';
ALTER TABLE merge_queue ADD COLUMN clean_seq bigint;
