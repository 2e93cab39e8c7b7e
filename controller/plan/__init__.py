"""Room 3: the difference between what is wanted and what is published. Pure."""
