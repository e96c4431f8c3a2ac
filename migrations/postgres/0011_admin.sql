-- What whoever runs the server has set, for all of its nodes.
CREATE TABLE settings (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    signup_open boolean NOT NULL DEFAULT true                       -- whether anybody may make an account
);
INSERT INTO settings DEFAULT VALUES;

GRANT SELECT ON settings TO fitme_server;

-- Whoever runs the server sees which accounts there are, and nothing that is in them.
GRANT SELECT, UPDATE ON settings TO fitme_admin;
GRANT SELECT (account, email, role, created_at) ON accounts TO fitme_admin;
GRANT SELECT (account) ON confirmed_addresses TO fitme_admin;
GRANT SELECT (account, ended_at) ON sign_ins TO fitme_admin;
CREATE POLICY of_all ON accounts FOR SELECT TO fitme_admin USING (true);
CREATE POLICY of_all ON confirmed_addresses FOR SELECT TO fitme_admin USING (true);
CREATE POLICY of_everybody ON sign_ins FOR SELECT TO fitme_admin USING (true);
