-- Applications of the site, as extensions: calls to them ask for service app, messages to them for service messaging.

ALTER TABLE public.extensions
    ADD COLUMN texts boolean NOT NULL DEFAULT false,
    DROP CONSTRAINT extensions_kind,
    ADD CONSTRAINT extensions_kind CHECK (
        kind IN ('user', 'voicemail', 'voicemail_main', 'echo', 'announcement', 'number', 'policy', 'group', 'menu',
                 'queue', 'conference', 'pickup', 'park', 'page', 'membership', 'supervise', 'application')
    ),
    DROP CONSTRAINT extensions_target,
    ADD CONSTRAINT extensions_target CHECK (
        CASE kind
            WHEN 'voicemail' THEN coalesce(target, '') ~ '^[0-9]{1,16}$'
            WHEN 'announcement' THEN coalesce(target, '') ~ '^[a-z][a-z0-9-]{0,31}$'
            WHEN 'application' THEN coalesce(target, '') ~ '^[a-z][a-z0-9-]{0,31}$'
            WHEN 'number' THEN coalesce(target, '') ~ '^\+[1-9][0-9]{4,14}$'
            ELSE target IS NULL
        END
    ),
    ADD CONSTRAINT extensions_texts CHECK (kind = 'application' OR NOT texts);
COMMENT ON COLUMN public.extensions.kind IS
    'user: ring the devices of a user; voicemail: leave a message; voicemail_main: listen to messages; echo: echo '
    'test; announcement: play one; number: call an outside number; policy: let its rules decide; group: ring its members; '
    'menu: a voice menu; queue: wait for a member; conference: go there; pickup: take a call that rings somewhere in the '
    'account, or with an extension dialled right behind (*8101) one that rings there; park: wait in a parking lot; page: '
    'speak from the telephones of a group; membership: a member who dials it leaves the group, or joins it again; '
    'supervise: listen in to talks of a queue; application: hand over to a script of the site.';
COMMENT ON COLUMN public.extensions.target IS
    'Mailbox for kind voicemail, name of the announcement for announcement, E.164 number for number, name of the site''s '
    'script for application (its dialplan context is site-<name>); null otherwise.';
COMMENT ON COLUMN public.extensions.texts IS
    'True, for kind application: the script takes messages too, at extension text of its context.';
COMMENT ON CONSTRAINT extensions_kind ON public.extensions IS
    'choose user, voicemail, voicemail_main, echo, announcement, number, policy, group, menu, queue, conference, pickup, '
    'park, page, membership, supervise or application';
COMMENT ON CONSTRAINT extensions_target ON public.extensions IS
    'give a mailbox for kind voicemail, a word for announcement and application, a number with + for number, and leave '
    'target empty for the others';
COMMENT ON CONSTRAINT extensions_texts ON public.extensions IS
    'only kind application takes messages: leave texts false for the others';

ALTER TABLE control.message_deliveries
    DROP CONSTRAINT message_deliveries_kind,
    ADD CONSTRAINT message_deliveries_kind CHECK (kind IN ('device', 'number', 'application'));
COMMENT ON COLUMN control.message_deliveries.kind IS 'device, number (outside), or application (a script of the site).';
COMMENT ON CONSTRAINT message_deliveries_kind ON control.message_deliveries IS 'kind is device, number or application';

CALL control.explain_refusals();
