-- no-transaction
-- The erased documents of a feed, in the order in which a device that is far behind hears of them. They are few; without this
-- index each page of them would read all documents of the account.
CREATE INDEX CONCURRENTLY documents_erased ON documents (feed, doc_id) WHERE erased_seq IS NOT NULL;
