"""Room 4: publish, history, rollback."""
