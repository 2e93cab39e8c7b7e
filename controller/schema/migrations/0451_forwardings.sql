-- A call from outside that is sent on is its user's who sends it, or its extension's that is nobody's: rules of scope user see
-- it, and their blocks may name the extension.

CREATE OR REPLACE FUNCTION control.check_block() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    home text;
    emergency record;
BEGIN
    IF NEW.scope = 'account' THEN
        SELECT a.country INTO home FROM public.accounts AS a WHERE a.name = NEW.subject;
    ELSIF NEW.scope = 'user' THEN
        SELECT a.country INTO home
        FROM public.accounts AS a
        WHERE a.name = split_part(NEW.subject, '/', 1)
            AND (EXISTS (SELECT FROM public.users AS u
                          WHERE u.account_id = a.id AND u.name = split_part(NEW.subject, '/', 2))
                OR EXISTS (SELECT FROM public.extensions AS e
                            WHERE e.account_id = a.id AND e.extension = split_part(NEW.subject, '/', 2)));
    ELSIF NEW.scope = 'device' THEN
        SELECT a.country INTO home
        FROM public.devices AS d
        JOIN public.domains AS m ON m.id = d.domain_id
        JOIN public.accounts AS a ON a.id = d.account_id
        WHERE d.name = split_part(NEW.subject, '@', 1) AND m.name = split_part(NEW.subject, '@', 2);
    END IF;
    IF NEW.scope IN ('account', 'user', 'device') AND home IS NULL THEN
        RAISE EXCEPTION 'block %: there is no % of that name', NEW.subject, NEW.scope
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'blocks', COLUMN = 'subject',
                  CONSTRAINT = 'blocks_known',
                  HINT = format('Write the subject as in the table %ss (a device as name@domain, a user as account/name, or account/extension of a forwarding).', NEW.scope);
    END IF;
    SELECT n.country, n.number INTO emergency
    FROM public.emergency_numbers AS n
    JOIN public.countries AS c ON c.code = n.country
    WHERE n.country = coalesce(home, n.country)
        AND NEW.what IN ('+' || n.number, '+' || c.calling_code || n.number)
    LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'block % of % %: % is an emergency number of %',
            NEW.what, NEW.scope, NEW.subject, emergency.number, emergency.country
            USING ERRCODE = 'check_violation', SCHEMA = 'public', TABLE = 'blocks', COLUMN = 'what',
                  CONSTRAINT = 'blocks_emergency',
                  HINT = 'Emergency numbers are never blocked. Block another prefix.';
    END IF;
    RETURN NEW;
END
$$;

COMMENT ON COLUMN public.blocks.subject IS
    'Account name, account/user (or account/extension, of what an extension forwards), device@domain, IP address; * for scope all.';
COMMENT ON COLUMN public.fraud_incidents.subject IS
    'Of whom: device@domain, account/user (or account/extension), account/group, account name, reseller or IP address.';

CALL control.explain_refusals();
