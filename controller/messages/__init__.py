"""Messages: who gets one, what became of each delivery, and the ways in and out. Decisions are pure; `store.py` has
the SQL."""
