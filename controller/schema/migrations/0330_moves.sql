-- Accounts on their way from one cluster to another: batches, and each account with the step it is at. What is written here
-- decides which clusters hold an account meanwhile; controller/moves/ decides what comes next.

CREATE TABLE control.moves (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT moves_pkey PRIMARY KEY,
    author text NOT NULL,
    reason text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    state text NOT NULL DEFAULT 'running' CONSTRAINT moves_state CHECK (
        state IN ('running', 'stopped', 'done', 'rolled_back')
    ),
    back boolean NOT NULL DEFAULT false,
    canary integer NOT NULL DEFAULT 1 CONSTRAINT moves_canary CHECK (canary >= 0),
    watch_s integer NOT NULL DEFAULT 60 CONSTRAINT moves_watch CHECK (watch_s >= 0),
    at_once integer NOT NULL DEFAULT 10 CONSTRAINT moves_at_once CHECK (at_once >= 1),
    failed_pct double precision NOT NULL DEFAULT 5 CONSTRAINT moves_failed CHECK (failed_pct BETWEEN 0 AND 100),
    drain_s integer NOT NULL DEFAULT 3600 CONSTRAINT moves_drain CHECK (drain_s >= 0),
    after_drain text NOT NULL DEFAULT 'wait' CONSTRAINT moves_after_drain CHECK (after_drain IN ('wait', 'remove')),
    messages text NOT NULL DEFAULT '',
    why text NOT NULL DEFAULT '',
    ended_at timestamptz,
    CONSTRAINT moves_ended CHECK ((state IN ('done', 'rolled_back')) = (ended_at IS NOT NULL))
);
COMMENT ON TABLE control.moves IS 'Batches of accounts that move, or moved, to another cluster.';
COMMENT ON COLUMN control.moves.id IS 'Number of the batch.';
COMMENT ON COLUMN control.moves.author IS 'Who asked for it.';
COMMENT ON COLUMN control.moves.reason IS 'Why.';
COMMENT ON COLUMN control.moves.created_at IS 'When.';
COMMENT ON COLUMN control.moves.state IS
    'running; stopped: nothing goes on until somebody resumes it or rolls it back; done; rolled_back.';
COMMENT ON COLUMN control.moves.back IS 'True: its accounts go back to where they were.';
COMMENT ON COLUMN control.moves.canary IS 'So many accounts go first, alone.';
COMMENT ON COLUMN control.moves.watch_s IS 'So many seconds the calls of these are watched before others follow.';
COMMENT ON COLUMN control.moves.at_once IS 'So many accounts at most are on their way at the same time.';
COMMENT ON COLUMN control.moves.failed_pct IS
    'It stops when more of the calls of accounts that moved fail, in percent.';
COMMENT ON COLUMN control.moves.drain_s IS 'So many seconds the calls on the old cluster have to end.';
COMMENT ON COLUMN control.moves.after_drain IS
    'What comes when they have not: wait until they have, or remove (calls that are up go on, but find no next step).';
COMMENT ON COLUMN control.moves.messages IS
    'Why voicemail messages may stay behind, where the clusters do not share them; empty: they may not.';
COMMENT ON COLUMN control.moves.why IS 'Why it stands where it stands.';
COMMENT ON COLUMN control.moves.ended_at IS 'When it was over.';
COMMENT ON CONSTRAINT moves_state ON control.moves IS 'state is running, stopped, done or rolled_back';
COMMENT ON CONSTRAINT moves_canary ON control.moves IS 'give 0 or more accounts';
COMMENT ON CONSTRAINT moves_watch ON control.moves IS 'give 0 or more seconds';
COMMENT ON CONSTRAINT moves_at_once ON control.moves IS 'give 1 account or more';
COMMENT ON CONSTRAINT moves_failed ON control.moves IS 'give a percentage from 0 to 100';
COMMENT ON CONSTRAINT moves_drain ON control.moves IS 'give 0 or more seconds';
COMMENT ON CONSTRAINT moves_after_drain ON control.moves IS 'choose wait or remove';
COMMENT ON CONSTRAINT moves_ended ON control.moves IS 'a batch that is over has an end, and only then';

CREATE TABLE control.account_moves (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT account_moves_pkey PRIMARY KEY,
    move_id bigint NOT NULL CONSTRAINT account_moves_move_fkey REFERENCES control.moves ON DELETE CASCADE,
    position integer NOT NULL,
    account_id bigint NOT NULL CONSTRAINT account_moves_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    source_id bigint NOT NULL CONSTRAINT account_moves_source_fkey REFERENCES public.clusters ON DELETE CASCADE,
    target_id bigint NOT NULL CONSTRAINT account_moves_target_fkey REFERENCES public.clusters ON DELETE CASCADE,
    step text NOT NULL DEFAULT 'planned' CONSTRAINT account_moves_step CHECK (step IN (
        'planned', 'adding', 'moving', 'waiting', 'draining', 'removing', 'done', 'rolled_back'
    )),
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    at_target boolean NOT NULL DEFAULT false,
    holds_source boolean NOT NULL DEFAULT true,
    holds_target boolean NOT NULL DEFAULT false,
    tied boolean NOT NULL DEFAULT false,
    revision bigint,
    moved_at timestamptz,
    quiet_at timestamptz,
    calls integer NOT NULL DEFAULT 0,
    made integer NOT NULL DEFAULT 0,
    failed integer NOT NULL DEFAULT 0,
    why text NOT NULL DEFAULT '',
    wrong boolean NOT NULL DEFAULT false,
    CONSTRAINT account_moves_position_key UNIQUE (move_id, position),
    CONSTRAINT account_moves_account_key UNIQUE (move_id, account_id),
    CONSTRAINT account_moves_other CHECK (source_id <> target_id),
    CONSTRAINT account_moves_held CHECK (CASE WHEN at_target THEN holds_target ELSE holds_source END),
    CONSTRAINT account_moves_tied CHECK (NOT tied OR (holds_source AND holds_target))
);
CREATE UNIQUE INDEX account_moves_open_key ON control.account_moves (account_id) WHERE step NOT IN ('done', 'rolled_back');
CREATE INDEX account_moves_source ON control.account_moves (source_id);
CREATE INDEX account_moves_target ON control.account_moves (target_id);
COMMENT ON TABLE control.account_moves IS
    'The accounts of each batch. An account is on its way in one batch at most, from planned to done or rolled_back.';
COMMENT ON COLUMN control.account_moves.id IS 'Number of the row.';
COMMENT ON COLUMN control.account_moves.move_id IS 'The batch.';
COMMENT ON COLUMN control.account_moves.position IS 'Place in the batch, from 1: canaries first.';
COMMENT ON COLUMN control.account_moves.account_id IS 'The account.';
COMMENT ON COLUMN control.account_moves.source_id IS 'Cluster it comes from.';
COMMENT ON COLUMN control.account_moves.target_id IS 'Cluster it goes to; of a batch that goes back, where it was sent.';
COMMENT ON COLUMN control.account_moves.step IS
    'planned; adding: to the nodes of the cluster it goes to; moving: edges and names; waiting: until answers of name servers '
    'are forgotten; draining: until its calls on the other cluster are over; removing: from the nodes there; done; '
    'rolled_back.';
COMMENT ON COLUMN control.account_moves.since IS 'When the step began.';
COMMENT ON COLUMN control.account_moves.at_target IS 'Whether target is the cluster of its row, else source.';
COMMENT ON COLUMN control.account_moves.holds_source IS 'Whether the media nodes of source hold it.';
COMMENT ON COLUMN control.account_moves.holds_target IS 'Whether those of target do.';
COMMENT ON COLUMN control.account_moves.tied IS
    'Whether devices in a call on the cluster it left, conferences and parked calls there, are still led there.';
COMMENT ON COLUMN control.account_moves.revision IS 'Revision that nodes have to hold before the next step; null: none.';
COMMENT ON COLUMN control.account_moves.moved_at IS 'When edges were last told of another cluster; null: not yet.';
COMMENT ON COLUMN control.account_moves.quiet_at IS
    'Since when no call of it was seen on the cluster it leaves; null: some are, or nobody looked.';
COMMENT ON COLUMN control.account_moves.calls IS 'Calls that were up there at the last look.';
COMMENT ON COLUMN control.account_moves.made IS 'Calls of it that ended since moved_at.';
COMMENT ON COLUMN control.account_moves.failed IS 'Of these, how many failed by a fault of ours.';
COMMENT ON COLUMN control.account_moves.why IS 'What it waits for.';
COMMENT ON COLUMN control.account_moves.wrong IS 'Whether that needs somebody.';
COMMENT ON CONSTRAINT account_moves_step ON control.account_moves IS 'choose one of the steps';
COMMENT ON CONSTRAINT account_moves_other ON control.account_moves IS 'an account moves to another cluster than its own';
COMMENT ON CONSTRAINT account_moves_held ON control.account_moves IS
    'no account is at a cluster whose nodes do not hold it';
COMMENT ON CONSTRAINT account_moves_tied ON control.account_moves IS
    'nobody is led to a cluster whose nodes do not hold the account';

CREATE VIEW control.moving AS
SELECT m.move_id AS move, a.name AS account, s.name AS source, t.name AS target, b.state, b.back, m.step, m.since,
    CASE WHEN m.at_target THEN t.name ELSE s.name END AS cluster,
    CASE WHEN NOT m.at_target AND m.holds_target THEN t.name WHEN m.at_target AND m.holds_source THEN s.name END AS beside,
    m.tied, m.calls, m.why, m.wrong
FROM control.account_moves AS m
JOIN control.moves AS b ON b.id = m.move_id
JOIN public.accounts AS a ON a.id = m.account_id
JOIN public.clusters AS s ON s.id = m.source_id
JOIN public.clusters AS t ON t.id = m.target_id
WHERE m.step NOT IN ('done', 'rolled_back');
COMMENT ON VIEW control.moving IS 'Accounts on their way to another cluster.';
COMMENT ON COLUMN control.moving.move IS 'Number of the batch.';
COMMENT ON COLUMN control.moving.account IS 'The account.';
COMMENT ON COLUMN control.moving.source IS 'Cluster it comes from.';
COMMENT ON COLUMN control.moving.target IS 'Cluster it was sent to.';
COMMENT ON COLUMN control.moving.state IS 'State of the batch.';
COMMENT ON COLUMN control.moving.back IS 'Whether the batch goes back.';
COMMENT ON COLUMN control.moving.step IS 'Its step.';
COMMENT ON COLUMN control.moving.since IS 'Since when.';
COMMENT ON COLUMN control.moving.cluster IS 'Cluster that new calls go to.';
COMMENT ON COLUMN control.moving.beside IS 'Cluster that holds it too; null: none.';
COMMENT ON COLUMN control.moving.tied IS 'Whether devices in a call there, and what meets there, are still led to it.';
COMMENT ON COLUMN control.moving.calls IS 'Calls that were up on the cluster it leaves at the last look.';
COMMENT ON COLUMN control.moving.why IS 'What it waits for.';
COMMENT ON COLUMN control.moving.wrong IS 'Whether that needs somebody.';

CREATE OR REPLACE FUNCTION control.account_clusters(account bigint) RETURNS SETOF text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.name FROM public.clusters AS c WHERE c.id IN (
        SELECT a.cluster_id FROM public.accounts AS a WHERE a.id = account
        UNION SELECT s.cluster_id FROM public.account_services AS s WHERE s.account_id = account
        UNION SELECT s.overflow_cluster_id FROM public.account_services AS s WHERE s.account_id = account
        UNION SELECT h.cluster_id FROM control.account_moves AS m
            CROSS JOIN LATERAL (VALUES (m.source_id, m.holds_source), (m.target_id, m.holds_target)) AS h (cluster_id, holds)
            WHERE m.account_id = account AND m.step NOT IN ('done', 'rolled_back') AND h.holds
    )
$$;
COMMENT ON FUNCTION control.account_clusters IS
    'Clusters whose media nodes hold an account: its own, those of services that stand apart, and both while it moves.';
-- States of the account follow it there and back.
CREATE TRIGGER services_changed AFTER UPDATE OF holds_source, holds_target ON control.account_moves FOR EACH ROW
    WHEN ((OLD.holds_source, OLD.holds_target) <> (NEW.holds_source, NEW.holds_target))
    EXECUTE FUNCTION control.services_changed();

CREATE FUNCTION control.refuse_other_cluster() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    moving record;
BEGIN
    SELECT m.move_id, c.name INTO moving
    FROM control.account_moves AS m
    JOIN public.clusters AS c ON c.id = CASE WHEN m.at_target THEN m.target_id ELSE m.source_id END
    WHERE m.account_id = NEW.id AND m.step NOT IN ('done', 'rolled_back') AND c.id <> NEW.cluster_id;
    IF FOUND THEN
        RAISE EXCEPTION 'accounts %: its cluster cannot be changed, it is on its way in move % and at %',
                NEW.name, moving.move_id, moving.name
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'accounts', COLUMN = 'cluster_id',
                  CONSTRAINT = 'accounts_moving',
                  HINT = format('Let it end, or take it back: dialplane account moves rollback %s.', moving.move_id);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.refuse_other_cluster IS
    'Refuses another cluster for an account that is on its way: its entries would leave nodes that still have calls.';
CREATE TRIGGER refuse_other_cluster AFTER UPDATE OF cluster_id ON public.accounts FOR EACH ROW
    WHEN (OLD.cluster_id <> NEW.cluster_id) EXECUTE FUNCTION control.refuse_other_cluster();

CREATE FUNCTION control.refuse_cluster_gone() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    moving record;
BEGIN
    SELECT m.move, m.account INTO moving FROM control.moving AS m WHERE OLD.name IN (m.source, m.target);
    IF FOUND THEN
        RAISE EXCEPTION 'clusters %: it cannot go, account % is on its way from or to it in move %',
                OLD.name, moving.account, moving.move
            USING ERRCODE = 'foreign_key_violation', SCHEMA = 'public', TABLE = 'clusters',
                  CONSTRAINT = 'clusters_moving',
                  HINT = format('Let the move end, or take it back: dialplane account moves rollback %s.', moving.move);
    END IF;
    RETURN OLD;
END
$$;
COMMENT ON FUNCTION control.refuse_cluster_gone IS 'Refuses to delete a cluster that an account moves from or to.';
CREATE TRIGGER refuse_cluster_gone BEFORE DELETE ON public.clusters FOR EACH ROW
    EXECUTE FUNCTION control.refuse_cluster_gone();

CREATE FUNCTION control.calls_there(account text, nodes text[]) RETURNS integer
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*)::integer FROM (
        SELECT r.call_id
        FROM control.call_records AS r
        WHERE r.account = calls_there.account AND NOT r.complete AND EXISTS (
            SELECT FROM unnest(nodes) AS n (name)
            LEFT JOIN control.node_state AS s ON s.node = n.name
            WHERE (n.name = r.media_node OR EXISTS (
                    SELECT FROM jsonb_array_elements(r.legs) AS l
                    WHERE l ->> 'node' = n.name AND l ->> 'ended_at' IS NULL))
                -- A record of a node that carries no call at all lost its end; one that is newer than the report did not.
                AND NOT coalesce(s.calls = 0 AND s.up AND s.heard_at > clock_timestamp() - interval '3 s'
                                 AND r.started_at < s.heard_at - interval '10 s', false))
        UNION
        SELECT q.call_id FROM control.queue_callers AS q
        WHERE q.account = calls_there.account AND q.node = ANY (nodes) AND q.state IN ('waiting', 'ringing', 'talking')
    ) AS c
$$;
COMMENT ON FUNCTION control.calls_there IS
    'Calls of an account that are up on any of these media nodes, by what agents told: open records that have a leg there, and '
    'callers of queues. Who waits to be called back waits nowhere.';
GRANT EXECUTE ON FUNCTION control.calls_there TO dialplane_admin, dialplane_controller, dialplane_reader;

-- Messages lie in a file system that the nodes of a cluster share; several clusters may share one.
ALTER TABLE public.clusters ADD COLUMN voicemail_store public.slug;
COMMENT ON COLUMN public.clusters.voicemail_store IS
    'Name of the shared file system with voicemail messages; clusters with the same name play the same messages. Null: the '
    'cluster has one of its own.';

GRANT SELECT ON control.moves, control.account_moves, control.moving
    TO dialplane_admin, dialplane_controller, dialplane_agent, dialplane_reader;
GRANT INSERT, UPDATE ON control.moves, control.account_moves TO dialplane_admin, dialplane_controller;
GRANT UPDATE (cluster_id) ON public.accounts TO dialplane_controller;

CALL control.explain_refusals();
