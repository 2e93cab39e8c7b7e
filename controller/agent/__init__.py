"""Room 5: one node: read it, change it, look again, report."""
