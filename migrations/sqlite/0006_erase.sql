-- Documents that were deleted for good. The row stays, so that the id is refused from then on; of each entry stay number, id,
-- kind and document, over which digests go.
ALTER TABLE documents ADD COLUMN erased INTEGER NOT NULL DEFAULT 0;  -- 1: nothing of its content is here any more
-- Entries without a change that could be read: emptied ones, those that erase, those of a newer version.
CREATE INDEX entries_emptied ON entries (entry_id) WHERE change_hash IS NULL;
