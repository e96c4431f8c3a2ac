-- The roles of the server (docs/adr/0007-the-second-wall.md). They belong to the cluster, not to a database: this runs
-- before the migrations, each time, and changes nothing where they are. Nobody logs in as one of them.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY ARRAY['fitme_server', 'fitme_poll', 'fitme_merge', 'fitme_tidy'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = wanted) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', wanted);
            EXCEPTION WHEN duplicate_object OR unique_violation THEN
                NULL;  -- another database of the cluster is migrated at this moment
            END;
        END IF;
    END LOOP;
END
$$;
