"""Room 2: what each node must hold. Pure."""
