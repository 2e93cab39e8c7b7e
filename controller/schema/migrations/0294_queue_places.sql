-- A caller of a queue who was lost and calls again is a new visit that has the old place.

ALTER TABLE control.queue_callers
    ADD COLUMN rejoin_s integer NOT NULL DEFAULT 0 CONSTRAINT queue_callers_rejoin CHECK (rejoin_s BETWEEN 0 AND 3600),
    ADD COLUMN successor bigint;
COMMENT ON COLUMN control.queue_callers.id IS
    'Number of the visit: the same when the same call asks again. Who was lost and calls again is a new one (successor).';
COMMENT ON COLUMN control.queue_callers.joined_at IS
    'Since when the caller waits; of one who was lost and called again: since the first call.';
COMMENT ON COLUMN control.queue_callers.rejoin_s IS
    'So long after a loss the place is kept, in seconds: as queues.rejoin_s was when the caller came; 0: it is not.';
COMMENT ON COLUMN control.queue_callers.successor IS
    'The visit that has the place of this one, because its caller was lost and called again; null: none.';
COMMENT ON CONSTRAINT queue_callers_rejoin ON control.queue_callers IS 'keep a place for 0 to 3600 seconds';

COMMENT ON COLUMN public.queues.rejoin_s IS
    'A caller whose call was lost and who calls again with the same number gets the old place, until so many seconds after the '
    'loss was noticed (about 15 s), 0 to 3600; 0: never.';
COMMENT ON COLUMN public.queues.alert_limit IS
    'Prioritised alerting: at most so many telephones ring at once, for all callers of the queue together. The next in order ring '
    'when there is room for all their telephones; those that begin later (batch_wait_s) take room from the beginning. null: any number.';
COMMENT ON COLUMN public.queues.alert_pace_ms IS
    'Prioritised alerting: a telephone that began to ring less than so many milliseconds ago counts, even if it stopped.';
COMMENT ON COLUMN public.queue_members.priority_alert IS
    'Order of prioritised alerting among members who ring for one caller, the lowest first.';

COMMENT ON COLUMN control.queue_events.event IS
    'joined, rejoined (place kept, or given to the visit that detail names), offered (to a member), refused (a telephone of the '
    'member declined or said that it is busy), ignored (let it ring, could not be reached, or was on another call), callback '
    '(asked to be called), ended (the talk); outcomes: answered, abandoned, timeout, full, empty, left, lost, unreached; of a '
    'member: logged_in, logged_out, paused, unpaused.';

CALL control.explain_refusals();
