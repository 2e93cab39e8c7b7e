-- Callers of queues who hung up are called back: by the node whose process decided that it is their turn.

CREATE FUNCTION control.queue_calls_back(caller bigint, node text) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH c AS (
        SELECT * FROM control.queue_callers
        WHERE queue_callers.id = queue_calls_back.caller AND state = 'ringing' AND callback_number IS NOT NULL
    ), asked AS (
        INSERT INTO control.node_commands (node, verb, arguments)
        SELECT queue_calls_back.node, 'call_back', jsonb_build_object(
            'account', c.account, 'queue', c.queue, 'caller', c.id, 'number', c.callback_number, 'name', c.caller_name)
        FROM c RETURNING id
    )
    SELECT EXISTS (SELECT FROM asked)
$$;
COMMENT ON FUNCTION control.queue_calls_back IS
    'Has the agent of a node call back a caller of a queue whose turn it is; false: the caller is not to be called back.';
REVOKE ALL ON FUNCTION control.queue_calls_back FROM PUBLIC;
GRANT EXECUTE ON FUNCTION control.queue_calls_back TO dialplane_agent;

ALTER TABLE public.queues
    ADD COLUMN music text CONSTRAINT queues_music CHECK (music ~ '^[a-z][a-z0-9_-]{0,31}$');
COMMENT ON COLUMN public.queues.music IS
    'Music while callers wait: a class of the media nodes (musiconhold.conf); null: default.';
COMMENT ON CONSTRAINT queues_music ON public.queues IS
    'name a class of musiconhold.conf: small letters, digits, - and _; an unknown one plays the default';

ALTER TABLE public.policy_rules
    ADD COLUMN set_priority integer CONSTRAINT policy_rules_priority CHECK (set_priority BETWEEN -1000 AND 1000),
    ADD COLUMN set_skills text[] CONSTRAINT policy_rules_skills CHECK (
        array_position(set_skills, NULL) IS NULL AND array_to_string(set_skills, ',')
            ~ '^[a-z][a-z0-9-]{0,31}(:[1-9])?(,[a-z][a-z0-9-]{0,31}(:[1-9])?)*$'
    );
COMMENT ON COLUMN public.policy_rules.set_priority IS
    'Priority of the caller in queues it comes to: higher ones come first, -1000 to 1000; null: as it was (0).';
COMMENT ON COLUMN public.policy_rules.set_skills IS
    'What members of queues must be able to do for this caller, besides what the queue asks: {german:2,billing}; null: as it was.';
COMMENT ON CONSTRAINT policy_rules_priority ON public.policy_rules IS 'choose -1000 to 1000, or null to leave it';
COMMENT ON CONSTRAINT policy_rules_skills ON public.policy_rules IS
    'write skills as {german:2,billing}: small letters, digits and -, a level of 1 to 9';

CALL control.explain_refusals();
