-- Accounts of a reseller: rules of fraud may count over all of them, hold for all of them, and what follows may meet all of them.
-- Nothing on nodes knows resellers: edges block accounts.

ALTER TABLE public.accounts ADD COLUMN reseller public.slug;
CREATE INDEX accounts_reseller ON public.accounts (reseller) WHERE reseller IS NOT NULL;
COMMENT ON COLUMN public.accounts.reseller IS
    'Reseller whose customer the account is, a name of your own: it has no table. Rules of fraud know it; null: none.';

-- No node needs it, so there is nothing to apply when it changes.
CREATE OR REPLACE TRIGGER log_update AFTER UPDATE ON public.accounts
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION control.log_change('r.name', 'r.name', '', 'false', 'configuration', '{reseller}', '');

ALTER TABLE public.fraud_rules
    ADD COLUMN reseller public.slug,
    DROP CONSTRAINT fraud_rules_name_key,
    DROP CONSTRAINT fraud_rules_owner,
    ADD CONSTRAINT fraud_rules_name_key
        UNIQUE NULLS NOT DISTINCT (name, reseller, account_id, user_id, group_id, device_id),
    ADD CONSTRAINT fraud_rules_owner CHECK (
        num_nonnulls(reseller, account_id) <= 1
        AND num_nonnulls(user_id, group_id, device_id) <= CASE WHEN account_id IS NULL THEN 0 ELSE 1 END
    );
COMMENT ON TABLE public.fraud_rules IS
    'What fraud looks like. Rules of one name are a family: of those that fit, the most specific holds (device, user, group, '
    'account, reseller, everybody), and a row replaces the rule of that name that comes with dialplane.';
COMMENT ON COLUMN public.fraud_rules.account_id IS 'Account that it holds for; null: everybody, or all accounts of reseller.';
COMMENT ON COLUMN public.fraud_rules.reseller IS
    'Reseller (accounts.reseller) for all of whose accounts it holds, also one that has none yet; null: see account_id.';
COMMENT ON CONSTRAINT fraud_rules_owner ON public.fraud_rules IS
    'set one of user_id, group_id and device_id at most, with its account_id beside it, or reseller alone';

ALTER TABLE public.fraud_permissions
    ADD COLUMN reseller public.slug,
    DROP CONSTRAINT fraud_permissions_key,
    DROP CONSTRAINT fraud_permissions_owner,
    ADD CONSTRAINT fraud_permissions_key UNIQUE NULLS NOT DISTINCT (reseller, account_id, user_id, class),
    ADD CONSTRAINT fraud_permissions_owner CHECK (
        num_nonnulls(reseller, account_id) <= 1 AND (user_id IS NULL OR account_id IS NOT NULL)
    );
COMMENT ON TABLE public.fraud_permissions IS
    'Which classes of numbers may be called at all: the row of the user holds, else that of the account, else that of its reseller, '
    'else that of everybody, else what comes with dialplane: all but premium and satellite.';
COMMENT ON COLUMN public.fraud_permissions.account_id IS
    'Account that it holds for; null: everybody, or all accounts of reseller.';
COMMENT ON COLUMN public.fraud_permissions.reseller IS
    'Reseller (accounts.reseller) for all of whose accounts it holds, also one that has none yet; null: see account_id.';
COMMENT ON CONSTRAINT fraud_permissions_owner ON public.fraud_permissions IS
    'a user needs its account_id beside it, and reseller stands alone';

DO $$
DECLARE
    one record;
    owner constant text := 'CASE WHEN r.reseller IS NULL THEN coalesce(a.name, ''*'') ELSE concat(''reseller:'', r.reseller) END';
    joins constant text := 'LEFT JOIN public.accounts AS a ON a.id = r.account_id '
        'LEFT JOIN public.users AS u ON u.id = r.user_id';
BEGIN
    FOR one IN
        SELECT * FROM (VALUES
            ('fraud_rules', 'concat_ws(''/'', r.name, ' || owner || ', u.name, g.name, d.name)',
             joins || ' LEFT JOIN public.devices AS d ON d.id = r.device_id LEFT JOIN public.groups AS g ON g.id = r.group_id',
             '(num_nonnulls(r.account_id, r.user_id, r.group_id, r.device_id) > num_nonnulls(a.id, u.id, g.id, d.id))'),
            ('fraud_permissions', 'concat_ws(''/'', ' || owner || ', u.name, r.class)', joins,
             '(num_nonnulls(r.account_id, r.user_id) > num_nonnulls(a.id, u.id))')
        ) AS spec (tbl, key, joins, owner_gone)
    LOOP
        EXECUTE format(
            'CREATE OR REPLACE TRIGGER log_insert AFTER INSERT ON public.%1$I REFERENCING NEW TABLE AS new_rows
                 FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(%2$L, ''a.name'', %3$L, %4$L, ''operational'', ''{}'', '''');
             CREATE OR REPLACE TRIGGER log_update AFTER UPDATE ON public.%1$I
                 REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows
                 FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(%2$L, ''a.name'', %3$L, %4$L, ''operational'', ''{}'', '''');
             CREATE OR REPLACE TRIGGER log_delete AFTER DELETE ON public.%1$I REFERENCING OLD TABLE AS old_rows
                 FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(%2$L, ''a.name'', %3$L, %4$L, ''operational'', ''{}'', '''')',
            one.tbl, one.key, one.joins, one.owner_gone
        );
    END LOOP;
END
$$;

COMMENT ON COLUMN public.fraud_incidents.account IS
    'Account whose it is, of a reseller the one that was seen last; empty: none, as of an address.';
COMMENT ON COLUMN control.fraud_verdicts.subject IS
    'Who it is about: a device, account/user, account/group, an account, a reseller, an address.';

CALL control.explain_refusals();
