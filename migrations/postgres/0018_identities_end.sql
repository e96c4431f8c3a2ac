-- Whoever proves by mail that an account is theirs ends what else may enter it.
GRANT DELETE ON oidc_identities TO fitme_server;
