"""Which media nodes a call may go to, by the decision of the call tier (`controller.tiers.pick`), in words."""

from __future__ import annotations

from controller.policy import Entries
from controller.tiers import pick
from controller.tiers.pick import Choice, Cluster, Condition, Node

_TAKES = Condition(True, False, "", 10)


def of_target(value: str | None) -> tuple[tuple[Node, Condition], ...]:
    """Nodes that a value of table `target` names: they took calls, with that weight."""
    named = (one.partition("=") for one in (value or "").split())
    return tuple((Node(name, int(place.rpartition(",")[2])), _TAKES) for name, _, place in named)


def choice(entries: Entries, cluster: str, over: str) -> Choice:
    """The choice for a call of that cluster, `over` taking over (empty: none). An edge draws by lot: here the first by
    name stands for all that it draws among."""
    takes_over = Cluster(over, tuple(entries.media(over))) if over else None
    return pick.pick(Cluster(cluster, tuple(entries.media(cluster))), takes_over, lambda total: total - 1)


def candidates(entries: Entries, cluster: str) -> str:
    """Nodes of a cluster that a call is drawn among, with their share; where all are lost, with why."""
    held = entries.media(cluster)
    targets = pick.targets(held)
    total = sum(weight for _, weight in targets)
    doubts = {node.name: f"; {now.why}" for node, now in held if not now.takes}
    return ", ".join(f"{name} ({weight} of {total}{doubts.get(name, '')})" for name, weight in targets)


def passed(entries: Entries, cluster: str, found: Choice) -> str:
    """Nodes of a cluster that the choice refuses, with the reason, for the end of a sentence."""
    drawn_among = {name for name, _ in pick.targets(entries.media(cluster))}
    left = (one for one in found.others if one.cluster == cluster and one.node not in drawn_among)
    return "".join(f"; {one.node} gets no calls: {one.why}" for one in left)


def shed(entries: Entries, account: str, cluster: str, over: str) -> str | None:
    """Why the call is refused for overload (media.cfg, SHED); None: it is not."""
    if not _obeyed(entries, f"{cluster}/{account}") or (over and not _obeyed(entries, over)):
        return None
    level = _fields(entries, f"{cluster}/{account}").get("level", "?")
    also = f", and cluster {over}, which takes over, is too" if over else ""
    return f"cluster {cluster} is overloaded{also}; the account has more calls there than its fair share of {level}"


def _obeyed(entries: Entries, key: str) -> bool:
    return int(_fields(entries, key).get("until", 0)) >= entries.now.timestamp()


def _fields(entries: Entries, key: str) -> dict[str, str]:
    return dict(pair.partition("=")[::2] for pair in (entries.edge("shed", key) or "").split(";") if pair)
