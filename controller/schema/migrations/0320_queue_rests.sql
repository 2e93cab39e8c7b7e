-- Who said no rests a moment, whatever the rows say; who called again instead of being called back goes on with its visit.

ALTER TABLE control.queue_member_stats ADD COLUMN rest_until timestamptz;
COMMENT ON COLUMN control.queue_member_stats.rest_until IS
    'Offered nobody until then, by any queue: the member said no, or was not reached, a moment ago; null: not.';

ALTER TABLE control.queue_callers ADD COLUMN called_at timestamptz NOT NULL DEFAULT clock_timestamp();
UPDATE control.queue_callers SET called_at = joined_at;
COMMENT ON COLUMN control.queue_callers.called_at IS
    'When the call that waits began: max_wait_s counts from there. Later than joined_at for who was to be called back and called.';
COMMENT ON COLUMN control.queue_callers.id IS
    'Number of the visit: the same when the same call asks again, and when who waits to be called back calls. Who was lost and '
    'calls again is a new one (successor).';
COMMENT ON COLUMN control.queue_callers.successor IS
    'The visit that has the place of this one, because its caller was lost, or was just being called back, and called again; '
    'null: none.';
COMMENT ON COLUMN public.queues.retry_s IS
    'Pause before a caller whom nobody took rings again, in seconds, 0 to 600. A member who said no, or was not reached, rings for '
    'nobody for 1 s in any case.';

CALL control.explain_refusals();
