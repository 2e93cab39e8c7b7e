"""`python -m tests.bench [NAMES...]`: the promises with numbers, measured. One benchmark per file, named in REGISTRY.

Everything runs on this machine in containers without a network: their loopback addresses, and Unix sockets on a shared
folder, are all that leads from one to another.
"""

from __future__ import annotations

# Name -> module with `measure(lab: Lab, sizes: Sequence[int]) -> Iterator[Figure]`. Run in this order: those that need
# a quiet machine first, those that share the big database after one another.
REGISTRY = {
    "invite_per_second": "tests.bench.invite",
    "register_per_second": "tests.bench.register",
    "names_on_the_edge": "tests.bench.edge_names",
    "blocks_on_the_edge": "tests.bench.edge_blocks",
    "agi": "tests.bench.agi",
    "group_of_50": "tests.bench.group",
    "media_node_lost": "tests.bench.media_lost",
    "edge_lost": "tests.bench.edge_lost",
    "queues": "tests.bench.queues",
    "queue_callers": "tests.bench.agi_waiting",
    "names": "tests.bench.names",
    "balance": "tests.bench.balance",
    "fraud": "tests.bench.fraud",
    "fraud_verdict_to_block": "tests.bench.fraud_blocks",
    "fraud_calls_down": "tests.bench.fraud_calls",
    "fraud_engine_killed": "tests.bench.fraud_killed",
    "move_to_live_on_edges": "tests.bench.moves",
    "start_of_the_command": "tests.bench.command",
    "fill_empty_edge": "tests.bench.fill_edge",
    "compile_from_nothing": "tests.bench.compile",
    "row_to_live": "tests.bench.row_to_live",
    "memory": "tests.bench.memory",
    "restart_edge": "tests.bench.restart",
}
# Accounts, with 10 devices each.
SIZES = (1_000, 10_000, 100_000)
DEVICES = 10
