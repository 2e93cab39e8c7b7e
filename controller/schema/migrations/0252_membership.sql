-- A code that members dial to leave their group, and to join it again.

DO $$
DECLARE
    kinds text;
BEGIN
    -- Whatever kinds there are by now, and one more.
    SELECT string_agg(quote_literal(k.kind), ', ' ORDER BY k.place) INTO kinds
    FROM pg_constraint AS c,
         regexp_matches(pg_get_constraintdef(c.oid), '''([a-z_]+)''', 'g') WITH ORDINALITY AS m (found, place),
         LATERAL (SELECT m.found[1] AS kind, m.place) AS k
    WHERE c.conname = 'extensions_kind' AND c.conrelid = 'public.extensions'::regclass;
    EXECUTE format(
        'ALTER TABLE public.extensions DROP CONSTRAINT extensions_kind,
             ADD CONSTRAINT extensions_kind CHECK (kind IN (%1$s, ''membership''));
         COMMENT ON CONSTRAINT extensions_kind ON public.extensions IS %2$L',
        kinds, 'choose ' || replace(kinds, '''', '') || ' or membership'
    );
    EXECUTE format(
        'COMMENT ON COLUMN public.extensions.kind IS %L',
        rtrim(col_description('public.extensions'::regclass,
                              (SELECT a.attnum FROM pg_attribute AS a
                               WHERE a.attrelid = 'public.extensions'::regclass AND a.attname = 'kind')), '.')
            || '; membership: a member who dials it leaves the group, or joins it again.'
    );
END
$$;
ALTER TABLE public.extensions
    DROP CONSTRAINT extensions_group,
    ADD CONSTRAINT extensions_group CHECK ((kind IN ('group', 'membership')) = (group_id IS NOT NULL));
COMMENT ON COLUMN public.extensions.group_id IS 'Group, for kinds group and membership; null otherwise.';
COMMENT ON CONSTRAINT extensions_group ON public.extensions IS
    'kinds group and membership need a group, and only they have one: set or clear group_id, or choose another kind';

CREATE FUNCTION control.change_membership(account text, group_name text, user_name text, device text) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_variable
DECLARE
    member record;
BEGIN
    -- A device that is a member itself goes before its user.
    SELECT m.id, m.account_id INTO member
    FROM public.group_members AS m
    JOIN public.groups AS g ON g.id = m.group_id
    JOIN public.accounts AS a ON a.id = g.account_id
    LEFT JOIN public.users AS u ON u.id = m.user_id
    LEFT JOIN public.devices AS d ON d.id = m.device_id
    LEFT JOIN public.domains AS o ON o.id = d.domain_id
    WHERE a.name = account AND g.name = group_name AND m.enabled
        AND (u.name = user_name OR d.name || '@' || o.name = device)
    ORDER BY m.device_id IS NULL, m.id LIMIT 1;
    IF NOT FOUND THEN
        RETURN 'stranger';
    END IF;
    DELETE FROM public.group_away AS w WHERE w.member_id = member.id;
    IF FOUND THEN
        RETURN 'joined';
    END IF;
    INSERT INTO public.group_away (account_id, member_id) VALUES (member.account_id, member.id);
    RETURN 'left';
END
$$;
COMMENT ON FUNCTION control.change_membership IS
    'A member of a group, by user or device, leaves it, or joins it again: left, joined, or stranger.';
REVOKE EXECUTE ON FUNCTION control.change_membership FROM PUBLIC;
GRANT EXECUTE ON FUNCTION control.change_membership TO dialplane_agent, dialplane_admin;

CALL control.explain_refusals();
