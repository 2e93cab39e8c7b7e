"""group list, show, ring-order, leave, join: who rings when a group is called."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from controller.cli import state
from controller.cli.common import Group, database, document, format_option, rows, time
from controller.errors import InputError
from controller.policy import edge, groups, model
from controller.policy.conditions import Situation, who_and_when
from controller.policy.decide import decide
from controller.revision.entries import Published
from controller.schema import states

if TYPE_CHECKING:
    from psycopg import Connection

# A caller outside: which trunk it came by does not matter to a group.
_OUTSIDE = "outside"


@click.group("group", cls=Group)
def group_command() -> None:
    """Groups: who rings, in which order, and members that leave for a while."""


@group_command.command("list")
@state.account_option
@format_option
def list_(account: str | None, form: str) -> None:
    """Every group: its strategy, members, and the extensions, numbers, menus and policies that lead to it.

    \b
    Example:
      dialplane group list --account acme
    """
    with database() as connection:
        rows(
            form, ["account", "group", "strategy", "members", "led to by"], states.groups(connection, account)
        )


@group_command.command("show")
@click.argument("group")
@format_option
def show(group: str, form: str) -> None:
    """A group as it is published, and each member: whether it would ring now, and why not.

    GROUP is NAME@ACCOUNT, or NAME alone where one account has it. Who calls is not known here: ring-order asks
    for a caller.

    \b
    Example:
      dialplane group show sales@acme
    """
    with database() as connection:
        published = Published(connection)
        found, account, held = _published(connection, group, published)
        row = next(one for one in states.groups(connection, found.account) if one.name == found.name)
    situation = Situation(_call(account, found.name, ""), account, published.now)
    members = [_member(held, member, situation) for member in held.members]
    data: dict[str, Any] = {
        "account": found.account,
        "group": found.name,
        "strategy": held.strategy,
        "ring_s": held.ring_s,
        "step_s": None if held.strategy == "all" else held.step_s,
        "flags": [name for name in ("skip_busy", "one_call", "confirm") if getattr(held, name)],
        "caller_name_prefix": held.prefix or None,
        "notices": held.notices,
        "on_no_answer": held.on_no_answer,
        "on_busy": held.on_busy,
        "on_nobody": held.on_nobody,
        "led_to_by": row.by.split(),
        "members": members,
    }
    document(form, _shown(data), data)


def _member(group: model.Group, member: model.Member, situation: Situation) -> dict[str, Any]:
    """Whether it would ring, for the caller that fits best."""
    anybody = replace(member, list="")
    why = groups.kept_out(group, anybody, situation)
    said = [why] if why else []
    if not why and member.schedule:
        said.append(who_and_when(situation, "", member.schedule, member.open).why)
    if member.list:
        said.append(f"for callers of list {member.list} only")
    if member.delay_s and group.strategy == "all":
        said.append(f"after {member.delay_s} s")
    return {"member": member.key, "rings": not why, "why": ", ".join(said) or "for any caller, at any time"}


def _shown(data: dict[str, Any]) -> Iterator[str]:
    for name, value in data.items():
        if name != "members":
            text = " ".join(value) if isinstance(value, list) else value
            yield f"{name.replace('_', ' '):<18} {'-' if text in (None, '') else text}"
    width = max((len(one["member"]) for one in data["members"]), default=0)
    for one in data["members"]:
        rings = "rings" if one["rings"] else "does not ring"
        yield f"{'member':<18} {one['member']:<{width}}  {rings:<13}  {one['why']}"


@group_command.command("ring-order")
@click.argument("group")
@click.option(
    "--from", "caller", default="", metavar="CALLER",
    help="Device (name@domain), extension, number with + or anonymous. Default: anonymous, from outside.",
)  # fmt: skip
@click.option("--at", metavar="TIME", help="As it was or will be then: ISO 8601, UTC if it says no zone.")
@click.option("--call-id", default="", metavar="ID", help="The call of which a random order is drawn.")
@format_option
def ring_order(group: str, caller: str, at: str | None, call_id: str, form: str) -> None:
    """Who rings when GROUP is called, in order, with seconds since the call came; and what comes then.

    The answer is that of the live call. A random order is drawn anew for each call; --call-id answers for one.

    \b
    Examples:
      dialplane group ring-order sales@acme --from +4915112345
      dialplane group ring-order sales --from desk1@acme.example --at 2026-12-24T20:00:00
    """
    with database() as connection:
        published = Published(connection, time("--at", at))
        found, account, held = _published(connection, group, published)
        situation = Situation(_call(account, found.name, caller, call_id), account, published.now)
        ringing = groups.ring(held, situation)
        reasons = decide(situation.call, account, published.now).reasons
    lines, start_s = [], 0
    for number, stage in enumerate(ringing.stages, 1):
        for leg in stage.legs:
            whose = next(key for key in stage.members if leg.address in _addresses(account, key))
            lines.append((number, start_s + leg.delay_s, start_s + stage.seconds, whose, leg.address))
        start_s += stage.seconds
    rows(form, ["stage", "from_s", "to_s", "member", "rings"], lines)
    if form != "text":
        return
    width = max(len(step.what) for step in reasons)
    for step in reasons:
        click.echo(f"{step.what:<{width}}  {step.why}")


def _addresses(account: model.Snapshot, member: str) -> tuple[str, ...]:
    """What rings for a member: the devices of a user, else itself."""
    return account.users[member].devices if member in account.users else (member,)


def _published(
    connection: Connection[Any], text: str, published: Published
) -> tuple[states.Found, model.Snapshot, model.Group]:
    found = states.find(connection, "group", text)
    cluster = edge.fields(published.edge("account", found.account) or "").get("cluster", found.cluster)
    account = published.snapshot(cluster, found.account)
    if found.name not in account.groups:
        raise InputError(
            f"group {found.name} of {found.account} is not published then (dialplane plan, history)"
        )
    return found, account, account.groups[found.name]


def _call(account: model.Snapshot, group: str, caller: str, call_id: str = "") -> model.Call:
    """A call to a group, from what the command line names."""
    name = account.account.name
    users = account.users.values()
    by_device = next((user for user in users if caller and caller in user.devices), None)
    by_extension = next((user for user in users if caller and caller == user.extension), None)
    if by_device is not None:
        number = by_device.extension or caller.partition("@")[0]
        return model.Call(name, call_id, "group", group, number, by_device.key, caller)
    if by_extension is not None:
        return model.Call(name, call_id, "group", group, caller, by_extension.key)
    if "@" in caller:
        raise InputError(f"--from {caller}: no user of account {name} has that device")
    return model.Call(name, call_id, "group", group, caller, trunk=_OUTSIDE)


@group_command.command("leave")
@click.argument("group")
@click.argument("member")
@state.until_option
@state.wait_option
def leave(group: str, member: str, until: str | None, wait_s: float) -> None:
    """MEMBER (user, device or number) does not ring in GROUP until it joins again. Live at once, no apply.

    \b
    Example:
      dialplane group leave sales@acme bob --until 2026-05-01T17:00:00+02:00
    """

    def change(connection: Connection[Any]) -> tuple[str, str]:
        found = states.find(connection, "group", group)
        states.leave(connection, found, member, state.until(until))
        return f"{member} is away from group {found.name} of {found.account}", found.cluster

    state.live(wait_s, change)


@group_command.command("join")
@click.argument("group")
@click.argument("member")
@state.wait_option
def join(group: str, member: str, wait_s: float) -> None:
    """MEMBER rings in GROUP again. Live at once, no apply.

    \b
    Example:
      dialplane group join sales@acme bob
    """

    def change(connection: Connection[Any]) -> tuple[str, str]:
        found = states.find(connection, "group", group)
        was_away = states.join(connection, found, member)
        is_ = "is back in" if was_away else "was not away from"
        return f"{member} {is_} group {found.name} of {found.account}", found.cluster

    state.live(wait_s, change)
