-- Which accounts write to numbers outside. Who carries that stands in a file of `dialplane message serve`, with its secrets.

ALTER TABLE public.accounts ADD COLUMN outside_messages boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN public.accounts.outside_messages IS
    'True: messages to numbers outside are accepted, for dialplane message serve to hand to a carrier; false: the sender gets 404.';

CALL control.explain_refusals();
