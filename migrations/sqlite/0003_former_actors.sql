-- Actors with which this home wrote before its writers drew new ones: what they wrote is this device's own.
CREATE TABLE former_actors (
    actor BLOB PRIMARY KEY                 -- 16 bytes
) WITHOUT ROWID, STRICT;
