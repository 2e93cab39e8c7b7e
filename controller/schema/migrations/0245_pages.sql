-- Paging: an extension whose caller speaks from the loudspeakers of a group's telephones.

CREATE TABLE public.pages (
    id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pages_pkey PRIMARY KEY,
    account_id bigint NOT NULL CONSTRAINT pages_account_fkey REFERENCES public.accounts ON DELETE CASCADE,
    name public.slug NOT NULL,
    group_id bigint NOT NULL,
    caller_group_id bigint,
    talk_back boolean NOT NULL DEFAULT false,
    tone text NOT NULL DEFAULT 'beep' CONSTRAINT pages_tone CHECK (tone ~ '^[a-z][a-z0-9_-]{0,31}(/[a-z0-9][a-z0-9_-]{0,31}){0,3}$'),
    max_s integer NOT NULL DEFAULT 60 CONSTRAINT pages_max CHECK (max_s BETWEEN 5 AND 600),
    CONSTRAINT pages_name_key UNIQUE (account_id, name),
    CONSTRAINT pages_account_id_key UNIQUE (account_id, id),
    CONSTRAINT pages_group_fkey FOREIGN KEY (account_id, group_id) REFERENCES public.groups (account_id, id),
    CONSTRAINT pages_caller_group_fkey FOREIGN KEY (account_id, caller_group_id)
        REFERENCES public.groups (account_id, id)
);
CREATE INDEX pages_group ON public.pages (account_id, group_id);
CREATE INDEX pages_caller_group ON public.pages (account_id, caller_group_id);
COMMENT ON TABLE public.pages IS
    'Paging: who dials one is heard from all telephones of a group, which answer by themselves.';
COMMENT ON COLUMN public.pages.id IS 'Number of the row.';
COMMENT ON COLUMN public.pages.account_id IS 'Account the page belongs to.';
COMMENT ON COLUMN public.pages.name IS 'Name of the page, unique in the account.';
COMMENT ON COLUMN public.pages.group_id IS
    'Group whose users and devices hear it, all of them whatever its schedules say; outside numbers do not.';
COMMENT ON COLUMN public.pages.caller_group_id IS 'Group whose users may page; null: every user of the account.';
COMMENT ON COLUMN public.pages.talk_back IS 'True: those who are paged may answer; false: they only hear.';
COMMENT ON COLUMN public.pages.tone IS 'Sound that a paged telephone plays first; none: nothing.';
COMMENT ON COLUMN public.pages.max_s IS 'Longest time it may take, in seconds, 5 to 600.';

DO $$
DECLARE
    log constant text := 'FOR EACH STATEMENT EXECUTE FUNCTION control.log_change(''a.name || ''''/'''' || r.name'', '
        '''a.name'', ''LEFT JOIN public.accounts AS a ON a.id = r.account_id'', ''(a.id IS NULL)'', ''configuration'', '
        '''{}'', '''')';
BEGIN
    EXECUTE 'CREATE TRIGGER log_insert AFTER INSERT ON public.pages REFERENCING NEW TABLE AS new_rows ' || log;
    EXECUTE 'CREATE TRIGGER log_update AFTER UPDATE ON public.pages '
        'REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows ' || log;
    EXECUTE 'CREATE TRIGGER log_delete AFTER DELETE ON public.pages REFERENCING OLD TABLE AS old_rows ' || log;
END
$$;
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON public.pages
    FOR EACH STATEMENT EXECUTE FUNCTION control.refuse_truncate();
GRANT SELECT ON public.pages TO dialplane_admin, dialplane_controller, dialplane_reader;
GRANT INSERT, UPDATE, DELETE ON public.pages TO dialplane_admin;

COMMENT ON CONSTRAINT pages_tone ON public.pages IS
    'name a sound without its ending, such as beep or acme/gong, or write none';
COMMENT ON CONSTRAINT pages_max ON public.pages IS 'let a page take 5 to 600 seconds';

ALTER TABLE public.extensions
    ADD COLUMN page_id bigint,
    DROP CONSTRAINT extensions_kind,
    ADD CONSTRAINT extensions_kind CHECK (
        kind IN ('user', 'voicemail', 'voicemail_main', 'echo', 'announcement', 'number', 'policy', 'group', 'menu',
                 'queue', 'conference', 'pickup', 'park', 'page')
    ),
    ADD CONSTRAINT extensions_page CHECK ((kind = 'page') = (page_id IS NOT NULL)),
    ADD CONSTRAINT extensions_page_fkey FOREIGN KEY (account_id, page_id) REFERENCES public.pages (account_id, id);
CREATE INDEX extensions_page ON public.extensions (page_id) WHERE page_id IS NOT NULL;
COMMENT ON COLUMN public.extensions.kind IS
    'user: ring the devices of a user; voicemail: leave a message; voicemail_main: listen to messages; echo: echo '
    'test; announcement: play one; number: call an outside number; policy: let its rules decide; group: ring its members; '
    'menu: a voice menu; queue: wait for a member; conference: go there; pickup: take a call that rings somewhere in the '
    'account, or with an extension dialled right behind (*8101) one that rings there; park: wait in a parking lot; page: '
    'speak from the telephones of a group.';
COMMENT ON COLUMN public.extensions.page_id IS 'Page, for kind page; null otherwise.';
COMMENT ON CONSTRAINT extensions_kind ON public.extensions IS
    'choose user, voicemail, voicemail_main, echo, announcement, number, policy, group, menu, queue, conference, pickup, '
    'park or page';
COMMENT ON CONSTRAINT extensions_page ON public.extensions IS
    'kind page needs a page, and only kind page has one: set or clear page_id, or choose another kind';

CALL control.explain_refusals();
