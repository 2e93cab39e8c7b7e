-- From the few rows that say something, not from all users of the account: decisions read it.

CREATE OR REPLACE VIEW control.member_states AS
SELECT a.name AS account, u.name AS member, bool_and(s.logged_in) AS logged_in, bool_or(s.paused) AS paused,
    max(s.pause_reason)::public.label AS pause_reason, bool_or(s.dnd) AS dnd
FROM public.accounts AS a
CROSS JOIN LATERAL (
    SELECT m.user_id, m.logged_in, m.paused, m.pause_reason::text AS pause_reason, false AS dnd
    FROM public.member_states AS m
    WHERE m.account_id = a.id AND (m.until IS NULL OR m.until > clock_timestamp())
    UNION ALL
    SELECT d.user_id, true, false, NULL, true
    FROM public.user_states AS d
    WHERE d.account_id = a.id AND d.dnd AND (d.until IS NULL OR d.until > clock_timestamp())
) AS s
JOIN public.users AS u ON u.id = s.user_id
GROUP BY a.name, u.name;
