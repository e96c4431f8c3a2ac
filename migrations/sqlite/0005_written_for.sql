-- Others into whose feeds this device has written something that the server does not have, or has refused.
CREATE TABLE written_for (
    owner BLOB PRIMARY KEY                 -- account id, 16 bytes
) WITHOUT ROWID, STRICT;
