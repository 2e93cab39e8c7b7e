"""Live calls: events folded into a call table, call records."""
