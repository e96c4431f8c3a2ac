-- Sign-in by a provider, behind the wall (0007). Sign-ins under way stand before it: most are of nobody yet, and are found by
-- hashes of secrets alone.

CALL wall_by_account('oidc_identities');
GRANT SELECT, INSERT ON oidc_identities TO fitme_server;
GRANT SELECT, INSERT, UPDATE, DELETE ON oidc_sign_ins TO fitme_server;
GRANT SELECT (expires_at), DELETE ON oidc_sign_ins TO fitme_tidy;

-- A door: the account that somebody whom the provider named may enter.
CREATE FUNCTION account_of_identity(issuer text, subject text) RETURNS uuid LANGUAGE sql STABLE SECURITY DEFINER
    RETURN (SELECT i.account FROM oidc_identities i
            WHERE i.issuer = account_of_identity.issuer AND i.subject = account_of_identity.subject);
REVOKE EXECUTE ON FUNCTION account_of_identity FROM PUBLIC;
GRANT EXECUTE ON FUNCTION account_of_identity TO fitme_server;
