-- What dialplane writes.

CREATE TABLE control.change_log (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT change_log_pkey PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    by text NOT NULL,
    account text,
    state text NOT NULL CONSTRAINT change_log_state CHECK (state IN ('configuration', 'operational')),
    tbl text NOT NULL,
    key text NOT NULL,
    verb text NOT NULL CONSTRAINT change_log_verb CHECK (verb IN ('insert', 'update', 'delete')),
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id()
);
CREATE INDEX change_log_transaction ON control.change_log (transaction);
COMMENT ON TABLE control.change_log IS 'Which rows changed: it tells the controller which accounts to compile again.';
COMMENT ON COLUMN control.change_log.id IS 'Position in the log. Not in order of commit: see control.pending_changes.';
COMMENT ON COLUMN control.change_log.at IS 'Start of the transaction.';
COMMENT ON COLUMN control.change_log.by IS 'Who: the login role, and the person a program named in dialplane.actor.';
COMMENT ON COLUMN control.change_log.account IS 'Name of the account it touches; null: what all accounts share.';
COMMENT ON COLUMN control.change_log.state IS 'configuration waits for apply; operational is live already.';
COMMENT ON COLUMN control.change_log.tbl IS 'Table of the row.';
COMMENT ON COLUMN control.change_log.key IS 'Natural name of the row.';
COMMENT ON COLUMN control.change_log.verb IS 'insert, update or delete.';
COMMENT ON COLUMN control.change_log.transaction IS 'Transaction that changed the row.';

CREATE TABLE control.audit (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT audit_pkey PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    by text NOT NULL,
    tbl text NOT NULL,
    key text NOT NULL,
    verb text NOT NULL CONSTRAINT audit_verb CHECK (verb IN ('insert', 'update', 'delete')),
    old jsonb,
    new jsonb
);
CREATE INDEX audit_row ON control.audit (tbl, key);
COMMENT ON TABLE control.audit IS 'Who changed what, with the row before and after. Digests are left out.';
COMMENT ON COLUMN control.audit.id IS 'Number of the row.';
COMMENT ON COLUMN control.audit.at IS 'Start of the transaction.';
COMMENT ON COLUMN control.audit.by IS 'Who: the login role, and the person a program named in dialplane.actor.';
COMMENT ON COLUMN control.audit.tbl IS 'Table of the row.';
COMMENT ON COLUMN control.audit.key IS 'Natural name of the row.';
COMMENT ON COLUMN control.audit.verb IS 'insert, update or delete.';
COMMENT ON COLUMN control.audit.old IS 'The row before; null for an insert. A digest that changes reads "changed".';
COMMENT ON COLUMN control.audit.new IS 'The row after; null for a delete. A digest that changes reads "changed".';

CREATE TABLE control.revisions (
    id bigint CONSTRAINT revisions_pkey PRIMARY KEY,
    state text NOT NULL CONSTRAINT revisions_state CHECK (state IN ('configuration', 'operational')),
    base bigint CONSTRAINT revisions_base_fkey REFERENCES control.revisions,
    digest text NOT NULL,
    author text NOT NULL,
    reason text NOT NULL,
    unsafe_reason text,
    created_at timestamptz NOT NULL DEFAULT now(),
    creates integer NOT NULL DEFAULT 0,
    updates integer NOT NULL DEFAULT 0,
    deletes integer NOT NULL DEFAULT 0,
    rolls_back bigint CONSTRAINT revisions_rolls_back_fkey REFERENCES control.revisions,
    transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    CONSTRAINT revisions_order CHECK (base < id AND rolls_back < id)
);
COMMENT ON TABLE control.revisions IS 'Revisions: numbered, immutable sets of entry changes. They become visible in order.';
COMMENT ON COLUMN control.revisions.id IS 'Number of the revision.';
COMMENT ON COLUMN control.revisions.state IS 'configuration: published by apply; operational: by a row, at commit.';
COMMENT ON COLUMN control.revisions.base IS 'Newest revision when this one was published; null for the first.';
COMMENT ON COLUMN control.revisions.digest IS 'SHA-256 over its changes in order of address, hex.';
COMMENT ON COLUMN control.revisions.author IS 'Who published it.';
COMMENT ON COLUMN control.revisions.reason IS 'Why.';
COMMENT ON COLUMN control.revisions.unsafe_reason IS 'Why a plan refused as unsafe was published all the same.';
COMMENT ON COLUMN control.revisions.created_at IS 'When.';
COMMENT ON COLUMN control.revisions.creates IS 'Entries it creates.';
COMMENT ON COLUMN control.revisions.updates IS 'Entries it updates.';
COMMENT ON COLUMN control.revisions.deletes IS 'Entries it deletes.';
COMMENT ON COLUMN control.revisions.rolls_back IS 'Revision whose state it restores.';
COMMENT ON COLUMN control.revisions.transaction IS 'Transaction that published it.';

CREATE TABLE control.changes (
    revision bigint NOT NULL CONSTRAINT changes_revision_fkey REFERENCES control.revisions,
    kind text NOT NULL CONSTRAINT changes_kind CHECK (kind IN ('edge', 'media')),
    scope text NOT NULL,
    tbl text NOT NULL,
    key text NOT NULL,
    account text,
    old text,
    new text,
    reason text NOT NULL,
    CONSTRAINT changes_pkey PRIMARY KEY (revision, kind, scope, tbl, key),
    CONSTRAINT changes_change CHECK (old IS DISTINCT FROM new)
);
CREATE INDEX changes_agent ON control.changes (kind, scope, revision);
COMMENT ON TABLE control.changes IS 'The entry changes of each revision.';
COMMENT ON COLUMN control.changes.revision IS 'The revision.';
COMMENT ON COLUMN control.changes.kind IS 'Kind of node that holds the entry: edge or media.';
COMMENT ON COLUMN control.changes.scope IS '* or the group of nodes that hold the entry.';
COMMENT ON COLUMN control.changes.tbl IS 'Table of the node.';
COMMENT ON COLUMN control.changes.key IS 'Key in that table.';
COMMENT ON COLUMN control.changes.account IS 'Account the entry is for; null: shared.';
COMMENT ON COLUMN control.changes.old IS 'Value before; null: the entry was created.';
COMMENT ON COLUMN control.changes.new IS 'Value after; null: the entry was deleted.';
COMMENT ON COLUMN control.changes.reason IS 'Why.';

CREATE TABLE control.entries (
    kind text NOT NULL CONSTRAINT entries_kind CHECK (kind IN ('edge', 'media')),
    scope text NOT NULL,
    tbl text NOT NULL,
    key text NOT NULL,
    value text NOT NULL,
    account text,
    revision bigint NOT NULL,
    CONSTRAINT entries_pkey PRIMARY KEY (kind, scope, tbl, key)
);
CREATE INDEX entries_account ON control.entries (account);
COMMENT ON TABLE control.entries IS 'What every node must hold, as of the newest revision.';
COMMENT ON COLUMN control.entries.kind IS 'Kind of node that holds the entry: edge or media.';
COMMENT ON COLUMN control.entries.scope IS '* or the group of nodes that hold the entry.';
COMMENT ON COLUMN control.entries.tbl IS 'Table of the node.';
COMMENT ON COLUMN control.entries.key IS 'Key in that table.';
COMMENT ON COLUMN control.entries.value IS 'Value under that key.';
COMMENT ON COLUMN control.entries.account IS 'Account the entry is for; null: shared.';
COMMENT ON COLUMN control.entries.revision IS 'Revision that set the value.';

CREATE TABLE control.node_state (
    node text CONSTRAINT node_state_pkey PRIMARY KEY,
    kind text NOT NULL CONSTRAINT node_state_kind CHECK (kind IN ('edge', 'media')),
    revision bigint NOT NULL DEFAULT 0,
    verified_revision bigint,
    verified_at timestamptz,
    drift integer NOT NULL DEFAULT 0,
    drift_detail text,
    repaired bigint NOT NULL DEFAULT 0,
    last_error text,
    server_started text,
    agent_started timestamptz,
    heard_at timestamptz NOT NULL DEFAULT now(),
    pending integer NOT NULL DEFAULT 0
);
COMMENT ON TABLE control.node_state IS 'What the agent of each node says about it.';
COMMENT ON COLUMN control.node_state.node IS 'Name of the node.';
COMMENT ON COLUMN control.node_state.kind IS 'edge or media.';
COMMENT ON COLUMN control.node_state.revision IS 'Revision that is live on the node and read back from it; 0: none.';
COMMENT ON COLUMN control.node_state.verified_revision IS 'Revision of the last full comparison.';
COMMENT ON COLUMN control.node_state.verified_at IS 'When the last full comparison ended.';
COMMENT ON COLUMN control.node_state.drift IS 'Entries that differed at the last comparison.';
COMMENT ON COLUMN control.node_state.drift_detail IS 'Which ones, for people.';
COMMENT ON COLUMN control.node_state.repaired IS 'Entries repaired since the agent was installed.';
COMMENT ON COLUMN control.node_state.last_error IS 'What went wrong last; null: nothing since the last success.';
COMMENT ON COLUMN control.node_state.server_started IS 'Start mark of the server: it changes when the server restarts.';
COMMENT ON COLUMN control.node_state.agent_started IS 'When the agent started.';
COMMENT ON COLUMN control.node_state.heard_at IS 'When the agent was heard of last.';
COMMENT ON COLUMN control.node_state.pending IS 'Operations not yet done and read back.';

CREATE TABLE control.change_cursor (
    state text CONSTRAINT change_cursor_pkey PRIMARY KEY
        CONSTRAINT change_cursor_state CHECK (state IN ('configuration', 'operational')),
    position bigint NOT NULL,
    snapshot pg_snapshot NOT NULL
);
COMMENT ON TABLE control.change_cursor IS 'How far revisions account for the change log.';
COMMENT ON COLUMN control.change_cursor.state IS 'configuration or operational.';
COMMENT ON COLUMN control.change_cursor.position IS 'Greatest change_log id that the publisher saw.';
COMMENT ON COLUMN control.change_cursor.snapshot IS
    'Transactions the publisher saw: a smaller id that committed later is still pending.';

CREATE VIEW control.pending_changes AS
SELECT log.*
FROM control.change_log AS log
WHERE log.state = 'configuration'
    AND log.id > coalesce(
        (SELECT position FROM control.change_cursor WHERE state = 'configuration'), 0
    )
UNION ALL
SELECT log.*
FROM control.change_cursor AS cursor
JOIN control.change_log AS log
    ON log.transaction >= pg_snapshot_xmin(cursor.snapshot)
    AND NOT pg_visible_in_snapshot(log.transaction, cursor.snapshot)
    AND log.id <= cursor.position
    AND log.state = 'configuration'
WHERE cursor.state = 'configuration';
COMMENT ON VIEW control.pending_changes IS
    'Changes of configuration rows that no revision accounts for yet, whatever order they committed in.';

CREATE TABLE control.call_events (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT call_events_pkey PRIMARY KEY,
    call_id text NOT NULL,
    node text NOT NULL,
    at timestamptz NOT NULL,
    event text NOT NULL,
    detail jsonb NOT NULL DEFAULT '{}',
    file_id text NOT NULL,
    position bigint NOT NULL,
    CONSTRAINT call_events_line_key UNIQUE (node, file_id, position)
);
CREATE INDEX call_events_call ON control.call_events (call_id);
COMMENT ON TABLE control.call_events IS 'What edges and media nodes said about calls, line by line.';
COMMENT ON COLUMN control.call_events.id IS 'Number of the row.';
COMMENT ON COLUMN control.call_events.call_id IS 'The call (X-DP-Call).';
COMMENT ON COLUMN control.call_events.node IS 'Node that saw it.';
COMMENT ON COLUMN control.call_events.at IS 'When, by the clock of the node.';
COMMENT ON COLUMN control.call_events.event IS 'What happened.';
COMMENT ON COLUMN control.call_events.detail IS 'All the node said about it.';
COMMENT ON COLUMN control.call_events.file_id IS 'Spool file of the node: with position it makes shipping twice harmless.';
COMMENT ON COLUMN control.call_events.position IS 'Byte position of the line in that file.';

CREATE TABLE control.call_records (
    call_id text CONSTRAINT call_records_pkey PRIMARY KEY,
    account text,
    direction text CONSTRAINT call_records_direction CHECK (direction IN ('internal', 'inbound', 'outbound')),
    caller text,
    called text,
    started_at timestamptz NOT NULL,
    answered_at timestamptz,
    ended_at timestamptz,
    duration_ms bigint,
    talk_ms bigint,
    cause integer,
    cause_text text,
    ended_by text,
    edge text,
    media_node text,
    trunk text,
    legs jsonb NOT NULL DEFAULT '[]',
    decisions jsonb NOT NULL DEFAULT '[]',
    complete boolean NOT NULL DEFAULT false
);
CREATE INDEX call_records_account ON control.call_records (account, started_at);
CREATE INDEX call_records_started ON control.call_records (started_at);
COMMENT ON TABLE control.call_records IS 'One record per call.';
COMMENT ON COLUMN control.call_records.call_id IS 'The call (X-DP-Call).';
COMMENT ON COLUMN control.call_records.account IS 'Account it belongs to.';
COMMENT ON COLUMN control.call_records.direction IS 'internal, inbound or outbound.';
COMMENT ON COLUMN control.call_records.caller IS 'Who called.';
COMMENT ON COLUMN control.call_records.called IS 'What was dialled.';
COMMENT ON COLUMN control.call_records.started_at IS 'When the INVITE came.';
COMMENT ON COLUMN control.call_records.answered_at IS 'When it was answered; null: never.';
COMMENT ON COLUMN control.call_records.ended_at IS 'When it ended; null: not yet.';
COMMENT ON COLUMN control.call_records.duration_ms IS 'From start to end, in milliseconds.';
COMMENT ON COLUMN control.call_records.talk_ms IS 'From answer to end, in milliseconds.';
COMMENT ON COLUMN control.call_records.cause IS 'Why it ended: Q.850 cause.';
COMMENT ON COLUMN control.call_records.cause_text IS 'The same in words.';
COMMENT ON COLUMN control.call_records.ended_by IS 'Who ended it.';
COMMENT ON COLUMN control.call_records.edge IS 'Edge it came through.';
COMMENT ON COLUMN control.call_records.media_node IS 'Media node that carried it; null: it went straight.';
COMMENT ON COLUMN control.call_records.trunk IS 'Trunk it used; null: none.';
COMMENT ON COLUMN control.call_records.legs IS 'Its legs, in order.';
COMMENT ON COLUMN control.call_records.decisions IS 'What was decided at each step and why.';
COMMENT ON COLUMN control.call_records.complete IS 'True: nothing more is expected.';
