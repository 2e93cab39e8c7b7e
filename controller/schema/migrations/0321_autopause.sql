-- A member who lets one call after another ring out pauses by itself; a member may have a wrap-up of its own.

ALTER TABLE public.queues ADD COLUMN autopause_after integer
    CONSTRAINT queues_autopause CHECK (autopause_after BETWEEN 1 AND 100);
COMMENT ON COLUMN public.queues.autopause_after IS
    'A member who lets so many calls of this queue in a row ring out pauses, in all its queues, until somebody ends that, 1 to '
    '100; null: never. A telephone that could not be reached counts for nothing, who says no begins anew.';
COMMENT ON CONSTRAINT queues_autopause ON public.queues IS
    'let a member pause after 1 to 100 calls it let ring out, or never (null)';

ALTER TABLE public.queue_members ADD COLUMN wrap_up_s integer
    CONSTRAINT queue_members_wrap_up CHECK (wrap_up_s BETWEEN 0 AND 3600);
COMMENT ON COLUMN public.queue_members.wrap_up_s IS
    'How long this member is left alone after a call of this queue, by every queue, in seconds, 0 to 3600; null: as the queue says.';
COMMENT ON CONSTRAINT queue_members_wrap_up ON public.queue_members IS
    'leave a member alone for 0 to 3600 seconds, or for as long as the queue says (null)';

ALTER TABLE control.queue_member_stats ADD COLUMN ignored integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN control.queue_member_stats.ignored IS
    'Calls of this queue in a row that the member let ring out (autopause_after).';

CREATE FUNCTION control.queue_autopause(account text, member text, reason text) RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH said AS (
        INSERT INTO public.member_states AS s (account_id, user_id, paused, pause_reason)
        SELECT u.account_id, u.id, true, queue_autopause.reason::public.label
        FROM public.users AS u JOIN public.accounts AS a ON a.id = u.account_id
        WHERE a.name = queue_autopause.account AND u.name = queue_autopause.member
            AND EXISTS (SELECT FROM public.queue_members AS m WHERE m.user_id = u.id)
        -- What the member said itself stays, and what is over by now is as if it had not been said.
        ON CONFLICT (user_id) DO UPDATE
            SET logged_in = true, paused = true, pause_reason = excluded.pause_reason, until = NULL
            WHERE s.until <= clock_timestamp() OR s.logged_in AND NOT s.paused
        RETURNING 1
    )
    SELECT EXISTS (SELECT FROM said)
$$;
COMMENT ON FUNCTION control.queue_autopause IS
    'A member of a queue pauses, with that reason, as if it had said so itself; false: it pauses already, or is logged out.';
REVOKE ALL ON FUNCTION control.queue_autopause FROM PUBLIC;
GRANT EXECUTE ON FUNCTION control.queue_autopause TO dialplane_agent;

CALL control.explain_refusals();
