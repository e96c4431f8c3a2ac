-- What the server's clock said at contacts with it, and how far the entries here were then: each was written after the last
-- reading of one row and before the first of the next.
CREATE TABLE clock (
    n              INTEGER PRIMARY KEY,    -- entries up to here were here
    measured_at    INTEGER NOT NULL,       -- ms UTC by this device's clock
    offset_ms      INTEGER NOT NULL,       -- how far the server's clock was ahead of it
    last_at        INTEGER NOT NULL,       -- the same for the last contact before the next entry
    last_offset_ms INTEGER NOT NULL
) STRICT;
