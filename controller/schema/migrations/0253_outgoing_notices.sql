-- What members are told of calls that one of them makes in the group's name.

ALTER TABLE control.group_notices
    ADD COLUMN called text,
    DROP CONSTRAINT group_notices_outcome,
    ADD CONSTRAINT group_notices_outcome CHECK (outcome IN ('answered', 'missed', 'called', 'unanswered')),
    DROP CONSTRAINT group_notices_member,
    ADD CONSTRAINT group_notices_member CHECK ((outcome = 'missed') = (member IS NULL)),
    ADD CONSTRAINT group_notices_called CHECK ((outcome IN ('called', 'unanswered')) = (called IS NOT NULL));
COMMENT ON TABLE control.group_notices IS
    'Calls to and on behalf of groups with notices, the moment they were answered or over without; kept for 30 days.';
COMMENT ON COLUMN control.group_notices.outcome IS
    'answered; missed: the caller gave up, or the group was busy, silent or empty; called, unanswered: a member called '
    'outside with the group''s number.';
COMMENT ON COLUMN control.group_notices.at IS 'When it was answered, or was over without.';
COMMENT ON COLUMN control.group_notices.member IS
    'User, device or number that answered, or that called outside; null: missed.';
COMMENT ON COLUMN control.group_notices.called IS 'Number that the member called; null: a call to the group.';
COMMENT ON CONSTRAINT group_notices_outcome ON control.group_notices IS
    'choose answered, missed, called or unanswered';
COMMENT ON CONSTRAINT group_notices_member ON control.group_notices IS
    'a missed call names no member, any other the one that answered or called';
COMMENT ON CONSTRAINT group_notices_called ON control.group_notices IS
    'called and unanswered name the number that was called, answered and missed none';
COMMENT ON COLUMN public.groups.notices IS
    'Who hears of a call that was answered or missed, or that a member made with the group''s number. none; clients: rows of '
    'control.group_notices and channel dialplane_notice; phones: these, and a text message (SIP MESSAGE) to the devices '
    'of the other members.';

CALL control.explain_refusals();
