-- A sign-in under way that would link an identity with an account goes with the account.
SET LOCAL lock_timeout = '2s';
ALTER TABLE oidc_sign_ins DROP CONSTRAINT oidc_sign_ins_links_fkey,
    ADD CONSTRAINT oidc_sign_ins_links_fkey FOREIGN KEY (links) REFERENCES accounts ON DELETE CASCADE;
