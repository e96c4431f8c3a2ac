SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;
SET default_tablespace = '';
SET default_table_access_method = heap;
CREATE TABLE public.devices (
    device uuid NOT NULL,
    account uuid NOT NULL,
    name text NOT NULL,
    token_hash bytea,
    token_expires_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    public_key bytea,
    revoked_at bigint,
    lost boolean DEFAULT false NOT NULL,
    CONSTRAINT devices_name_check CHECK ((octet_length(name) <= 128)),
    CONSTRAINT devices_token_hash_check CHECK ((octet_length(token_hash) = 32))
);
CREATE FUNCTION public.account_of_device(device uuid) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER
    RETURN (SELECT d.account FROM public.devices d WHERE (d.device = account_of_device.device));
CREATE TABLE public.accounts (
    account uuid NOT NULL,
    email text NOT NULL,
    password_hash text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    role text DEFAULT 'member'::text NOT NULL,
    CONSTRAINT accounts_email_check CHECK ((octet_length(email) <= 254)),
    CONSTRAINT accounts_role_check CHECK ((role = ANY (ARRAY['member'::text, 'trainer'::text, 'nutritionist'::text, 'therapist'::text, 'doctor'::text, 'service'::text, 'admin'::text])))
);
CREATE FUNCTION public.account_of_email(email text) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER
    RETURN (SELECT a.account FROM public.accounts a WHERE (lower(a.email) = lower(account_of_email.email)));
CREATE TABLE public.oidc_identities (
    issuer text NOT NULL,
    subject text NOT NULL,
    account uuid NOT NULL,
    linked_at bigint NOT NULL,
    CONSTRAINT oidc_identities_issuer_check CHECK ((octet_length(issuer) <= 512)),
    CONSTRAINT oidc_identities_subject_check CHECK ((octet_length(subject) <= 255))
);
CREATE FUNCTION public.account_of_identity(issuer text, subject text) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER
    RETURN (SELECT i.account FROM public.oidc_identities i WHERE ((i.issuer = account_of_identity.issuer) AND (i.subject = account_of_identity.subject)));
CREATE TABLE public.invites (
    code_hash bytea NOT NULL,
    grantee uuid NOT NULL,
    grantee_name text NOT NULL,
    role text NOT NULL,
    purpose text NOT NULL,
    feeds jsonb NOT NULL,
    days integer,
    expires_at timestamp with time zone NOT NULL,
    accepted_by uuid,
    accepted_at timestamp with time zone,
    CONSTRAINT invites_code_hash_check CHECK ((octet_length(code_hash) = 32)),
    CONSTRAINT invites_days_check CHECK ((days > 0)),
    CONSTRAINT invites_grantee_name_check CHECK ((octet_length(grantee_name) <= 256))
);
CREATE FUNCTION public.account_of_invite(hash bytea) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER
    RETURN (SELECT invites.grantee FROM public.invites WHERE (invites.code_hash = account_of_invite.hash));
CREATE TABLE public.mailed_tokens (
    account uuid NOT NULL,
    purpose text NOT NULL,
    token_hash bytea NOT NULL,
    expires_at bigint NOT NULL,
    CONSTRAINT mailed_tokens_purpose_check CHECK ((purpose = ANY (ARRAY['confirm'::text, 'reset'::text]))),
    CONSTRAINT mailed_tokens_token_hash_check CHECK ((octet_length(token_hash) = 32))
);
CREATE FUNCTION public.account_of_mailed_token(hash bytea) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER
    RETURN (SELECT mailed_tokens.account FROM public.mailed_tokens WHERE (mailed_tokens.token_hash = account_of_mailed_token.hash));
CREATE TABLE public.sign_ins (
    sign_in uuid NOT NULL,
    account uuid NOT NULL,
    device uuid NOT NULL,
    family_hash bytea NOT NULL,
    generation bigint DEFAULT 0 NOT NULL,
    token_hash bytea NOT NULL,
    previous_hash bytea,
    successor_key bytea,
    exchanged_at bigint NOT NULL,
    started_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    ended_at timestamp with time zone,
    ended_because text,
    CONSTRAINT sign_ins_family_hash_check CHECK ((octet_length(family_hash) = 32)),
    CONSTRAINT sign_ins_token_hash_check CHECK ((octet_length(token_hash) = 32))
)
WITH (fillfactor='80');
CREATE FUNCTION public.account_of_token(hash bytea) RETURNS uuid
    LANGUAGE sql STABLE SECURITY DEFINER
    RETURN COALESCE((SELECT sign_ins.account FROM public.sign_ins WHERE (sign_ins.family_hash = account_of_token.hash)), (SELECT devices.account FROM public.devices WHERE (devices.token_hash = account_of_token.hash)));
CREATE FUNCTION public.devices_of_actors(actors bytea[]) RETURNS TABLE(n bigint, device uuid)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    RETURN QUERY SELECT asked.n, known.device
        FROM unnest(devices_of_actors.actors) WITH ORDINALITY AS asked (actor, n)
        CROSS JOIN LATERAL (SELECT a.device FROM actors a WHERE a.actor = asked.actor LIMIT 1) AS known;
END
$$;
CREATE FUNCTION public.empty_documents(feed_numbers bigint[], doc_ids bytea[], seqs bigint[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
DECLARE
    gone record;
BEGIN
    FOR gone IN
        SELECT asked.feed, asked.doc_id, asked.seq
        FROM unnest(feed_numbers, doc_ids, seqs) AS asked (feed, doc_id, seq)
        JOIN entries e ON e.feed = asked.feed AND e.seq = asked.seq AND e.doc_id = asked.doc_id AND e.kind = 3
    LOOP
        UPDATE entries SET payload = NULL, salt = NULL, change_hash = NULL
        WHERE feed = gone.feed AND doc_id = gone.doc_id AND seq < gone.seq;
        DELETE FROM snapshots WHERE feed = gone.feed AND doc_id = gone.doc_id;
        DELETE FROM records WHERE feed = gone.feed AND doc_id = gone.doc_id;
    END LOOP;
END
$$;
CREATE FUNCTION public.erase_account(gone uuid) RETURNS TABLE(part text, removed bigint)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $_$
DECLARE
    its_feeds bigint[];
    its_devices uuid[];
    step record;
    counts jsonb := '{}';
    n bigint;
BEGIN
    PERFORM FROM accounts WHERE account = gone FOR UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    -- In ascending order like ingest: whoever is appending is waited for, and later ones find no feed.
    PERFORM FROM feeds WHERE account = gone ORDER BY feed FOR UPDATE;
    its_feeds := ARRAY(SELECT feed FROM feeds WHERE account = gone);
    its_devices := ARRAY(SELECT device FROM devices WHERE account = gone);
    INSERT INTO retired_feeds SELECT unnest(its_feeds) ON CONFLICT DO NOTHING;
    INSERT INTO erased_devices (device) SELECT unnest(its_devices) ON CONFLICT DO NOTHING;
    DELETE FROM erasures WHERE account = gone;
    INSERT INTO erasures (account) VALUES (gone);
    -- Those to whom it granted anything hear that it ended.
    PERFORM note_regranted(ARRAY(SELECT DISTINCT grantee FROM grants_now WHERE account = gone));
    FOR step IN
        SELECT t.relname AS part, a.attname AS col,
               CASE a.attname WHEN 'feed' THEN '$2' WHEN 'device' THEN '$3' ELSE 'ARRAY[$1]' END AS its
        FROM pg_class t JOIN pg_attribute a ON a.attrelid = t.oid AND NOT a.attisdropped
        WHERE t.relnamespace = 'public'::regnamespace AND t.relkind IN ('r', 'p') AND NOT t.relispartition
          AND t.relname NOT IN ('erasures', 'erased_devices', 'retired_feeds')
          AND (a.attname IN ('account', 'grantee', 'accepted_by')
               OR a.attname IN ('feed', 'device') AND NOT EXISTS (
                   SELECT FROM pg_attribute b WHERE b.attrelid = t.oid AND b.attname = 'account' AND NOT b.attisdropped))
        -- What others refer to goes last. merge_queue goes before what is merged: then no worker writes it any more.
        ORDER BY array_position('{devices,feeds,accounts}'::name[], t.relname) NULLS FIRST, t.relname
    LOOP
        EXECUTE format('DELETE FROM %I WHERE %I = ANY (%s)', step.part, step.col, step.its) USING gone, its_feeds, its_devices;
        GET DIAGNOSTICS n = ROW_COUNT;
        counts := counts || jsonb_build_object(step.part, n + coalesce((counts ->> step.part)::bigint, 0));
    END LOOP;
    RETURN QUERY SELECT key, value::bigint FROM jsonb_each_text(counts) WHERE value <> '0' ORDER BY key;
END
$_$;
CREATE TABLE public.grants_now (
    account uuid NOT NULL,
    grant_id bytea NOT NULL,
    feed bigint NOT NULL,
    grantee uuid NOT NULL,
    access text NOT NULL,
    purpose text NOT NULL,
    shown_as text NOT NULL,
    from_ms bigint,
    until_ms bigint,
    CONSTRAINT grants_now_access_check CHECK ((access = ANY (ARRAY['read'::text, 'write'::text])))
);
CREATE FUNCTION public.feeds_granted_to(accounts uuid[]) RETURNS TABLE(grantee uuid, feeds bigint)
    LANGUAGE sql STABLE SECURITY DEFINER
    BEGIN ATOMIC
 SELECT g.grantee,
     count(*) AS count
    FROM public.grants_now g
   WHERE (g.grantee = ANY (feeds_granted_to.accounts))
   GROUP BY g.grantee;
END;
CREATE TABLE public.grantees (
    grantee uuid NOT NULL,
    version bigint DEFAULT 1 NOT NULL,
    changed_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE FUNCTION public.note_regranted(accounts uuid[]) RETURNS void
    LANGUAGE sql SECURITY DEFINER
    BEGIN ATOMIC
 INSERT INTO public.grantees (grantee)  SELECT account.account
            FROM unnest(note_regranted.accounts) account(account)
           ORDER BY account.account ON CONFLICT(grantee) DO UPDATE SET version = (grantees.version + 1), changed_at = clock_timestamp();
END;
CREATE TABLE public.feeds (
    feed bigint NOT NULL,
    account uuid NOT NULL,
    collection text NOT NULL,
    scope text DEFAULT ''::text NOT NULL,
    epoch bytea NOT NULL,
    head_seq bigint DEFAULT 0 NOT NULL,
    digest bytea DEFAULT '\x00000000000000000000000000000000'::bytea NOT NULL,
    touched_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT feeds_digest_check CHECK ((octet_length(digest) = 16)),
    CONSTRAINT feeds_epoch_check CHECK ((octet_length(epoch) = 8)),
    CONSTRAINT feeds_feed_check CHECK (((feed > 0) AND (feed < '281474976710656'::bigint)))
)
WITH (fillfactor='70');
CREATE FUNCTION public.places_of_feeds(feeds bigint[]) RETURNS TABLE(feed bigint, account uuid, collection text, scope text, grants bigint)
    LANGUAGE sql STABLE SECURITY DEFINER
    BEGIN ATOMIC
 SELECT f.feed,
     f.account,
     f.collection,
     f.scope,
     g.feed
    FROM (public.feeds f
      JOIN public.feeds g ON (((g.account = f.account) AND (g.collection = 'grants'::text) AND (g.scope = ''::text))))
   WHERE (f.feed = ANY (places_of_feeds.feeds));
END;
CREATE FUNCTION public.replace_installation(new_id bytea, new_fingerprint text) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'public', 'pg_temp'
    AS $$
BEGIN
    UPDATE installation SET id = new_id, fingerprint = new_fingerprint WHERE fingerprint <> new_fingerprint;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    UPDATE feeds SET epoch = substring(uuid_send(gen_random_uuid()) FROM 9 FOR 8);
    RETURN true;
END
$$;
CREATE PROCEDURE public.wall_by_account(IN walled regclass, IN whose name DEFAULT 'account'::name)
    LANGUAGE plpgsql
    AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', walled);
    EXECUTE format('CREATE POLICY of_accounts ON %s TO fitme_server
                    USING (%I = ANY ((SELECT walled_accounts())::uuid[]))', walled, whose);
END
$$;
CREATE PROCEDURE public.wall_by_feed(IN walled regclass)
    LANGUAGE plpgsql
    AS $_$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', walled);
    EXECUTE format('CREATE POLICY of_accounts ON %1$s TO fitme_server
                    USING (EXISTS (SELECT FROM feeds WHERE feeds.feed = %1$s.feed))', walled);
END
$_$;
CREATE FUNCTION public.walled_accounts() RETURNS uuid[]
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN (NULLIF(current_setting('fitme.accounts'::text, true), ''::text))::uuid[];
CREATE TABLE public._sqlx_migrations (
    version bigint NOT NULL,
    description text NOT NULL,
    installed_on timestamp with time zone DEFAULT now() NOT NULL,
    success boolean NOT NULL,
    checksum bytea NOT NULL,
    execution_time bigint NOT NULL
);
CREATE TABLE public.account_usage (
    account uuid NOT NULL,
    documents bigint NOT NULL,
    bytes bigint NOT NULL
)
WITH (fillfactor='50');
CREATE TABLE public.actors (
    actor bytea NOT NULL,
    device uuid NOT NULL,
    last_entry_id bytea NOT NULL,
    last_feed bigint NOT NULL,
    last_seq bigint NOT NULL,
    CONSTRAINT actors_actor_check CHECK ((octet_length(actor) = 16))
)
WITH (fillfactor='70');
CREATE TABLE public.audit_heads (
    account uuid NOT NULL,
    n bigint DEFAULT 0 NOT NULL,
    hash bytea DEFAULT decode(repeat('00'::text, 32), 'hex'::text) NOT NULL,
    moved_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    CONSTRAINT audit_heads_hash_check CHECK ((octet_length(hash) = 32))
)
WITH (fillfactor='70');
CREATE TABLE public.audit_reads (
    account uuid NOT NULL,
    feed bigint NOT NULL,
    reader uuid NOT NULL,
    device uuid NOT NULL,
    purposes text[] NOT NULL,
    first_seq bigint NOT NULL,
    last_seq bigint NOT NULL,
    first_at_ms bigint NOT NULL,
    last_at_ms bigint NOT NULL
)
WITH (fillfactor='70');
CREATE TABLE public.audit_records (
    account uuid NOT NULL,
    n bigint NOT NULL,
    at_ms bigint NOT NULL,
    kind text NOT NULL,
    detail text NOT NULL,
    prev_hash bytea NOT NULL,
    hash bytea NOT NULL,
    CONSTRAINT audit_records_detail_check CHECK ((octet_length(detail) <= 16384)),
    CONSTRAINT audit_records_hash_check CHECK ((octet_length(hash) = 32)),
    CONSTRAINT audit_records_n_check CHECK ((n > 0)),
    CONSTRAINT audit_records_prev_hash_check CHECK ((octet_length(prev_hash) = 32))
);
CREATE TABLE public.confirmed_addresses (
    account uuid NOT NULL,
    confirmed_at bigint NOT NULL
);
CREATE TABLE public.documents (
    account uuid NOT NULL,
    doc_id bytea NOT NULL,
    feed bigint NOT NULL,
    heads bytea[] NOT NULL,
    payload_bytes bigint DEFAULT 0 NOT NULL,
    erased_seq bigint,
    erased_id bytea,
    CONSTRAINT documents_doc_id_check CHECK ((octet_length(doc_id) = 16))
)
WITH (fillfactor='80');
CREATE TABLE public.entries (
    feed bigint NOT NULL,
    seq bigint NOT NULL,
    entry_id bytea NOT NULL,
    kind smallint NOT NULL,
    doc_id bytea NOT NULL,
    change_hash bytea,
    actor bytea,
    actor_seq bigint,
    author uuid NOT NULL,
    offered_by uuid,
    device_time bigint NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    digest bytea NOT NULL,
    salt bytea,
    payload bytea,
    CONSTRAINT entries_seq_check CHECK ((seq > 0))
)
PARTITION BY HASH (feed);
CREATE TABLE public.entries_0 (
    feed bigint NOT NULL,
    seq bigint NOT NULL,
    entry_id bytea NOT NULL,
    kind smallint NOT NULL,
    doc_id bytea NOT NULL,
    change_hash bytea,
    actor bytea,
    actor_seq bigint,
    author uuid NOT NULL,
    offered_by uuid,
    device_time bigint NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    digest bytea NOT NULL,
    salt bytea,
    payload bytea,
    CONSTRAINT entries_seq_check CHECK ((seq > 0))
);
CREATE TABLE public.entries_1 (
    feed bigint NOT NULL,
    seq bigint NOT NULL,
    entry_id bytea NOT NULL,
    kind smallint NOT NULL,
    doc_id bytea NOT NULL,
    change_hash bytea,
    actor bytea,
    actor_seq bigint,
    author uuid NOT NULL,
    offered_by uuid,
    device_time bigint NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    digest bytea NOT NULL,
    salt bytea,
    payload bytea,
    CONSTRAINT entries_seq_check CHECK ((seq > 0))
);
CREATE TABLE public.entries_2 (
    feed bigint NOT NULL,
    seq bigint NOT NULL,
    entry_id bytea NOT NULL,
    kind smallint NOT NULL,
    doc_id bytea NOT NULL,
    change_hash bytea,
    actor bytea,
    actor_seq bigint,
    author uuid NOT NULL,
    offered_by uuid,
    device_time bigint NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    digest bytea NOT NULL,
    salt bytea,
    payload bytea,
    CONSTRAINT entries_seq_check CHECK ((seq > 0))
);
CREATE TABLE public.entries_3 (
    feed bigint NOT NULL,
    seq bigint NOT NULL,
    entry_id bytea NOT NULL,
    kind smallint NOT NULL,
    doc_id bytea NOT NULL,
    change_hash bytea,
    actor bytea,
    actor_seq bigint,
    author uuid NOT NULL,
    offered_by uuid,
    device_time bigint NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    digest bytea NOT NULL,
    salt bytea,
    payload bytea,
    CONSTRAINT entries_seq_check CHECK ((seq > 0))
);
CREATE TABLE public.entries_4 (
    feed bigint NOT NULL,
    seq bigint NOT NULL,
    entry_id bytea NOT NULL,
    kind smallint NOT NULL,
    doc_id bytea NOT NULL,
    change_hash bytea,
    actor bytea,
    actor_seq bigint,
    author uuid NOT NULL,
    offered_by uuid,
    device_time bigint NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    digest bytea NOT NULL,
    salt bytea,
    payload bytea,
    CONSTRAINT entries_seq_check CHECK ((seq > 0))
);
CREATE TABLE public.entries_5 (
    feed bigint NOT NULL,
    seq bigint NOT NULL,
    entry_id bytea NOT NULL,
    kind smallint NOT NULL,
    doc_id bytea NOT NULL,
    change_hash bytea,
    actor bytea,
    actor_seq bigint,
    author uuid NOT NULL,
    offered_by uuid,
    device_time bigint NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    digest bytea NOT NULL,
    salt bytea,
    payload bytea,
    CONSTRAINT entries_seq_check CHECK ((seq > 0))
);
CREATE TABLE public.entries_6 (
    feed bigint NOT NULL,
    seq bigint NOT NULL,
    entry_id bytea NOT NULL,
    kind smallint NOT NULL,
    doc_id bytea NOT NULL,
    change_hash bytea,
    actor bytea,
    actor_seq bigint,
    author uuid NOT NULL,
    offered_by uuid,
    device_time bigint NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    digest bytea NOT NULL,
    salt bytea,
    payload bytea,
    CONSTRAINT entries_seq_check CHECK ((seq > 0))
);
CREATE TABLE public.entries_7 (
    feed bigint NOT NULL,
    seq bigint NOT NULL,
    entry_id bytea NOT NULL,
    kind smallint NOT NULL,
    doc_id bytea NOT NULL,
    change_hash bytea,
    actor bytea,
    actor_seq bigint,
    author uuid NOT NULL,
    offered_by uuid,
    device_time bigint NOT NULL,
    received_at timestamp with time zone DEFAULT now() NOT NULL,
    digest bytea NOT NULL,
    salt bytea,
    payload bytea,
    CONSTRAINT entries_seq_check CHECK ((seq > 0))
);
CREATE TABLE public.erased_devices (
    device uuid NOT NULL,
    erased_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL
);
CREATE TABLE public.erasures (
    account uuid NOT NULL,
    doc_id bytea DEFAULT '\x'::bytea NOT NULL,
    erased_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    listed_at timestamp with time zone,
    CONSTRAINT erasures_doc_id_check CHECK ((octet_length(doc_id) = ANY (ARRAY[0, 16])))
);
CREATE TABLE public.installation (
    only_row boolean DEFAULT true NOT NULL,
    id bytea NOT NULL,
    fingerprint text NOT NULL,
    CONSTRAINT installation_id_check CHECK ((octet_length(id) = 8)),
    CONSTRAINT installation_only_row_check CHECK (only_row)
);
CREATE TABLE public.login_failures (
    email_hash bytea NOT NULL,
    prefix text NOT NULL,
    failures integer NOT NULL,
    last_at bigint NOT NULL,
    locked_until bigint NOT NULL
)
WITH (fillfactor='70');
CREATE TABLE public.merge_queue (
    feed bigint NOT NULL,
    head_seq bigint NOT NULL,
    merged_seq bigint DEFAULT 0 NOT NULL,
    served_at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    lease_until timestamp with time zone,
    worker uuid,
    clean_seq bigint
)
WITH (fillfactor='70');
CREATE TABLE public.oidc_sign_ins (
    state_hash bytea NOT NULL,
    challenge bytea NOT NULL,
    return_to text NOT NULL,
    network text NOT NULL,
    links uuid,
    expires_at bigint NOT NULL,
    ticket_hash bytea,
    subject text,
    email text,
    refused text,
    called_back boolean DEFAULT false NOT NULL,
    CONSTRAINT oidc_sign_ins_challenge_check CHECK ((octet_length(challenge) = 32)),
    CONSTRAINT oidc_sign_ins_email_check CHECK ((octet_length(email) <= 254)),
    CONSTRAINT oidc_sign_ins_return_to_check CHECK ((octet_length(return_to) <= 256)),
    CONSTRAINT oidc_sign_ins_state_hash_check CHECK ((octet_length(state_hash) = 32)),
    CONSTRAINT oidc_sign_ins_subject_check CHECK ((octet_length(subject) <= 255)),
    CONSTRAINT oidc_sign_ins_ticket_hash_check CHECK ((octet_length(ticket_hash) = 32))
);
CREATE TABLE public.records (
    feed bigint NOT NULL,
    doc_id bytea NOT NULL,
    at bigint,
    trashed boolean NOT NULL,
    columns jsonb NOT NULL,
    record jsonb NOT NULL,
    flags text[] NOT NULL,
    projection_version integer NOT NULL
);
CREATE TABLE public.recovery_codes (
    account uuid NOT NULL,
    code_hash bytea NOT NULL,
    CONSTRAINT recovery_codes_code_hash_check CHECK ((octet_length(code_hash) = 32))
);
CREATE TABLE public.relations (
    account uuid NOT NULL,
    grantee uuid NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL
);
CREATE TABLE public.retired_feeds (
    feed bigint NOT NULL
);
CREATE TABLE public.revocations (
    account uuid NOT NULL,
    grant_id bytea NOT NULL
);
CREATE TABLE public.settings (
    only_row boolean DEFAULT true NOT NULL,
    signup_open boolean DEFAULT true NOT NULL,
    CONSTRAINT settings_only_row_check CHECK (only_row)
);
CREATE TABLE public.signing_keys (
    kid text NOT NULL,
    public_key bytea NOT NULL,
    sealed_seed bytea NOT NULL,
    made_at bigint NOT NULL,
    CONSTRAINT signing_keys_public_key_check CHECK ((octet_length(public_key) = 32))
);
CREATE TABLE public.snapshots (
    feed bigint NOT NULL,
    doc_id bytea NOT NULL,
    snapshot_seq bigint NOT NULL,
    heads bytea[] NOT NULL,
    snapshot bytea NOT NULL,
    quarantined text
);
CREATE TABLE public.totp (
    account uuid NOT NULL,
    sealed_secret bytea NOT NULL,
    confirmed boolean DEFAULT false NOT NULL,
    last_step bigint DEFAULT 0 NOT NULL
);
ALTER TABLE ONLY public.entries ATTACH PARTITION public.entries_0 FOR VALUES WITH (modulus 8, remainder 0);
ALTER TABLE ONLY public.entries ATTACH PARTITION public.entries_1 FOR VALUES WITH (modulus 8, remainder 1);
ALTER TABLE ONLY public.entries ATTACH PARTITION public.entries_2 FOR VALUES WITH (modulus 8, remainder 2);
ALTER TABLE ONLY public.entries ATTACH PARTITION public.entries_3 FOR VALUES WITH (modulus 8, remainder 3);
ALTER TABLE ONLY public.entries ATTACH PARTITION public.entries_4 FOR VALUES WITH (modulus 8, remainder 4);
ALTER TABLE ONLY public.entries ATTACH PARTITION public.entries_5 FOR VALUES WITH (modulus 8, remainder 5);
ALTER TABLE ONLY public.entries ATTACH PARTITION public.entries_6 FOR VALUES WITH (modulus 8, remainder 6);
ALTER TABLE ONLY public.entries ATTACH PARTITION public.entries_7 FOR VALUES WITH (modulus 8, remainder 7);
INSERT INTO public._sqlx_migrations VALUES (1, 'engine', '2026-11-24 15:27:28.54056+00', true, '\xa8effc2c3dbcdfb96e7605a677ce5a1006526a7ea757d6ac00873f9df4f678bf50714696429ed8d32bf0d26fee0643dd', 497459048);
INSERT INTO public._sqlx_migrations VALUES (2, 'account usage', '2026-11-24 15:27:29.040437+00', true, '\x8ea6793331a2aa8cbb9376c93498592809f20b6a66692e7d20ebabdaa6b3fd150b4ef0dd30ea16cc7fcb64bd2593e949', 42468544);
INSERT INTO public._sqlx_migrations VALUES (3, 'sign ins', '2026-11-24 15:27:29.085066+00', true, '\x10479e6fc4a314fe7306805b613df0648f5cad5f5b6acd143be693f342f5032cf16755ee8e5e6ab2abf2e7ac3948bc72', 75059278);
INSERT INTO public._sqlx_migrations VALUES (4, 'grants', '2026-11-24 15:27:29.161413+00', true, '\x19f13768f8690cb81cd59bafa4891c07348003876ef17dc019faae9a6b86ff02354f5cecb138fe5da5649d8a90f593a2', 65331041);
INSERT INTO public._sqlx_migrations VALUES (5, 'clean seq', '2026-11-24 15:27:29.232431+00', true, '\x52544db59a2223585edf658f549c67db96c013e85cd68153f7707b66270a448d18290a9db949a52f1513a071d4cb9e33', 1860757);
INSERT INTO public._sqlx_migrations VALUES (6, 'quarantined', '2026-11-24 15:27:29.25328+00', true, '\x49dbaac14739caa5dbdd080afeaee88ad848094c1a27dd05cf3a1a44920e6a79197fa53428f00f75ab1e6b8053d5eb10', 27326238);
INSERT INTO public._sqlx_migrations VALUES (7, 'wall', '2026-11-24 15:27:29.266412+00', true, '\x39552197d3efbd87ac059983f2dfd172cbca90c06b1744faa3eb8b8d519be38e43e473a67777cc860985a2bca94b11bf', 21231633);
INSERT INTO public._sqlx_migrations VALUES (8, 'audit', '2026-11-24 15:27:29.291327+00', true, '\x3a974f777dc300b7f43c0b755cd71c54f5d7fdcd592178511ccb22dabbeae5eaba36f5ac416bc25833040b413daa85d8', 47387684);
INSERT INTO public._sqlx_migrations VALUES (9, 'erase', '2026-11-24 15:27:29.339382+00', true, '\xb493602ae7de707d5e8ba861d673b4d1a436e9a040b71256c06d552e350ebd8233fddc73f60610592de38d7d1cf8372f', 37945885);
INSERT INTO public._sqlx_migrations VALUES (10, 'oidc', '2026-11-24 15:27:29.378464+00', true, '\x7bfd59fc3c8eb0e487f358309d4483751bf04b9c7c09d7d19da7662217f5bdc3e0c3643b2ff8ce72a35a57c723d2f549', 43009542);
INSERT INTO public._sqlx_migrations VALUES (11, 'admin', '2026-11-24 15:27:29.426441+00', true, '\x2b2700a40bad3c8a17a2c8610c654a9c587757e569cbb4763171e79473ced57c5453cd66da86d026f316916444812703', 8717980);
INSERT INTO public._sqlx_migrations VALUES (13, 'services', '2026-11-24 15:27:29.436168+00', true, '\xa2c3cc17a40990849645960321b4252279c586c776c9c9885a4d95ceea3022dbb80a4b425759245389ac6ad4df27fe31', 2715522);
INSERT INTO public._sqlx_migrations VALUES (14, 'merge behind', '2026-11-24 15:27:29.456304+00', true, '\x85f9da3f3ba25e0cb8983b255f78e52704796af5b3838f4e0885a61c5ea18f97d39c4b3b94ab3b571b0d0deb8ea5016d', 13472885);
INSERT INTO public._sqlx_migrations VALUES (16, 'oidc wall', '2026-11-24 15:27:29.460886+00', true, '\x396e344c04d4a47aa4842c30ed404f441d24c54c43d93cb76655dd233640d8de9b8f3dc19591108cc038a336818eea09', 973102);
INSERT INTO public._sqlx_migrations VALUES (17, 'oidc links', '2026-11-24 15:27:29.467815+00', true, '\xa38c9204394b3a73c79a409cad4a9d98f125325510b22fc2c192e5bd9bbe051004fb7075c8e44dad377a0ee560b9fd06', 7181146);
INSERT INTO public._sqlx_migrations VALUES (18, 'identities end', '2026-11-24 15:27:29.476583+00', true, '\x75a31cc3712954169d59ca3db08cbb7334fb3afcc393f121cd55bbf51532eb9850dd2d2bd62cbdd38a54ef23dd57cee8', 3116190);
INSERT INTO public.account_usage VALUES ('01a20e2b-5b09-7467-9a7a-eb1387b8317f', 8, 2530);
INSERT INTO public.accounts VALUES ('f17e0000-0000-8000-8000-000000000001', 'insights@service.invalid', NULL, '2026-11-24 15:27:29.436168+00', 'service');
INSERT INTO public.accounts VALUES ('f17e0000-0000-8000-8000-000000000002', 'notifications@service.invalid', NULL, '2026-11-24 15:27:29.436168+00', 'service');
INSERT INTO public.accounts VALUES ('01a20e2b-5b09-7467-9a7a-eb1387b8317f', 'ann@example.org', '$argon2id$v=19$m=19456,t=2,p=1$S/hIOA+1a8d7n11jb0rhxg$lrGRHRdkaWdm8BtPnLyom8X2x6mjFGrc+ztdKJce7+s', '2026-11-24 15:27:32.105236+00', 'member');
INSERT INTO public.actors VALUES ('\x414b5420d1fad23dfc591f3ea7397d94', '01a20e2b-5cfd-77ca-aa69-550b5191a8ba', '\x20e1fb099b0b81083b1b016d346fd9ae', 211107228486251, 6);
INSERT INTO public.actors VALUES ('\x97c758ffca09e7d5d44af17c1bf97cc2', '01a20e2b-5b14-703d-9f7b-774f9d5c650d', '\x5b0b4d58e10f6c55959f4913a7eb9d8a', 100760155281798, 3);
INSERT INTO public.audit_heads VALUES ('01a20e2b-5b09-7467-9a7a-eb1387b8317f', 2, '\x425f52a36a0214f30c2864d684d651aaa5221adf8c1162ab97a0544aedf33e38', '2026-11-24 15:27:32.721887+00');
INSERT INTO public.audit_records VALUES ('01a20e2b-5b09-7467-9a7a-eb1387b8317f', 1, 1795534052118, 'signed_in', '{"device":"01a20e2b-5b14-703d-9f7b-774f9d5c650d"}', '\x0000000000000000000000000000000000000000000000000000000000000000', '\x2b176ac0ff1bb9dee0605d0281e11829d3d8793a5d4f909e2aaf6cfc16b41aaa');
INSERT INTO public.audit_records VALUES ('01a20e2b-5b09-7467-9a7a-eb1387b8317f', 2, 1795534052608, 'signed_in', '{"device":"01a20e2b-5cfd-77ca-aa69-550b5191a8ba"}', '\x2b176ac0ff1bb9dee0605d0281e11829d3d8793a5d4f909e2aaf6cfc16b41aaa', '\x425f52a36a0214f30c2864d684d651aaa5221adf8c1162ab97a0544aedf33e38');
INSERT INTO public.devices VALUES ('01a20e2b-5b14-703d-9f7b-774f9d5c650d', '01a20e2b-5b09-7467-9a7a-eb1387b8317f', 'phone', NULL, '2200-01-01 00:00:00+00', '2026-11-24 15:27:32.105236+00', '\x69d2f9aca5b74c7a989579cef3c6fe1f53f35a3e6e3155f3021bdd6247597cbc', NULL, false);
INSERT INTO public.devices VALUES ('01a20e2b-5cfd-77ca-aa69-550b5191a8ba', '01a20e2b-5b09-7467-9a7a-eb1387b8317f', 'tablet', NULL, '2200-01-01 00:00:00+00', '2026-11-24 15:27:32.595413+00', '\x885b2eec49647be5631ebbe524016edae781b8e747c7666739dfb21f6e6d3c6d', NULL, false);
INSERT INTO public.documents VALUES ('01a20e2b-5b09-7467-9a7a-eb1387b8317f', '\x01a20e2b5a03786db627819f3c74a9fd', 26114003838476, '{"\\x520a24f1d8485df146e66761ce2315a2c2da7a14ccb7ed2ba9d4c8e88f03161c"}', 285, NULL, NULL);
INSERT INTO public.documents VALUES ('01a20e2b-5b09-7467-9a7a-eb1387b8317f', '\x01a20e2b5a5276dfae2e2856dd155410', 151811130057856, '{"\\xe665e9c5dd75f79a288697b321de58e91eb0c3aa5782f8280f9924e7691b1664"}', 152, NULL, NULL);
INSERT INTO public.documents VALUES ('01a20e2b-5b09-7467-9a7a-eb1387b8317f', '\x01a20e2b5b40750c8608f19ea85e55af', 100760155281798, '{"\\xf2b5d0ab725654236c25fd9fe24e8ad83c7dc19c3a2e11f5186d6cd830dd0e82"}', 192, NULL, NULL);
INSERT INTO public.documents VALUES ('01a20e2b-5b09-7467-9a7a-eb1387b8317f', '\x01a20e2b5b6d7210a79c9b9c6ec0dafb', 100760155281798, '{"\\x7c0e70b0e6cbf6819fc78a4c7038c7d3e5d7ae09f0165e6f8648c336310c3591"}', 157, NULL, NULL);
INSERT INTO public.documents VALUES ('01a20e2b-5b09-7467-9a7a-eb1387b8317f', '\x40be4cea3c0e8355b7653f6dfbe8fc2b', 211107228486251, '{"\\x23ea35ddf07cc45ed5dcd8b1f76a90f4e2c4bc64e96a89c00a432ab7b9711764"}', 805, NULL, NULL);
INSERT INTO public.documents VALUES ('01a20e2b-5b09-7467-9a7a-eb1387b8317f', '\xf72f8afb3659864583a9740627aafc79', 89190175149687, '{"\\x975c87a26fd9b11acec468c8133d7df6eddd2446805c5b71a3a2542a09b1dd8d"}', 205, NULL, NULL);
INSERT INTO public.documents VALUES ('01a20e2b-5b09-7467-9a7a-eb1387b8317f', '\x01a20e2b599377d2ba6c888118ee8d70', 211107228486251, '{"\\x184525af17713aab6b311747251fd286c934e54b55dc039b808e5a2e9927e32e","\\x56bf00663f1b5d32dacc0ad713f5d31e714b4e9659acad26ed1af90904fdc225"}', 734, NULL, NULL);
INSERT INTO public.documents VALUES ('01a20e2b-5b09-7467-9a7a-eb1387b8317f', '\x01a20e2b65407d28942bde81347e498f', 100760155281798, '{}', 0, 4, '\xbabced5d6604ea72961016053c454f0e');
INSERT INTO public.entries VALUES (26114003838476, 1, '\x21b49e41eff704e829d6b20d92a675d0', 0, '\x01a20e2b5a03786db627819f3c74a9fd', '\x520a24f1d8485df146e66761ce2315a2c2da7a14ccb7ed2ba9d4c8e88f03161c', '\x97c758ffca09e7d5d44af17c1bf97cc2', 1, '01a20e2b-5b14-703d-9f7b-774f9d5c650d', NULL, 1795534051843, '2026-11-24 15:27:32.282957+00', '\x21b49e41eff704e829d6b20d92a675d0', '\x24c73138f7296899', '\x856f4a83520a24f1019202001097c758ffca09e7d5d44af17c1bf97cc2010183b4adf1a03400000801040208156f3401420a56145749700200050c0000050202030607076f026174056974656d73046b696e64046e6f7465047a6f6e6508317171333170386108687971787832787806616d6f756e74046e616d6503706f7306616d6f756e740e636172626f687964726174655f67056661745f67046b63616c046e616d6503706f730970726f7465696e5f67117b010001040102000a017b690056007602007f5603460385017d4626850180b4adf1a0346c756e63684574632f55544332303020674d696c6b38313830383020670000000000004b4000000000000018400000000000c072404f617473383000000000000024401100');
INSERT INTO public.entries VALUES (100760155281798, 1, '\x37f78878352b0de623a772ab047fc0c6', 0, '\x01a20e2b5b40750c8608f19ea85e55af', '\xf2b5d0ab725654236c25fd9fe24e8ad83c7dc19c3a2e11f5186d6cd830dd0e82', '\x97c758ffca09e7d5d44af17c1bf97cc2', 1, '01a20e2b-5b14-703d-9f7b-774f9d5c650d', NULL, 1795534052160, '2026-11-24 15:27:32.282957+00', '\x37f78878352b0de623a772ab047fc0c6', '\x4326735e1164bbf0', '\x856f4a83f2b5d0ab01b501001097c758ffca09e7d5d44af17c1bf97cc20101c0b6adf1a03400000a01040206110613091522340342065614572a700200051600000515027f0300061400000100057e0006130100017b026174046e6f746504746167730776616c656e6365047a6f6e6500157f0373756e0515017d01040018017f6902007e14760c167626162616261626164602beb6adf1a034014574632f555443536c6570742077656c6c2e20c39c6ec3af63c3b664c3a920f09f8f831b00');
INSERT INTO public.entries VALUES (100760155281798, 2, '\x393ee0bc0b0ce0073143281ed5d99d36', 0, '\x01a20e2b5b6d7210a79c9b9c6ec0dafb', '\x7c0e70b0e6cbf6819fc78a4c7038c7d3e5d7ae09f0165e6f8648c336310c3591', '\x97c758ffca09e7d5d44af17c1bf97cc2', 1, '01a20e2b-5b14-703d-9f7b-774f9d5c650d', NULL, 1795534052205, '2026-11-24 15:27:32.282957+00', '\x713669344037eded54ea9ac9da595dfc', '\x1354df803e2cc068', '\x856f4a837c0e70b0019201001097c758ffca09e7d5d44af17c1bf97cc20101edb6adf1a03400000a0104020411041307151d340242065609571e7002000510000005100200060f0000057e00060e017b026174046e6f746504746167730776616c656e6365047a6f6e65001005107d01040012017f6902007e14761016ebb6adf1a0347f4574632f555443746f6f2066756c6c20746f2067726f771500');
INSERT INTO public.entries VALUES (211107228486251, 1, '\x8ea0ab8b2117df4224b445a353d1b17e', 0, '\x40be4cea3c0e8355b7653f6dfbe8fc2b', '\xdec839375a8fac58321ab1e84ecfdddfdf146a8912ee5aa89cd3af0606a2511f', '\x6669746d652f67656e657369732f7631', 1, '01a20e2b-5b14-703d-9f7b-774f9d5c650d', NULL, 0, '2026-11-24 15:27:32.282957+00', '\x8ea0ab8b2117df4224b445a353d1b17e', '\x0000000000000000', '\x856f4a83dec83937013a00106669746d652f67656e657369732f7631010100000005151034014203560270027e046e6f746509657865726369736573027e040002000200');
INSERT INTO public.entries VALUES (211107228486251, 2, '\x19a3d4a072d4b13c01e34634738ff61c', 0, '\x40be4cea3c0e8355b7653f6dfbe8fc2b', '\x7ee906fd7e218ec75daf956297c7919442c65b8546cce92458a3c5f802e0a682', '\x6669746d652f00878a0b74d6ca850001', 1, '01a20e2b-5b14-703d-9f7b-774f9d5c650d', NULL, 0, '2026-11-24 15:27:32.282957+00', '\xa844802b93ec907e26978bd7c761a79a', '\x2c3bc13372bb9b5f', '\x856f4a837ee906fd01980301dec839375a8fac58321ab1e84ecfdddfdf146a8912ee5aa89cd3af0606a2511f106669746d652f00878a0b74d6ca85000101030000000615c001340142025610577e70027412656e647572616e63652f64697374616e636515656e647572616e63652f6d6f76696e675f74696d650f656e647572616e63652f73706f72740f6c6170732f302f64697374616e63650c6c6170732f302f73746172740f6c6170732f312f64697374616e63650c6c6170732f312f73746172740d736f757263652f64657669636510736f757263652f66696c655f6861736817736f757263652f696d706f727465725f76657273696f6e0e736f757263652f73657373696f6e0573746172740c0c017776667666696669a601860802147f693130323030206d3234303020736379636c696e6735303030206d80d5bce4d63035323030206d80f485e5d6306669743a313a3138333639613630363136316532303366643036393830366535363137396564326633363865666233316439646634303762663764313362303863643666356234333965010080d5bce4d6300c00');
INSERT INTO public.entries VALUES (211107228486251, 3, '\x2bc9692702c10a6b9e7528f1e1b34191', 0, '\x40be4cea3c0e8355b7653f6dfbe8fc2b', '\xbce39b4a49417bc6bf5906d985d60f5599db7c561451ed5059f40797a3f501b5', '\x6669746d652f4ca97c02363f854e0002', 1, '01a20e2b-5b14-703d-9f7b-774f9d5c650d', NULL, 0, '2026-11-24 15:27:32.282957+00', '\xd40de95296ad9ae9c50cb4c9a914e92b', '\x6a134b6add3ad90b', '\x856f4a83bce39b4a01a50101dec839375a8fac58321ab1e84ecfdddfdf146a8912ee5aa89cd3af0606a2511f106669746d652f4ca97c02363f854e00020103000000061553340142025604570570027d1c656e647572616e63652f617665726167655f68656172745f726174651c656e647572616e63652f6d6178696d756d5f68656172745f7261746517736f757263652f696d706f727465725f76657273696f6e03030102247f148d01a801020300');
INSERT INTO public.entries VALUES (211107228486251, 4, '\x4eff62c5fbc6e046b5b4b72bfab45ed7', 0, '\x40be4cea3c0e8355b7653f6dfbe8fc2b', '\x23ea35ddf07cc45ed5dcd8b1f76a90f4e2c4bc64e96a89c00a432ab7b9711764', '\x97c758ffca09e7d5d44af17c1bf97cc2', 1, '01a20e2b-5b14-703d-9f7b-774f9d5c650d', NULL, 1795534051602, '2026-11-24 15:27:32.282957+00', '\x230d4c1892747b307ac16bf5a3c94802', '\x10efe55fdae2cf26', '\x856f4a8323ea35dd018301027ee906fd7e218ec75daf956297c7919442c65b8546cce92458a3c5f802e0a682bce39b4a49417bc6bf5906d985d60f5599db7c561451ed5059f40797a3f501b51097c758ffca09e7d5d44af17c1bf97cc2010f92b2adf1a034000006150c340142025602570770027f0a7a6f6e655f6775657373017f017f764574632f5554437f00');
INSERT INTO public.entries VALUES (211107228486251, 5, '\xafeb1ac3c86bb2fb82e5db9819d4afe6', 0, '\x01a20e2b599377d2ba6c888118ee8d70', '\x39a5d5c161005143a590a0542e2b863ab30a133736ecbbcc3de1543c631d8326', '\x97c758ffca09e7d5d44af17c1bf97cc2', 1, '01a20e2b-5b14-703d-9f7b-774f9d5c650d', NULL, 1795534051731, '2026-11-24 15:27:32.282957+00', '\xd2f866dc5ae02e2bfda7478dbd9df7e8', '\x3213609d64ae492a', '\x856f4a8339a5d5c1018803001097c758ffca09e7d5d44af17c1bf97cc2010193b3adf1a0340000080104021215ab01340142115623576270020005190000050201030603077f0a020d040e050f05106209657865726369736573046e6f7465057374617274057469746c65047a6f6e6508627239317a383034086b3731703970627a046e616d6503706f730473657473046e616d6503706f730473657473086e73676671726334083774726367766a70086e61637a39657961046b696e64046c6f616403706f730472657073046b696e64046c6f616403706f73047265707303727065046b696e64046c6f616403706f730472657073037270651e7e00040301020002017f00020104000e0102007d6986017602007b764600b601260400024674261446562614850146564614850192b3adf1a03450757368206461794574632f55544350756c6c2d75703831383042656e63682070726573733830776f726b30206b6738300c776f726b3830206b673830080000000000002040776f726b3830206b67383138300800000000000020401e00');
INSERT INTO public.entries VALUES (211107228486251, 6, '\x20e1fb099b0b81083b1b016d346fd9ae', 0, '\x01a20e2b599377d2ba6c888118ee8d70', '\x184525af17713aab6b311747251fd286c934e54b55dc039b808e5a2e9927e32e', '\x414b5420d1fad23dfc591f3ea7397d94', 1, '01a20e2b-5cfd-77ca-aa69-550b5191a8ba', NULL, 1795534053581, '2026-11-24 15:27:33.860865+00', '\xf3da61e5f5ebaf3438c248faf20dd196', '\xa9249f80a000849d', '\x856f4a83184525af0196010139a5d5c161005143a590a0542e2b863ab30a133736ecbbcc3de1543c631d832610414b5420d1fad23dfc591f3ea7397d94011fcdc1adf1a03400011097c758ffca09e7d5d44af17c1bf97cc208151334014202560557167003710273027e057469746c650b73657373696f6e5f7270650202017ee601850150757368206461792c206c6f6e6700000000000020407e01007f017f04');
INSERT INTO public.entries VALUES (211107228486251, 7, '\x83135117cd4ea8ae7b585a2bacf012dc', 0, '\x01a20e2b599377d2ba6c888118ee8d70', '\x56bf00663f1b5d32dacc0ad713f5d31e714b4e9659acad26ed1af90904fdc225', '\x97c758ffca09e7d5d44af17c1bf97cc2', 2, '01a20e2b-5b14-703d-9f7b-774f9d5c650d', NULL, 1795534053456, '2026-11-24 15:27:34.167298+00', '\x76edb2fdc33a57e2b41aa3269efde472', '\x84dd270af759f2e7', '\x856f4a8356bf0066019f010139a5d5c161005143a590a0542e2b863ab30a133736ecbbcc3de1543c631d83261097c758ffca09e7d5d44af17c1bf97cc2021fd0c0adf1a03400000c01040204110413071509340242025605571d70047102730200010e0000010e0200020d0000017e00200c017f057469746c65000e010e0f017ff6010e1650757368206461792c20686561767966726f6d207468652070686f6e657f010e007f007f04');
INSERT INTO public.entries VALUES (100760155281798, 4, '\xbabced5d6604ea72961016053c454f0e', 3, '\x01a20e2b65407d28942bde81347e498f', NULL, NULL, NULL, '01a20e2b-5b14-703d-9f7b-774f9d5c650d', NULL, 1795534054976, '2026-11-24 15:27:35.098711+00', '\x86fea3ea874c44b58099f9e2be8a4a94', '\x62c7db48350d875f', '\x');
INSERT INTO public.entries VALUES (100760155281798, 3, '\x5b0b4d58e10f6c55959f4913a7eb9d8a', 0, '\x01a20e2b65407d28942bde81347e498f', NULL, '\x97c758ffca09e7d5d44af17c1bf97cc2', 1, '01a20e2b-5b14-703d-9f7b-774f9d5c650d', NULL, 1795534054720, '2026-11-24 15:27:34.871251+00', '\xcc41b68d21475a42ea89e3dd8244fb86', NULL, NULL);
INSERT INTO public.entries VALUES (151811130057856, 1, '\x4034cfbad8045b9031e50100e7f8fea0', 0, '\x01a20e2b5a5276dfae2e2856dd155410', '\xe665e9c5dd75f79a288697b321de58e91eb0c3aa5782f8280f9924e7691b1664', '\x97c758ffca09e7d5d44af17c1bf97cc2', 1, '01a20e2b-5b14-703d-9f7b-774f9d5c650d', NULL, 1795534051922, '2026-11-24 15:27:32.282957+00', '\x4034cfbad8045b9031e50100e7f8fea0', '\xcd662a6a58829012', '\x856f4a83e665e9c5018d01001097c758ffca09e7d5d44af17c1bf97cc20101d2b4adf1a0340000061541340142025607571770027b02617418626c6f6f645f70726573737572652f64696173746f6c696317626c6f6f645f70726573737572652f737973746f6c696306776569676874047a6f6e650505017f6902247e6676cab4adf1a034d000f800313737206c624574632f5554430500');
INSERT INTO public.entries VALUES (89190175149687, 1, '\x86420b27fa221fc3f9bf2467f14c83db', 0, '\xf72f8afb3659864583a9740627aafc79', '\x3650f437a13c064d46f7315efffb479990d076a0a561d7def3eb137d384ccf26', '\x6669746d652f67656e657369732f7631', 1, '01a20e2b-5b14-703d-9f7b-774f9d5c650d', NULL, 0, '2026-11-24 15:27:32.282957+00', '\x86420b27fa221fc3f9bf2467f14c83db', '\x0000000000000000', '\x856f4a833650f437013e00106669746d652f67656e657369732f7631010100000005151534014202560270027e09646965745f7461677309616c6c65726769657302020002000200');
INSERT INTO public.entries VALUES (89190175149687, 2, '\xe98bb35d756c41b37255179cc14bacdc', 0, '\xf72f8afb3659864583a9740627aafc79', '\x975c87a26fd9b11acec468c8133d7df6eddd2446805c5b71a3a2542a09b1dd8d', '\x97c758ffca09e7d5d44af17c1bf97cc2', 1, '01a20e2b-5b14-703d-9f7b-774f9d5c650d', NULL, 1795534051430, '2026-11-24 15:27:32.282957+00', '\x6fcdbe856f8e61776c143c04b29830b7', '\x350aca85f123b901', '\x856f4a83975c87a2017b013650f437a13c064d46f7315efffb479990d076a0a561d7def3eb137d384ccf261097c758ffca09e7d5d44af17c1bf97cc20103e6b0adf1a0340000061511340142025606571670027d046e616d6505756e697473047a6f6e650303017d368601b601416e6e696d70657269616c4575726f70652f526f6d650300');
INSERT INTO public.erasures VALUES ('01a20e2b-5b09-7467-9a7a-eb1387b8317f', '\x01a20e2b65407d28942bde81347e498f', '2026-11-24 15:27:35.192939+00', NULL);
INSERT INTO public.feeds VALUES (267751753649588, '01a20e2b-5b09-7467-9a7a-eb1387b8317f', 'journal', '', '\x6e47a4eb76368035', 0, '\x00000000000000000000000000000000', '2026-11-24 15:27:32.113773+00');
INSERT INTO public.feeds VALUES (101889922244201, '01a20e2b-5b09-7467-9a7a-eb1387b8317f', 'biometrics', '', '\x269c8be8ec24fe78', 0, '\x00000000000000000000000000000000', '2026-11-24 15:27:32.113777+00');
INSERT INTO public.feeds VALUES (258328339259610, '01a20e2b-5b09-7467-9a7a-eb1387b8317f', 'sleep', '', '\xa33244e454d238f4', 0, '\x00000000000000000000000000000000', '2026-11-24 15:27:32.11378+00');
INSERT INTO public.feeds VALUES (148422483761555, '01a20e2b-5b09-7467-9a7a-eb1387b8317f', 'plans', '', '\x2f5bdd7725cd4583', 0, '\x00000000000000000000000000000000', '2026-11-24 15:27:32.113784+00');
INSERT INTO public.feeds VALUES (100846895760631, '01a20e2b-5b09-7467-9a7a-eb1387b8317f', 'inbox', '', '\x23fe7a6aaa973ab3', 0, '\x00000000000000000000000000000000', '2026-11-24 15:27:32.113788+00');
INSERT INTO public.feeds VALUES (126661195498399, '01a20e2b-5b09-7467-9a7a-eb1387b8317f', 'grants', '', '\xfbed2ae61bf9da4e', 0, '\x00000000000000000000000000000000', '2026-11-24 15:27:32.113792+00');
INSERT INTO public.feeds VALUES (220047621360838, '01a20e2b-5b09-7467-9a7a-eb1387b8317f', 'insights', 'training', '\xc05009c4ee7b593f', 0, '\x00000000000000000000000000000000', '2026-11-24 15:27:32.113806+00');
INSERT INTO public.feeds VALUES (111415841830161, '01a20e2b-5b09-7467-9a7a-eb1387b8317f', 'insights', 'nutrition', '\x7598ffdbc03fbbee', 0, '\x00000000000000000000000000000000', '2026-11-24 15:27:32.11381+00');
INSERT INTO public.feeds VALUES (30012704795343, '01a20e2b-5b09-7467-9a7a-eb1387b8317f', 'insights', 'mind', '\x2dcf81aeef910d46', 0, '\x00000000000000000000000000000000', '2026-11-24 15:27:32.113814+00');
INSERT INTO public.feeds VALUES (89190175149687, '01a20e2b-5b09-7467-9a7a-eb1387b8317f', 'profile', '', '\x542853cbaf29540f', 2, '\x6fcdbe856f8e61776c143c04b29830b7', '2026-11-24 15:27:32.303451+00');
INSERT INTO public.feeds VALUES (26114003838476, '01a20e2b-5b09-7467-9a7a-eb1387b8317f', 'meals', '', '\x21fd27f1f44efed8', 1, '\x21b49e41eff704e829d6b20d92a675d0', '2026-11-24 15:27:32.303495+00');
INSERT INTO public.feeds VALUES (151811130057856, '01a20e2b-5b09-7467-9a7a-eb1387b8317f', 'measurements', '', '\x0d91783f0516190f', 1, '\x4034cfbad8045b9031e50100e7f8fea0', '2026-11-24 15:27:32.303503+00');
INSERT INTO public.feeds VALUES (211107228486251, '01a20e2b-5b09-7467-9a7a-eb1387b8317f', 'workouts', '', '\xb5c01d8a4af90f42', 7, '\x76edb2fdc33a57e2b41aa3269efde472', '2026-11-24 15:27:34.172104+00');
INSERT INTO public.feeds VALUES (100760155281798, '01a20e2b-5b09-7467-9a7a-eb1387b8317f', 'moods', '', '\x66fc2a6c9817d599', 4, '\x86fea3ea874c44b58099f9e2be8a4a94', '2026-11-24 15:27:35.12669+00');
INSERT INTO public.installation VALUES (true, '\x448857a6ac2e000d', '7711759998900769848/16939/00000001');
INSERT INTO public.mailed_tokens VALUES ('01a20e2b-5b09-7467-9a7a-eb1387b8317f', 'confirm', '\x810d683251784677352a5bfb6b6b2f59805a4a03a6c85df47c5be2caeecd8705', 1796138852127);
INSERT INTO public.merge_queue VALUES (26114003838476, 1, 1, '2026-11-24 15:27:32.352231+00', NULL, NULL, 1);
INSERT INTO public.merge_queue VALUES (89190175149687, 2, 2, '2026-11-24 15:27:32.352272+00', NULL, NULL, 2);
INSERT INTO public.merge_queue VALUES (151811130057856, 1, 1, '2026-11-24 15:27:32.352286+00', NULL, NULL, 1);
INSERT INTO public.merge_queue VALUES (211107228486251, 7, 7, '2026-11-24 15:27:34.207171+00', NULL, NULL, 7);
INSERT INTO public.merge_queue VALUES (100760155281798, 4, 4, '2026-11-24 15:27:35.23788+00', NULL, NULL, 4);
INSERT INTO public.records VALUES (26114003838476, '\x01a20e2b5a03786db627819f3c74a9fd', 1795534051840, false, '{"kcal": 300, "kind": "lunch", "zone": "Etc/UTC", "items": 2, "names": ["Oats", "Milk"]}', '{"at": 1795534051840, "kind": "lunch", "zone": "Etc/UTC", "items": [{"id": "hyqxx2xx", "kcal": 300, "name": "Oats", "fat_g": 6, "amount": {"si": 0.08, "unit": "g", "value": 80}, "protein_g": 10, "carbohydrate_g": 54}, {"id": "1qq31p8a", "name": "Milk", "amount": {"si": 0.2, "unit": "g", "value": 200}}]}', '{}', 1);
INSERT INTO public.records VALUES (89190175149687, '\xf72f8afb3659864583a9740627aafc79', NULL, false, '{"name": "Ann", "zone": "Europe/Rome", "units": "imperial"}', '{"name": "Ann", "zone": "Europe/Rome", "units": "imperial"}', '{}', 1);
INSERT INTO public.records VALUES (100760155281798, '\x01a20e2b5b40750c8608f19ea85e55af', 1795534052158, false, '{"tags": ["sun"], "zone": "Etc/UTC", "valence": 1}', '{"at": 1795534052158, "note": "Slept well. Ünïcödé 🏃", "tags": ["sun"], "zone": "Etc/UTC", "valence": 1}', '{}', 1);
INSERT INTO public.records VALUES (100760155281798, '\x01a20e2b5b6d7210a79c9b9c6ec0dafb', 1795534052203, false, '{"zone": "Etc/UTC", "valence": -1}', '{"at": 1795534052203, "note": "too full to grow", "zone": "Etc/UTC", "valence": -1}', '{}', 1);
INSERT INTO public.records VALUES (151811130057856, '\x01a20e2b5a5276dfae2e2856dd155410', 1795534051914, false, '{"zone": "Etc/UTC", "weight": {"si": 80.28584949, "unit": "lb", "value": 177}, "blood_pressure": {"systolic": 120, "diastolic": 80}}', '{"at": 1795534051914, "zone": "Etc/UTC", "weight": {"si": 80.28584949, "unit": "lb", "value": 177}, "blood_pressure": {"systolic": 120, "diastolic": 80}}', '{}', 1);
INSERT INTO public.records VALUES (211107228486251, '\x40be4cea3c0e8355b7653f6dfbe8fc2b', 1672563600000, false, '{"kind": "endurance", "zone": "Etc/UTC", "sport": "cycling", "distance_m": 10200, "moving_time_s": 2400}', '{"laps": [{"id": "0", "start": 1672563600000, "distance": {"si": 5000, "unit": "m", "value": 5000}}, {"id": "1", "start": 1672564800000, "distance": {"si": 5200, "unit": "m", "value": 5200}}], "zone": "Etc/UTC", "start": 1672563600000, "source": {"device": "fit:1:1836", "session": 0, "file_hash": "9a606161e203fd069806e56179ed2f368efb31d9df407bf7d13b08cd6f5b439e", "importer_version": 2}, "endurance": {"sport": "cycling", "distance": {"si": 10200, "unit": "m", "value": 10200}, "moving_time": {"si": 2400, "unit": "s", "value": 2400}, "average_heart_rate": 141, "maximum_heart_rate": 168}, "zone_from": "device"}', '{}', 1);
INSERT INTO public.records VALUES (211107228486251, '\x01a20e2b599377d2ba6c888118ee8d70', 1795534051730, false, '{"kind": "strength", "sets": 3, "zone": "Etc/UTC", "names": ["Bench press", "Pull-up"], "title": "Push day, heavy", "exercises": 2, "volume_kg": 1280}', '{"note": "from the phone", "zone": "Etc/UTC", "start": 1795534051730, "title": "Push day, heavy", "exercises": [{"id": "k71p9pbz", "name": "Bench press", "sets": [{"id": "7trcgvjp", "rpe": 8, "kind": "work", "load": {"si": 80, "unit": "kg", "value": 80}, "reps": 8}, {"id": "nacz9eya", "rpe": 8, "kind": "work", "load": {"si": 80, "unit": "kg", "value": 80}, "reps": 8}]}, {"id": "br91z804", "name": "Pull-up", "sets": [{"id": "nsgfqrc4", "kind": "work", "load": {"si": 0, "unit": "kg", "value": 0}, "reps": 12}]}], "session_rpe": 8}', '{}', 1);
INSERT INTO public.settings VALUES (true, true);
INSERT INTO public.sign_ins VALUES ('01a20e2b-5b1a-7080-b10d-a227d32f1233', '01a20e2b-5b09-7467-9a7a-eb1387b8317f', '01a20e2b-5b14-703d-9f7b-774f9d5c650d', '\x78c2e2390d56a0b82e96ee6a09a45628593c2d6181a71a7b5026ebc608bc58c1', 0, '\xae2bf7850f131e1599a80dc9be3c0a6ad1d0d1aa23c4a99196b6a8aaec870d6a', NULL, NULL, 1795534052118, 1795534052118, 7258118400000, NULL, NULL);
INSERT INTO public.sign_ins VALUES ('01a20e2b-5d06-76a4-8011-dec1eb87dc30', '01a20e2b-5b09-7467-9a7a-eb1387b8317f', '01a20e2b-5cfd-77ca-aa69-550b5191a8ba', '\xc3ba5917d73b2cdf2fb334181179043fd8cf106ebb367970eae8e558c5ffba15', 0, '\xc8cd7bc9ca49309a16512215f0f4e4857bd1839da1655422ec2e7af9af011a07', NULL, NULL, 1795534052608, 1795534052608, 7258118400000, NULL, NULL);
INSERT INTO public.signing_keys VALUES ('e39c73bf4456f2db', '\x318266ae900270d6804156b7cd00b743b01dd458c5b3f7e4d4d912207df15b6d', '\x017bc4e60453302b12ae378ca9c57f58e4c5ba3f738616fb1f3e4236fa2e1da7612ebed6d2c163bdb6f3c5e5e1a3d2df09bb8637166a30cfcc75d634f8f6678d80a35e70fadf3d42c0', 1795534051209);
INSERT INTO public.snapshots VALUES (26114003838476, '\x01a20e2b5a03786db627819f3c74a9fd', 1, '{"\\x520a24f1d8485df146e66761ce2315a2c2da7a14ccb7ed2ba9d4c8e88f03161c"}', '\x856f4a83093aee0400d102011097c758ffca09e7d5d44af17c1bf97cc201520a24f1d8485df146e66761ce2315a2c2da7a14ccb7ed2ba9d4c8e88f03161c060102030213022307400256020a01040208156f210223023401420a561457498001027f007f017f117f83b4adf1a0347f007f0700050c0000050202030607076f026174056974656d73046b696e64046e6f7465047a6f6e6508317171333170386108687971787832787806616d6f756e74046e616d6503706f7306616d6f756e740e636172626f687964726174655f67056661745f67046b63616c046e616d6503706f730970726f7465696e5f6711001101117b010001040102000a017b690056007602007f5603460385017d4626850180b4adf1a0346c756e63684574632f55544332303020674d696c6b38313830383020670000000000004b4000000000000018400000000000c072404f61747338300000000000002440110000', NULL);
INSERT INTO public.snapshots VALUES (89190175149687, '\xf72f8afb3659864583a9740627aafc79', 2, '{"\\x975c87a26fd9b11acec468c8133d7df6eddd2446805c5b71a3a2542a09b1dd8d"}', '\x856f4a83689c014400d20102106669746d652f67656e657369732f76311097c758ffca09e7d5d44af17c1bf97cc201975c87a26fd9b11acec468c8133d7df6eddd2446805c5b71a3a2542a09b1dd8d0701030303130323084003430256020815252104230634014204560857168001027e00017e01007e02037e00e6b0adf1a0347e00017f0002077b09616c6c65726769657309646965745f74616773046e616d6505756e697473047a6f6e65020003017d027f020201050200030102007d368601b601416e6e696d70657269616c4575726f70652f526f6d65050001', NULL);
INSERT INTO public.snapshots VALUES (100760155281798, '\x01a20e2b5b40750c8608f19ea85e55af', 1, '{"\\xf2b5d0ab725654236c25fd9fe24e8ad83c7dc19c3a2e11f5186d6cd830dd0e82"}', '\x856f4a8346de674b00f401011097c758ffca09e7d5d44af17c1bf97cc201f2b5d0ab725654236c25fd9fe24e8ad83c7dc19c3a2e11f5186d6cd830dd0e82060102030213022307400256020c0104020611061309152221022302340342065614572a8001027f007f017f1b7fc0b6adf1a0347f007f0700051600000515027f0300061400000100057e0006130100017b026174046e6f746504746167730776616c656e6365047a6f6e6500157f0373756e1b001b010515017d01040018017f6902007e14760c167626162616261626164602beb6adf1a034014574632f555443536c6570742077656c6c2e20c39c6ec3af63c3b664c3a920f09f8f831b0000', NULL);
INSERT INTO public.snapshots VALUES (100760155281798, '\x01a20e2b5b6d7210a79c9b9c6ec0dafb', 2, '{"\\x7c0e70b0e6cbf6819fc78a4c7038c7d3e5d7ae09f0165e6f8648c336310c3591"}', '\x856f4a8319dd388c00d101011097c758ffca09e7d5d44af17c1bf97cc2017c0e70b0e6cbf6819fc78a4c7038c7d3e5d7ae09f0165e6f8648c336310c3591060102030213022307400256020c0104020411041307151d21022302340242065609571e8001027f007f017f157fedb6adf1a0347f007f07000510000005100200060f0000057e00060e017b026174046e6f746504746167730776616c656e6365047a6f6e6500101500150105107d01040012017f6902007e14761016ebb6adf1a0347f4574632f555443746f6f2066756c6c20746f2067726f77150000', NULL);
INSERT INTO public.snapshots VALUES (151811130057856, '\x01a20e2b5a5276dfae2e2856dd155410', 1, '{"\\xe665e9c5dd75f79a288697b321de58e91eb0c3aa5782f8280f9924e7691b1664"}', '\x856f4a83935f82eb00cc01011097c758ffca09e7d5d44af17c1bf97cc201e665e9c5dd75f79a288697b321de58e91eb0c3aa5782f8280f9924e7691b1664060102030213022307400256020815412102230234014202560757178001027f007f017f057fd2b4adf1a0347f007f077b02617418626c6f6f645f70726573737572652f64696173746f6c696317626c6f6f645f70726573737572652f737973746f6c696306776569676874047a6f6e65050005010505017f6902247e6676cab4adf1a034d000f800313737206c624574632f555443050000', NULL);
INSERT INTO public.snapshots VALUES (211107228486251, '\x40be4cea3c0e8355b7653f6dfbe8fc2b', 4, '{"\\x23ea35ddf07cc45ed5dcd8b1f76a90f4e2c4bc64e96a89c00a432ab7b9711764"}', '\x856f4a83e390ed5700950504106669746d652f00878a0b74d6ca850001106669746d652f4ca97c02363f854e0002106669746d652f67656e657369732f76311097c758ffca09e7d5d44af17c1bf97cc20123ea35ddf07cc45ed5dcd8b1f76a90f4e2c4bc64e96a89c00a432ab7b971176407010503041305230940064304560208159602211423123401420a5615578a018001027c020001037f0103007c020c770a03007f92b2adf1a0347f0002017f02020002010407731c656e647572616e63652f617665726167655f68656172745f7261746512656e647572616e63652f64697374616e63651c656e647572616e63652f6d6178696d756d5f68656172745f7261746515656e647572616e63652f6d6f76696e675f74696d650f656e647572616e63652f73706f7274096578657263697365730f6c6170732f302f64697374616e63650c6c6170732f302f73746172740f6c6170732f312f64697374616e63650c6c6170732f312f7374617274046e6f74650d736f757263652f64657669636510736f757263652f66696c655f686173680217736f757263652f696d706f727465725f76657273696f6e7d0e736f757263652f73657373696f6e0573746172740a7a6f6e655f67756573737d01000102007f0204007f0202007f0103007f037903000100017d0403017b7809017a0703011205017f0004017f040701732476246676006669666900a601860803147e69768d013130323030206da8013234303020736379636c696e6735303030206d80d5bce4d63035323030206d80f485e5d6306669743a313a313833363961363036313631653230336664303639383036653536313739656432663336386566623331643964663430376266376431336230386364366635623433396502010080d5bce4d6304574632f555443120003', NULL);
INSERT INTO public.snapshots VALUES (211107228486251, '\x01a20e2b599377d2ba6c888118ee8d70', 7, '{"\\x184525af17713aab6b311747251fd286c934e54b55dc039b808e5a2e9927e32e","\\x56bf00663f1b5d32dacc0ad713f5d31e714b4e9659acad26ed1af90904fdc225"}', '\x856f4a83db8b4cc00096050210414b5420d1fad23dfc591f3ea7397d941097c758ffca09e7d5d44af17c1bf97cc202184525af17713aab6b311747251fd286c934e54b55dc039b808e5a2e9927e32e56bf00663f1b5d32dacc0ad713f5d31e714b4e9659acad26ed1af90904fdc22507010403041304230b4004430256020e010402141106130915bc01210a231334034211562b5795018001068101038301037d0100017d0100017d1e020d7d93b3adf1a034ba0e837f7f0002010200030700082701000802010e02030603077f0a020d040e050f0510000b0d010017000a7e00200c0100177c09657865726369736573046e6f74650b73657373696f6e5f72706505737461727403057469746c657d047a6f6e6508627239317a383034086b3731703970627a000e69046e616d6503706f730473657473046e616d6503706f730473657473086e73676671726334083774726367766a70086e61637a39657961046b696e64046c6f616403706f730472657073046b696e64046c6f616403706f73047265707303727065046b696e64046c6f616403706f7304726570730372706502017f0002017f00290102017a1e63011b006602017f190d017f5b16010a0e177e00040601020010017f00020104000e0102007a8501698601e601f6017602000e167b764600b6012604000246742614465626148501465646148501000000000000204092b3adf1a034507573682064617950757368206461792c206c6f6e6750757368206461792c2068656176794574632f55544366726f6d207468652070686f6e6550756c6c2d75703831383042656e63682070726573733830776f726b30206b6738300c776f726b3830206b673830080000000000002040776f726b3830206b673831383008000000000000204004007f022a007e00017e1f000102', NULL);
ALTER TABLE ONLY public._sqlx_migrations
    ADD CONSTRAINT _sqlx_migrations_pkey PRIMARY KEY (version);
ALTER TABLE ONLY public.account_usage
    ADD CONSTRAINT account_usage_pkey PRIMARY KEY (account);
ALTER TABLE ONLY public.accounts
    ADD CONSTRAINT accounts_pkey PRIMARY KEY (account);
ALTER TABLE ONLY public.actors
    ADD CONSTRAINT actors_pkey PRIMARY KEY (actor);
ALTER TABLE ONLY public.audit_heads
    ADD CONSTRAINT audit_heads_pkey PRIMARY KEY (account);
ALTER TABLE ONLY public.audit_reads
    ADD CONSTRAINT audit_reads_pkey PRIMARY KEY (account, feed, device, purposes);
ALTER TABLE ONLY public.audit_records
    ADD CONSTRAINT audit_records_pkey PRIMARY KEY (account, n);
ALTER TABLE ONLY public.confirmed_addresses
    ADD CONSTRAINT confirmed_addresses_pkey PRIMARY KEY (account);
ALTER TABLE ONLY public.devices
    ADD CONSTRAINT devices_pkey PRIMARY KEY (device);
ALTER TABLE ONLY public.devices
    ADD CONSTRAINT devices_token_hash_key UNIQUE (token_hash);
ALTER TABLE ONLY public.documents
    ADD CONSTRAINT documents_pkey PRIMARY KEY (account, doc_id);
ALTER TABLE ONLY public.entries
    ADD CONSTRAINT entries_pkey PRIMARY KEY (feed, seq);
ALTER TABLE ONLY public.entries_0
    ADD CONSTRAINT entries_0_pkey PRIMARY KEY (feed, seq);
ALTER TABLE ONLY public.entries_1
    ADD CONSTRAINT entries_1_pkey PRIMARY KEY (feed, seq);
ALTER TABLE ONLY public.entries_2
    ADD CONSTRAINT entries_2_pkey PRIMARY KEY (feed, seq);
ALTER TABLE ONLY public.entries_3
    ADD CONSTRAINT entries_3_pkey PRIMARY KEY (feed, seq);
ALTER TABLE ONLY public.entries_4
    ADD CONSTRAINT entries_4_pkey PRIMARY KEY (feed, seq);
ALTER TABLE ONLY public.entries_5
    ADD CONSTRAINT entries_5_pkey PRIMARY KEY (feed, seq);
ALTER TABLE ONLY public.entries_6
    ADD CONSTRAINT entries_6_pkey PRIMARY KEY (feed, seq);
ALTER TABLE ONLY public.entries_7
    ADD CONSTRAINT entries_7_pkey PRIMARY KEY (feed, seq);
ALTER TABLE ONLY public.erased_devices
    ADD CONSTRAINT erased_devices_pkey PRIMARY KEY (device);
ALTER TABLE ONLY public.erasures
    ADD CONSTRAINT erasures_pkey PRIMARY KEY (account, doc_id);
ALTER TABLE ONLY public.feeds
    ADD CONSTRAINT feeds_account_collection_scope_key UNIQUE (account, collection, scope);
ALTER TABLE ONLY public.feeds
    ADD CONSTRAINT feeds_pkey PRIMARY KEY (feed);
ALTER TABLE ONLY public.grantees
    ADD CONSTRAINT grantees_pkey PRIMARY KEY (grantee);
ALTER TABLE ONLY public.grants_now
    ADD CONSTRAINT grants_now_pkey PRIMARY KEY (account, grant_id, feed);
ALTER TABLE ONLY public.installation
    ADD CONSTRAINT installation_pkey PRIMARY KEY (only_row);
ALTER TABLE ONLY public.invites
    ADD CONSTRAINT invites_pkey PRIMARY KEY (code_hash);
ALTER TABLE ONLY public.login_failures
    ADD CONSTRAINT login_failures_pkey PRIMARY KEY (email_hash, prefix);
ALTER TABLE ONLY public.mailed_tokens
    ADD CONSTRAINT mailed_tokens_pkey PRIMARY KEY (account, purpose);
ALTER TABLE ONLY public.mailed_tokens
    ADD CONSTRAINT mailed_tokens_token_hash_key UNIQUE (token_hash);
ALTER TABLE ONLY public.merge_queue
    ADD CONSTRAINT merge_queue_pkey PRIMARY KEY (feed);
ALTER TABLE ONLY public.oidc_identities
    ADD CONSTRAINT oidc_identities_pkey PRIMARY KEY (issuer, subject);
ALTER TABLE ONLY public.oidc_sign_ins
    ADD CONSTRAINT oidc_sign_ins_pkey PRIMARY KEY (state_hash);
ALTER TABLE ONLY public.oidc_sign_ins
    ADD CONSTRAINT oidc_sign_ins_ticket_hash_key UNIQUE (ticket_hash);
ALTER TABLE ONLY public.records
    ADD CONSTRAINT records_pkey PRIMARY KEY (feed, doc_id);
ALTER TABLE ONLY public.recovery_codes
    ADD CONSTRAINT recovery_codes_pkey PRIMARY KEY (account, code_hash);
ALTER TABLE ONLY public.relations
    ADD CONSTRAINT relations_pkey PRIMARY KEY (account, grantee);
ALTER TABLE ONLY public.retired_feeds
    ADD CONSTRAINT retired_feeds_pkey PRIMARY KEY (feed);
ALTER TABLE ONLY public.revocations
    ADD CONSTRAINT revocations_pkey PRIMARY KEY (account, grant_id);
ALTER TABLE ONLY public.settings
    ADD CONSTRAINT settings_pkey PRIMARY KEY (only_row);
ALTER TABLE ONLY public.sign_ins
    ADD CONSTRAINT sign_ins_family_hash_key UNIQUE (family_hash);
ALTER TABLE ONLY public.sign_ins
    ADD CONSTRAINT sign_ins_pkey PRIMARY KEY (sign_in);
ALTER TABLE ONLY public.signing_keys
    ADD CONSTRAINT signing_keys_pkey PRIMARY KEY (kid);
ALTER TABLE ONLY public.snapshots
    ADD CONSTRAINT snapshots_pkey PRIMARY KEY (feed, doc_id);
ALTER TABLE ONLY public.totp
    ADD CONSTRAINT totp_pkey PRIMARY KEY (account);
CREATE UNIQUE INDEX accounts_email ON public.accounts USING btree (lower(email));
CREATE INDEX devices_account ON public.devices USING btree (account);
CREATE UNIQUE INDEX entries_actor ON ONLY public.entries USING btree (feed, doc_id, actor, actor_seq);
CREATE UNIQUE INDEX entries_0_feed_doc_id_actor_actor_seq_idx ON public.entries_0 USING btree (feed, doc_id, actor, actor_seq);
CREATE UNIQUE INDEX entries_change ON ONLY public.entries USING btree (feed, doc_id, change_hash);
CREATE UNIQUE INDEX entries_0_feed_doc_id_change_hash_idx ON public.entries_0 USING btree (feed, doc_id, change_hash);
CREATE UNIQUE INDEX entries_id ON ONLY public.entries USING btree (feed, entry_id);
CREATE UNIQUE INDEX entries_0_feed_entry_id_idx ON public.entries_0 USING btree (feed, entry_id);
CREATE UNIQUE INDEX entries_1_feed_doc_id_actor_actor_seq_idx ON public.entries_1 USING btree (feed, doc_id, actor, actor_seq);
CREATE UNIQUE INDEX entries_1_feed_doc_id_change_hash_idx ON public.entries_1 USING btree (feed, doc_id, change_hash);
CREATE UNIQUE INDEX entries_1_feed_entry_id_idx ON public.entries_1 USING btree (feed, entry_id);
CREATE UNIQUE INDEX entries_2_feed_doc_id_actor_actor_seq_idx ON public.entries_2 USING btree (feed, doc_id, actor, actor_seq);
CREATE UNIQUE INDEX entries_2_feed_doc_id_change_hash_idx ON public.entries_2 USING btree (feed, doc_id, change_hash);
CREATE UNIQUE INDEX entries_2_feed_entry_id_idx ON public.entries_2 USING btree (feed, entry_id);
CREATE UNIQUE INDEX entries_3_feed_doc_id_actor_actor_seq_idx ON public.entries_3 USING btree (feed, doc_id, actor, actor_seq);
CREATE UNIQUE INDEX entries_3_feed_doc_id_change_hash_idx ON public.entries_3 USING btree (feed, doc_id, change_hash);
CREATE UNIQUE INDEX entries_3_feed_entry_id_idx ON public.entries_3 USING btree (feed, entry_id);
CREATE UNIQUE INDEX entries_4_feed_doc_id_actor_actor_seq_idx ON public.entries_4 USING btree (feed, doc_id, actor, actor_seq);
CREATE UNIQUE INDEX entries_4_feed_doc_id_change_hash_idx ON public.entries_4 USING btree (feed, doc_id, change_hash);
CREATE UNIQUE INDEX entries_4_feed_entry_id_idx ON public.entries_4 USING btree (feed, entry_id);
CREATE UNIQUE INDEX entries_5_feed_doc_id_actor_actor_seq_idx ON public.entries_5 USING btree (feed, doc_id, actor, actor_seq);
CREATE UNIQUE INDEX entries_5_feed_doc_id_change_hash_idx ON public.entries_5 USING btree (feed, doc_id, change_hash);
CREATE UNIQUE INDEX entries_5_feed_entry_id_idx ON public.entries_5 USING btree (feed, entry_id);
CREATE UNIQUE INDEX entries_6_feed_doc_id_actor_actor_seq_idx ON public.entries_6 USING btree (feed, doc_id, actor, actor_seq);
CREATE UNIQUE INDEX entries_6_feed_doc_id_change_hash_idx ON public.entries_6 USING btree (feed, doc_id, change_hash);
CREATE UNIQUE INDEX entries_6_feed_entry_id_idx ON public.entries_6 USING btree (feed, entry_id);
CREATE UNIQUE INDEX entries_7_feed_doc_id_actor_actor_seq_idx ON public.entries_7 USING btree (feed, doc_id, actor, actor_seq);
CREATE UNIQUE INDEX entries_7_feed_doc_id_change_hash_idx ON public.entries_7 USING btree (feed, doc_id, change_hash);
CREATE UNIQUE INDEX entries_7_feed_entry_id_idx ON public.entries_7 USING btree (feed, entry_id);
CREATE INDEX erasures_unlisted ON public.erasures USING btree (erased_at) WHERE (listed_at IS NULL);
CREATE INDEX feeds_touched ON public.feeds USING btree (touched_at);
CREATE INDEX grantees_changed ON public.grantees USING btree (changed_at);
CREATE INDEX grants_now_begins ON public.grants_now USING btree (from_ms) WHERE (from_ms IS NOT NULL);
CREATE INDEX grants_now_ends ON public.grants_now USING btree (until_ms) WHERE (until_ms IS NOT NULL);
CREATE INDEX grants_now_grantee ON public.grants_now USING btree (grantee, account);
CREATE INDEX invites_grantee ON public.invites USING btree (grantee);
CREATE INDEX login_failures_last ON public.login_failures USING btree (last_at);
CREATE INDEX merge_queue_behind ON public.merge_queue USING btree (feed) WHERE ((merged_seq < head_seq) OR (clean_seq IS NOT NULL));
CREATE INDEX merge_queue_waiting ON public.merge_queue USING btree (served_at) WHERE (merged_seq < head_seq);
CREATE INDEX oidc_identities_account ON public.oidc_identities USING btree (account);
CREATE INDEX oidc_sign_ins_expires ON public.oidc_sign_ins USING btree (expires_at);
CREATE INDEX oidc_sign_ins_network ON public.oidc_sign_ins USING btree (network, expires_at);
CREATE INDEX records_at ON public.records USING btree (feed, at DESC);
CREATE INDEX relations_grantee ON public.relations USING btree (grantee);
CREATE INDEX sign_ins_account ON public.sign_ins USING btree (account);
CREATE INDEX sign_ins_ended ON public.sign_ins USING btree (ended_at) WHERE (ended_at IS NOT NULL);
CREATE UNIQUE INDEX sign_ins_live ON public.sign_ins USING btree (device) WHERE (ended_at IS NULL);
CREATE INDEX snapshots_quarantined ON public.snapshots USING btree (feed, snapshot_seq) WHERE (quarantined IS NOT NULL);
ALTER INDEX public.entries_actor ATTACH PARTITION public.entries_0_feed_doc_id_actor_actor_seq_idx;
ALTER INDEX public.entries_change ATTACH PARTITION public.entries_0_feed_doc_id_change_hash_idx;
ALTER INDEX public.entries_id ATTACH PARTITION public.entries_0_feed_entry_id_idx;
ALTER INDEX public.entries_pkey ATTACH PARTITION public.entries_0_pkey;
ALTER INDEX public.entries_actor ATTACH PARTITION public.entries_1_feed_doc_id_actor_actor_seq_idx;
ALTER INDEX public.entries_change ATTACH PARTITION public.entries_1_feed_doc_id_change_hash_idx;
ALTER INDEX public.entries_id ATTACH PARTITION public.entries_1_feed_entry_id_idx;
ALTER INDEX public.entries_pkey ATTACH PARTITION public.entries_1_pkey;
ALTER INDEX public.entries_actor ATTACH PARTITION public.entries_2_feed_doc_id_actor_actor_seq_idx;
ALTER INDEX public.entries_change ATTACH PARTITION public.entries_2_feed_doc_id_change_hash_idx;
ALTER INDEX public.entries_id ATTACH PARTITION public.entries_2_feed_entry_id_idx;
ALTER INDEX public.entries_pkey ATTACH PARTITION public.entries_2_pkey;
ALTER INDEX public.entries_actor ATTACH PARTITION public.entries_3_feed_doc_id_actor_actor_seq_idx;
ALTER INDEX public.entries_change ATTACH PARTITION public.entries_3_feed_doc_id_change_hash_idx;
ALTER INDEX public.entries_id ATTACH PARTITION public.entries_3_feed_entry_id_idx;
ALTER INDEX public.entries_pkey ATTACH PARTITION public.entries_3_pkey;
ALTER INDEX public.entries_actor ATTACH PARTITION public.entries_4_feed_doc_id_actor_actor_seq_idx;
ALTER INDEX public.entries_change ATTACH PARTITION public.entries_4_feed_doc_id_change_hash_idx;
ALTER INDEX public.entries_id ATTACH PARTITION public.entries_4_feed_entry_id_idx;
ALTER INDEX public.entries_pkey ATTACH PARTITION public.entries_4_pkey;
ALTER INDEX public.entries_actor ATTACH PARTITION public.entries_5_feed_doc_id_actor_actor_seq_idx;
ALTER INDEX public.entries_change ATTACH PARTITION public.entries_5_feed_doc_id_change_hash_idx;
ALTER INDEX public.entries_id ATTACH PARTITION public.entries_5_feed_entry_id_idx;
ALTER INDEX public.entries_pkey ATTACH PARTITION public.entries_5_pkey;
ALTER INDEX public.entries_actor ATTACH PARTITION public.entries_6_feed_doc_id_actor_actor_seq_idx;
ALTER INDEX public.entries_change ATTACH PARTITION public.entries_6_feed_doc_id_change_hash_idx;
ALTER INDEX public.entries_id ATTACH PARTITION public.entries_6_feed_entry_id_idx;
ALTER INDEX public.entries_pkey ATTACH PARTITION public.entries_6_pkey;
ALTER INDEX public.entries_actor ATTACH PARTITION public.entries_7_feed_doc_id_actor_actor_seq_idx;
ALTER INDEX public.entries_change ATTACH PARTITION public.entries_7_feed_doc_id_change_hash_idx;
ALTER INDEX public.entries_id ATTACH PARTITION public.entries_7_feed_entry_id_idx;
ALTER INDEX public.entries_pkey ATTACH PARTITION public.entries_7_pkey;
ALTER TABLE ONLY public.confirmed_addresses
    ADD CONSTRAINT confirmed_addresses_account_fkey FOREIGN KEY (account) REFERENCES public.accounts(account);
ALTER TABLE ONLY public.devices
    ADD CONSTRAINT devices_account_fkey FOREIGN KEY (account) REFERENCES public.accounts(account);
ALTER TABLE ONLY public.feeds
    ADD CONSTRAINT feeds_account_fkey FOREIGN KEY (account) REFERENCES public.accounts(account);
ALTER TABLE ONLY public.invites
    ADD CONSTRAINT invites_accepted_by_fkey FOREIGN KEY (accepted_by) REFERENCES public.accounts(account);
ALTER TABLE ONLY public.invites
    ADD CONSTRAINT invites_grantee_fkey FOREIGN KEY (grantee) REFERENCES public.accounts(account);
ALTER TABLE ONLY public.mailed_tokens
    ADD CONSTRAINT mailed_tokens_account_fkey FOREIGN KEY (account) REFERENCES public.accounts(account);
ALTER TABLE ONLY public.oidc_identities
    ADD CONSTRAINT oidc_identities_account_fkey FOREIGN KEY (account) REFERENCES public.accounts(account);
ALTER TABLE ONLY public.oidc_sign_ins
    ADD CONSTRAINT oidc_sign_ins_links_fkey FOREIGN KEY (links) REFERENCES public.accounts(account) ON DELETE CASCADE;
ALTER TABLE ONLY public.recovery_codes
    ADD CONSTRAINT recovery_codes_account_fkey FOREIGN KEY (account) REFERENCES public.accounts(account);
ALTER TABLE ONLY public.relations
    ADD CONSTRAINT relations_account_fkey FOREIGN KEY (account) REFERENCES public.accounts(account);
ALTER TABLE ONLY public.relations
    ADD CONSTRAINT relations_grantee_fkey FOREIGN KEY (grantee) REFERENCES public.accounts(account);
ALTER TABLE ONLY public.sign_ins
    ADD CONSTRAINT sign_ins_account_fkey FOREIGN KEY (account) REFERENCES public.accounts(account);
ALTER TABLE ONLY public.sign_ins
    ADD CONSTRAINT sign_ins_device_fkey FOREIGN KEY (device) REFERENCES public.devices(device);
ALTER TABLE ONLY public.totp
    ADD CONSTRAINT totp_account_fkey FOREIGN KEY (account) REFERENCES public.accounts(account);
ALTER TABLE public.account_usage ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.actors ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.audit_heads ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.audit_reads ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.audit_records ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.confirmed_addresses ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.devices ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.documents ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.entries ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.entries_0 ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.entries_1 ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.entries_2 ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.entries_3 ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.entries_4 ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.entries_5 ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.entries_6 ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.entries_7 ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.erasures ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.feeds ENABLE ROW LEVEL SECURITY;
CREATE POLICY for_audit ON public.accounts FOR SELECT TO fitme_audit USING (true);
CREATE POLICY for_audit ON public.audit_heads FOR SELECT TO fitme_audit USING (true);
CREATE POLICY for_audit ON public.audit_reads FOR SELECT TO fitme_audit USING (true);
CREATE POLICY for_audit ON public.audit_records FOR SELECT TO fitme_audit USING (true);
CREATE POLICY for_turns ON public.feeds FOR SELECT TO fitme_merge USING (true);
CREATE POLICY for_turns ON public.merge_queue TO fitme_merge USING (true);
ALTER TABLE public.grantees ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.grants_now ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.invites ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.mailed_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.merge_queue ENABLE ROW LEVEL SECURITY;
CREATE POLICY of_accounts ON public.account_usage TO fitme_server USING ((account = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
CREATE POLICY of_accounts ON public.accounts TO fitme_server USING ((account = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
CREATE POLICY of_accounts ON public.actors TO fitme_server USING ((EXISTS ( SELECT
   FROM public.devices
  WHERE (devices.device = actors.device))));
CREATE POLICY of_accounts ON public.audit_heads TO fitme_server USING ((account = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
CREATE POLICY of_accounts ON public.audit_reads TO fitme_server USING ((account = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
CREATE POLICY of_accounts ON public.audit_records TO fitme_server USING ((account = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
CREATE POLICY of_accounts ON public.confirmed_addresses TO fitme_server USING ((account = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
CREATE POLICY of_accounts ON public.devices TO fitme_server USING ((account = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
CREATE POLICY of_accounts ON public.documents TO fitme_server USING ((account = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
CREATE POLICY of_accounts ON public.entries TO fitme_server USING ((EXISTS ( SELECT
   FROM public.feeds
  WHERE (feeds.feed = entries.feed))));
CREATE POLICY of_accounts ON public.erasures TO fitme_server USING ((account = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
CREATE POLICY of_accounts ON public.feeds TO fitme_server USING ((account = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
CREATE POLICY of_accounts ON public.grantees TO fitme_server USING ((grantee = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
CREATE POLICY of_accounts ON public.grants_now TO fitme_server USING ((account = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
CREATE POLICY of_accounts ON public.invites TO fitme_server USING ((grantee = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
CREATE POLICY of_accounts ON public.mailed_tokens TO fitme_server USING ((account = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
CREATE POLICY of_accounts ON public.merge_queue TO fitme_server USING ((EXISTS ( SELECT
   FROM public.feeds
  WHERE (feeds.feed = merge_queue.feed))));
CREATE POLICY of_accounts ON public.oidc_identities TO fitme_server USING ((account = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
CREATE POLICY of_accounts ON public.records TO fitme_server USING ((EXISTS ( SELECT
   FROM public.feeds
  WHERE (feeds.feed = records.feed))));
CREATE POLICY of_accounts ON public.recovery_codes TO fitme_server USING ((account = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
CREATE POLICY of_accounts ON public.relations TO fitme_server USING ((account = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
CREATE POLICY of_accounts ON public.revocations TO fitme_server USING ((account = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
CREATE POLICY of_accounts ON public.sign_ins TO fitme_server USING ((account = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
CREATE POLICY of_accounts ON public.snapshots TO fitme_server USING ((EXISTS ( SELECT
   FROM public.feeds
  WHERE (feeds.feed = snapshots.feed))));
CREATE POLICY of_accounts ON public.totp TO fitme_server USING ((account = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
CREATE POLICY of_all ON public.accounts FOR SELECT TO fitme_admin USING (true);
CREATE POLICY of_all ON public.confirmed_addresses FOR SELECT TO fitme_admin USING (true);
CREATE POLICY of_all ON public.feeds FOR SELECT TO fitme_poll USING (true);
CREATE POLICY of_all ON public.grantees FOR SELECT TO fitme_poll USING (true);
CREATE POLICY of_all ON public.grants_now FOR SELECT TO fitme_poll USING (true);
CREATE POLICY of_all ON public.merge_queue FOR SELECT TO fitme_poll USING (true);
CREATE POLICY of_all ON public.sign_ins FOR SELECT TO fitme_poll USING (true);
CREATE POLICY of_everybody ON public.sign_ins FOR SELECT TO fitme_admin USING (true);
CREATE POLICY of_grantees ON public.grants_now FOR SELECT TO fitme_server USING ((grantee = ANY (( SELECT public.walled_accounts() AS walled_accounts)::uuid[])));
ALTER TABLE public.oidc_identities ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.records ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.recovery_codes ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.relations ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.revocations ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.sign_ins ENABLE ROW LEVEL SECURITY;
ALTER TABLE public.snapshots ENABLE ROW LEVEL SECURITY;
CREATE POLICY to_list ON public.erasures TO fitme_tidy USING (true);
ALTER TABLE public.totp ENABLE ROW LEVEL SECURITY;
CREATE POLICY when_over ON public.mailed_tokens TO fitme_tidy USING (true);
CREATE POLICY when_over ON public.sign_ins TO fitme_tidy USING (true);
GRANT SELECT,INSERT,UPDATE ON TABLE public.devices TO fitme_server;
REVOKE ALL ON FUNCTION public.account_of_device(device uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION public.account_of_device(device uuid) TO fitme_server;
GRANT SELECT,INSERT,UPDATE ON TABLE public.accounts TO fitme_server;
GRANT SELECT(account) ON TABLE public.accounts TO fitme_audit;
GRANT SELECT(account) ON TABLE public.accounts TO fitme_admin;
GRANT SELECT(email) ON TABLE public.accounts TO fitme_admin;
GRANT SELECT(created_at) ON TABLE public.accounts TO fitme_admin;
GRANT SELECT(role) ON TABLE public.accounts TO fitme_admin;
REVOKE ALL ON FUNCTION public.account_of_email(email text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.account_of_email(email text) TO fitme_server;
GRANT SELECT,INSERT,DELETE ON TABLE public.oidc_identities TO fitme_server;
REVOKE ALL ON FUNCTION public.account_of_identity(issuer text, subject text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.account_of_identity(issuer text, subject text) TO fitme_server;
GRANT SELECT,INSERT,UPDATE ON TABLE public.invites TO fitme_server;
REVOKE ALL ON FUNCTION public.account_of_invite(hash bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION public.account_of_invite(hash bytea) TO fitme_server;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.mailed_tokens TO fitme_server;
GRANT DELETE ON TABLE public.mailed_tokens TO fitme_tidy;
GRANT SELECT(expires_at) ON TABLE public.mailed_tokens TO fitme_tidy;
REVOKE ALL ON FUNCTION public.account_of_mailed_token(hash bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION public.account_of_mailed_token(hash bytea) TO fitme_server;
GRANT SELECT,INSERT,UPDATE ON TABLE public.sign_ins TO fitme_server;
GRANT DELETE ON TABLE public.sign_ins TO fitme_tidy;
GRANT SELECT(sign_in) ON TABLE public.sign_ins TO fitme_poll;
GRANT SELECT(account) ON TABLE public.sign_ins TO fitme_admin;
GRANT SELECT(expires_at) ON TABLE public.sign_ins TO fitme_tidy;
GRANT SELECT(ended_at) ON TABLE public.sign_ins TO fitme_poll;
GRANT SELECT(ended_at) ON TABLE public.sign_ins TO fitme_admin;
REVOKE ALL ON FUNCTION public.account_of_token(hash bytea) FROM PUBLIC;
GRANT ALL ON FUNCTION public.account_of_token(hash bytea) TO fitme_server;
REVOKE ALL ON FUNCTION public.devices_of_actors(actors bytea[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.devices_of_actors(actors bytea[]) TO fitme_server;
REVOKE ALL ON FUNCTION public.empty_documents(feed_numbers bigint[], doc_ids bytea[], seqs bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.empty_documents(feed_numbers bigint[], doc_ids bytea[], seqs bigint[]) TO fitme_server;
REVOKE ALL ON FUNCTION public.erase_account(gone uuid) FROM PUBLIC;
GRANT ALL ON FUNCTION public.erase_account(gone uuid) TO fitme_server;
GRANT SELECT,INSERT,DELETE ON TABLE public.grants_now TO fitme_server;
GRANT SELECT(grantee) ON TABLE public.grants_now TO fitme_poll;
GRANT SELECT(from_ms) ON TABLE public.grants_now TO fitme_poll;
GRANT SELECT(until_ms) ON TABLE public.grants_now TO fitme_poll;
REVOKE ALL ON FUNCTION public.feeds_granted_to(accounts uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.feeds_granted_to(accounts uuid[]) TO fitme_server;
GRANT SELECT ON TABLE public.grantees TO fitme_server;
GRANT SELECT(grantee) ON TABLE public.grantees TO fitme_poll;
GRANT SELECT(version) ON TABLE public.grantees TO fitme_poll;
GRANT SELECT(changed_at) ON TABLE public.grantees TO fitme_poll;
REVOKE ALL ON FUNCTION public.note_regranted(accounts uuid[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.note_regranted(accounts uuid[]) TO fitme_server;
GRANT SELECT,INSERT,UPDATE ON TABLE public.feeds TO fitme_server;
GRANT SELECT(feed) ON TABLE public.feeds TO fitme_poll;
GRANT SELECT(feed) ON TABLE public.feeds TO fitme_merge;
GRANT SELECT(account) ON TABLE public.feeds TO fitme_merge;
GRANT SELECT(collection) ON TABLE public.feeds TO fitme_merge;
GRANT SELECT(head_seq) ON TABLE public.feeds TO fitme_poll;
GRANT SELECT(touched_at) ON TABLE public.feeds TO fitme_poll;
REVOKE ALL ON FUNCTION public.places_of_feeds(feeds bigint[]) FROM PUBLIC;
GRANT ALL ON FUNCTION public.places_of_feeds(feeds bigint[]) TO fitme_server;
REVOKE ALL ON FUNCTION public.replace_installation(new_id bytea, new_fingerprint text) FROM PUBLIC;
GRANT ALL ON FUNCTION public.replace_installation(new_id bytea, new_fingerprint text) TO fitme_server;
GRANT SELECT ON TABLE public._sqlx_migrations TO fitme_node;
GRANT SELECT,INSERT,UPDATE ON TABLE public.account_usage TO fitme_server;
GRANT SELECT,INSERT,UPDATE ON TABLE public.actors TO fitme_server;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.audit_heads TO fitme_server;
GRANT SELECT ON TABLE public.audit_heads TO fitme_audit;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.audit_reads TO fitme_server;
GRANT SELECT(account) ON TABLE public.audit_reads TO fitme_audit;
GRANT SELECT(first_at_ms) ON TABLE public.audit_reads TO fitme_audit;
GRANT SELECT,INSERT,DELETE ON TABLE public.audit_records TO fitme_server;
GRANT SELECT ON TABLE public.audit_records TO fitme_audit;
GRANT SELECT,INSERT ON TABLE public.confirmed_addresses TO fitme_server;
GRANT SELECT(account) ON TABLE public.confirmed_addresses TO fitme_admin;
GRANT SELECT,INSERT,UPDATE ON TABLE public.documents TO fitme_server;
GRANT SELECT,INSERT ON TABLE public.entries TO fitme_server;
GRANT SELECT ON TABLE public.erased_devices TO fitme_server;
GRANT SELECT,INSERT ON TABLE public.erasures TO fitme_server;
GRANT SELECT ON TABLE public.erasures TO fitme_tidy;
GRANT UPDATE(listed_at) ON TABLE public.erasures TO fitme_tidy;
GRANT SELECT,INSERT ON TABLE public.installation TO fitme_server;
GRANT SELECT(id) ON TABLE public.installation TO fitme_poll;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.login_failures TO fitme_server;
GRANT DELETE ON TABLE public.login_failures TO fitme_tidy;
GRANT SELECT(last_at) ON TABLE public.login_failures TO fitme_tidy;
GRANT SELECT,INSERT,UPDATE ON TABLE public.merge_queue TO fitme_server;
GRANT SELECT(feed) ON TABLE public.merge_queue TO fitme_poll;
GRANT SELECT(feed) ON TABLE public.merge_queue TO fitme_merge;
GRANT SELECT(head_seq) ON TABLE public.merge_queue TO fitme_merge;
GRANT SELECT(merged_seq) ON TABLE public.merge_queue TO fitme_poll;
GRANT SELECT(merged_seq) ON TABLE public.merge_queue TO fitme_merge;
GRANT SELECT(served_at) ON TABLE public.merge_queue TO fitme_merge;
GRANT SELECT(lease_until),UPDATE(lease_until) ON TABLE public.merge_queue TO fitme_merge;
GRANT SELECT(worker),UPDATE(worker) ON TABLE public.merge_queue TO fitme_merge;
GRANT SELECT(clean_seq) ON TABLE public.merge_queue TO fitme_poll;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.oidc_sign_ins TO fitme_server;
GRANT DELETE ON TABLE public.oidc_sign_ins TO fitme_tidy;
GRANT SELECT(expires_at) ON TABLE public.oidc_sign_ins TO fitme_tidy;
GRANT SELECT,INSERT,UPDATE ON TABLE public.records TO fitme_server;
GRANT SELECT,INSERT,DELETE ON TABLE public.recovery_codes TO fitme_server;
GRANT SELECT,INSERT ON TABLE public.relations TO fitme_server;
GRANT SELECT ON TABLE public.retired_feeds TO fitme_server;
GRANT SELECT,INSERT ON TABLE public.revocations TO fitme_server;
GRANT SELECT ON TABLE public.settings TO fitme_server;
GRANT SELECT,UPDATE ON TABLE public.settings TO fitme_admin;
GRANT SELECT,INSERT,DELETE ON TABLE public.signing_keys TO fitme_server;
GRANT SELECT,INSERT,UPDATE ON TABLE public.snapshots TO fitme_server;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE public.totp TO fitme_server;
