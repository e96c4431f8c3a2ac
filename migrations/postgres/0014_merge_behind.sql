-- no-transaction
-- The feeds of which not every entry is merged and clean: few, whoever asks about however many feeds.
CREATE INDEX CONCURRENTLY merge_queue_behind ON merge_queue (feed) WHERE merged_seq < head_seq OR clean_seq IS NOT NULL;
