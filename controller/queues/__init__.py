"""Queues: who is offered which caller (`engine.py`, pure), and the rows of who waits and rings (`store.py`)."""
