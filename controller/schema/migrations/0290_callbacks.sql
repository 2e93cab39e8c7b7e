-- Whom a queue calls back, and how often. A caller who is called back was answered when it was reached, not before.

ALTER TABLE public.queues
    ADD COLUMN callback_permission text NOT NULL DEFAULT 'national'
        CONSTRAINT queues_callback_permission CHECK (callback_permission IN ('internal', 'national', 'international')),
    ADD COLUMN callback_tries integer NOT NULL DEFAULT 3
        CONSTRAINT queues_callback_tries CHECK (callback_tries BETWEEN 1 AND 10),
    ADD COLUMN callback_pause_s integer NOT NULL DEFAULT 300
        CONSTRAINT queues_callback_pause CHECK (callback_pause_s BETWEEN 10 AND 3600);
COMMENT ON COLUMN public.queues.callback_permission IS
    'Farthest class of number that is called back: internal (only who called from inside, at the own devices), national, '
    'international. A number is what a caller shows or types, so anybody may choose it. Premium and shared cost numbers never are.';
COMMENT ON COLUMN public.queues.callback_tries IS
    'How often a caller who does not answer is called back before the visit ends as unreached, 1 to 10.';
COMMENT ON COLUMN public.queues.callback_pause_s IS
    'Pause before a caller who did not answer is called back again, in seconds, 10 to 3600.';
COMMENT ON CONSTRAINT queues_callback_permission ON public.queues IS 'choose internal, national or international';
COMMENT ON CONSTRAINT queues_callback_tries ON public.queues IS 'call somebody back 1 to 10 times';
COMMENT ON CONSTRAINT queues_callback_pause ON public.queues IS 'pause 10 to 3600 seconds between two calls';

-- Numbers stored before were not checked: who waits for such a call is called by nobody.
UPDATE control.queue_callers SET state = 'gone', outcome = 'unreached', ended_at = clock_timestamp()
WHERE state <> 'gone' AND callback_number !~ '^\+[1-9][0-9]{4,14}$';
UPDATE control.queue_callers SET callback_number = NULL
WHERE state = 'gone' AND callback_number !~ '^\+[1-9][0-9]{4,14}$';
ALTER TABLE control.queue_callers
    ADD COLUMN callback_device text,
    ADD COLUMN callback_tries integer NOT NULL DEFAULT 0,
    ADD COLUMN reached_at timestamptz,
    ADD CONSTRAINT queue_callers_callback CHECK (
        callback_number IS NOT NULL AND callback_device IS NOT NULL OR callback_number ~ '^\+[1-9][0-9]{4,14}$'
        OR callback_number IS NULL AND callback_device IS NULL
    );
COMMENT ON COLUMN control.queue_callers.callback_number IS
    'Number to call back, E.164, or the extension of who called from inside; null: the caller is on the telephone.';
COMMENT ON COLUMN control.queue_callers.callback_device IS
    'Device that called from inside: its user is called back, not the number; null: the number is.';
COMMENT ON COLUMN control.queue_callers.callback_tries IS 'How often the caller was called back and did not answer.';
COMMENT ON COLUMN control.queue_callers.reached_at IS
    'When the caller answered the call back; null: not yet. Until then the member waits for that, in state talking.';
COMMENT ON COLUMN control.queue_callers.call_id IS 'The call (X-DP-Call); of a caller who was called back the last such call.';
COMMENT ON COLUMN control.queue_callers.answered_at IS
    'When the member took it; of a caller who was called back, when the two could talk.';

ALTER TABLE control.queue_events
    DROP CONSTRAINT queue_events_event,
    ADD CONSTRAINT queue_events_event CHECK (event IN (
        'joined', 'rejoined', 'offered', 'refused', 'ignored', 'callback', 'calling', 'unanswered', 'answered', 'ended',
        'abandoned', 'timeout', 'full', 'empty', 'left', 'lost', 'unreached', 'logged_in', 'logged_out', 'paused', 'unpaused'
    ));
COMMENT ON COLUMN control.queue_events.event IS
    'joined, rejoined (place kept), offered (to a member), refused or ignored (by a member), callback (asked to be called), '
    'calling (a member is there, the caller is called back), unanswered (in vain), ended (the talk); outcomes: answered, '
    'abandoned, timeout, full, empty, left, lost, unreached; of a member: logged_in, logged_out, paused, unpaused.';

CALL control.explain_refusals();
