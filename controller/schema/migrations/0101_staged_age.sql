-- Publishing clears plans older than a day; a big plan leaves millions of dead rows until the next vacuum, and each
-- small publish would read past them all.
CREATE INDEX staged_age ON control.staged (staged_at);
