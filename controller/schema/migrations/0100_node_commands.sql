-- What people ask of the server of a node: its agent does it, once.

CREATE TABLE control.node_commands (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT node_commands_pkey PRIMARY KEY,
    node text NOT NULL,
    verb text NOT NULL,
    arguments jsonb NOT NULL DEFAULT '{}',
    asked_by text NOT NULL DEFAULT session_user,
    asked_at timestamptz NOT NULL DEFAULT now(),
    taken_at timestamptz,
    done_at timestamptz,
    result jsonb,
    CONSTRAINT node_commands_done CHECK ((done_at IS NULL) = (result IS NULL)),
    CONSTRAINT node_commands_taken CHECK (done_at IS NULL OR taken_at IS NOT NULL)
);
CREATE INDEX node_commands_open ON control.node_commands (node, id) WHERE done_at IS NULL;
COMMENT ON TABLE control.node_commands IS 'What people ask of the server of a node: its agent does it, once.';
COMMENT ON COLUMN control.node_commands.id IS 'Number of the command.';
COMMENT ON COLUMN control.node_commands.node IS 'Node whose agent shall do it.';
COMMENT ON COLUMN control.node_commands.verb IS 'What: calls, originate, transfer, hangup.';
COMMENT ON COLUMN control.node_commands.arguments IS 'With what.';
COMMENT ON COLUMN control.node_commands.asked_by IS 'Who asked.';
COMMENT ON COLUMN control.node_commands.asked_at IS 'When it was asked.';
COMMENT ON COLUMN control.node_commands.taken_at IS
    'When the agent took it, committed before it acts: a command once taken is never run again.';
COMMENT ON COLUMN control.node_commands.done_at IS 'When its outcome was known; null: not yet.';
COMMENT ON COLUMN control.node_commands.result IS 'What came of it, or {"error", "outcome"}.';

CREATE FUNCTION control.tell_command() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM pg_notify('dialplane_command', NEW.node);
    ELSIF NEW.done_at IS NOT NULL AND OLD.done_at IS NULL THEN
        PERFORM pg_notify('dialplane_command_done', NEW.id::text);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.tell_command() IS
    'Channel dialplane_command: the node that has something to do; dialplane_command_done: the id that is done.';
CREATE TRIGGER tell_command AFTER INSERT OR UPDATE ON control.node_commands
    FOR EACH ROW EXECUTE FUNCTION control.tell_command();

-- Lines of a media node from before the dialplan knew the call are joined by Asterisk's linkedid.
CREATE INDEX call_events_linkedid ON control.call_events (node, (detail ->> 'linkedid'))
    WHERE detail ? 'linkedid';

GRANT SELECT ON control.node_commands TO dialplane_admin, dialplane_controller, dialplane_agent, dialplane_reader;
GRANT INSERT ON control.node_commands TO dialplane_admin, dialplane_controller;
GRANT UPDATE (taken_at, done_at, result) ON control.node_commands
    TO dialplane_admin, dialplane_controller, dialplane_agent;
-- Whose lamp a mailbox lights.
GRANT SELECT (id, name) ON public.accounts, public.domains TO dialplane_agent;
GRANT SELECT (domain_id, user_id, name, enabled) ON public.devices TO dialplane_agent;
GRANT SELECT (account_id, mailbox, user_id) ON public.voicemail_boxes TO dialplane_agent;
