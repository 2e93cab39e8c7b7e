"""Room 1: what should be. Reads PostgreSQL, nothing else."""
