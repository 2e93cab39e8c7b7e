-- Groups that take one call at a time, and what members are told of each other's calls. No call waits for these rows.

ALTER TABLE public.groups
    ADD COLUMN notices text NOT NULL DEFAULT 'none'
        CONSTRAINT groups_notices CHECK (notices IN ('none', 'clients', 'phones'));
COMMENT ON COLUMN public.groups.notices IS
    'Who hears of a call that was answered or missed. none; clients: rows of control.group_notices and channel '
    'dialplane_notice; phones: these, and a text message (SIP MESSAGE) to the devices of the other members.';
COMMENT ON CONSTRAINT groups_notices ON public.groups IS 'choose none, clients or phones';

CREATE TABLE control.group_calls (
    account text NOT NULL,
    group_name text NOT NULL,
    call_id text NOT NULL,
    until timestamptz NOT NULL,
    CONSTRAINT group_calls_pkey PRIMARY KEY (account, group_name)
);
COMMENT ON TABLE control.group_calls IS
    'Calls that ring in groups that take one at a time, for all media nodes together; deleting a row lets the next in.';
COMMENT ON COLUMN control.group_calls.account IS 'Account of the group.';
COMMENT ON COLUMN control.group_calls.group_name IS 'The group.';
COMMENT ON COLUMN control.group_calls.call_id IS 'The call that rings.';
COMMENT ON COLUMN control.group_calls.until IS
    'Later than it can ring: who tells that it does no more may have died.';

CREATE TABLE control.group_notices (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT group_notices_pkey PRIMARY KEY,
    account text NOT NULL,
    group_name text NOT NULL,
    call_id text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    outcome text NOT NULL CONSTRAINT group_notices_outcome CHECK (outcome IN ('answered', 'missed')),
    member text,
    caller text,
    caller_user text,
    CONSTRAINT group_notices_member CHECK ((outcome = 'answered') = (member IS NOT NULL))
);
CREATE INDEX group_notices_at ON control.group_notices (at);
CREATE INDEX group_notices_group ON control.group_notices (account, group_name, at);
COMMENT ON TABLE control.group_notices IS
    'Calls of groups with notices, the moment they were answered or missed; kept for 30 days.';
COMMENT ON COLUMN control.group_notices.id IS 'Number of the notice, in the order of their rows.';
COMMENT ON COLUMN control.group_notices.account IS 'Account of the group.';
COMMENT ON COLUMN control.group_notices.group_name IS 'The group.';
COMMENT ON COLUMN control.group_notices.call_id IS 'The call: control.call_records has its record when it is over.';
COMMENT ON COLUMN control.group_notices.at IS 'When it was answered or missed.';
COMMENT ON COLUMN control.group_notices.outcome IS
    'answered, or missed: the caller gave up, or the group was busy, silent or empty.';
COMMENT ON COLUMN control.group_notices.member IS 'User, device or number that answered; null: missed.';
COMMENT ON COLUMN control.group_notices.caller IS 'Number the caller shows; null: none.';
COMMENT ON COLUMN control.group_notices.caller_user IS 'User who called, if it was one of the account.';
COMMENT ON CONSTRAINT group_notices_outcome ON control.group_notices IS 'choose answered or missed';
COMMENT ON CONSTRAINT group_notices_member ON control.group_notices IS
    'an answered call names the member that answered, a missed one none';

CREATE FUNCTION control.tell_notice() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_notify('dialplane_notice', NEW.account || '/' || NEW.group_name || '/' || NEW.id);
    DELETE FROM control.group_notices AS n WHERE n.at < clock_timestamp() - interval '30 days';
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION control.tell_notice IS
    'Channel dialplane_notice: account/group/id of a notice. Takes away those that are older than 30 days.';
CREATE TRIGGER tell_notice AFTER INSERT ON control.group_notices
    FOR EACH ROW EXECUTE FUNCTION control.tell_notice();

GRANT SELECT, INSERT, UPDATE, DELETE ON control.group_calls TO dialplane_agent;
GRANT SELECT, INSERT ON control.group_notices TO dialplane_agent;
GRANT SELECT ON control.group_calls, control.group_notices TO dialplane_admin, dialplane_controller, dialplane_reader;
GRANT DELETE ON control.group_calls, control.group_notices TO dialplane_admin;

CALL control.explain_refusals();
