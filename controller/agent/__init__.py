"""Room 5: one node: read it, change it, look again, report.

`run(settings)` is the resident agent, `prepare(settings)` what must happen before a server's first start.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from controller.agent.loop import Agent
    from controller.agent.server import Server
    from controller.agent.settings import Settings
    from controller.agent.state import State
    from controller.calls.service import CallService
    from controller.wire.ami import Ami


def server_of(settings: Settings, state: State) -> Server:
    """The server beside this agent, to be changed. InputError: its secret cannot be read."""
    from controller.entries import Kind

    if settings.kind is Kind.EDGE:
        from controller.agent.edge import Edge
        from controller.wire.jsonrpc import JsonRpc

        return Edge(JsonRpc(settings.rpc_socket), state)
    from controller.agent.media import Media
    from controller.wire.files import Directory

    return Media(ami_of(settings, "system"), state, Directory(settings.files))


def ami_of(settings: Settings, events: str) -> Ami:
    """AMI of the server beside this agent, not connected yet. InputError: its secret cannot be read."""
    from controller.errors import InputError
    from controller.wire.ami import Ami

    try:
        secret = settings.ami_secret_file.read_text().strip()
    except OSError as error:
        raise InputError(
            f"AMI secret {settings.ami_secret_file}: {error.strerror}; `dialplane agent install media` makes it"
        ) from None
    return Ami(settings.ami_host, settings.ami_port, settings.ami_user, secret, events=events)


def calls_of(settings: Settings) -> CallService:
    """What the agent does about calls, on connections of its own: records, commands, lamps."""
    from controller.calls.recordings import Recordings
    from controller.calls.registrations import Registrations
    from controller.calls.service import CallService
    from controller.entries import Kind
    from controller.messages.outbox import Outbox
    from controller.wire.jsonrpc import JsonRpc

    edge = settings.kind is Kind.EDGE
    rpc = JsonRpc(settings.rpc_socket) if edge else None
    return CallService(
        node=settings.node,
        dsn=settings.database,
        spool=settings.spool,
        state=settings.state,
        ami=None if edge else ami_of(settings, "call,system"),
        rpc=rpc,
        registrations=Registrations(settings.node, rpc, settings.location) if rpc is not None else None,
        outbox=Outbox(settings.messages) if edge else None,
        recordings=None if edge else Recordings(settings.node, settings.recordings),
    )


def agent_of(settings: Settings) -> Agent:
    """An agent, ready to run. Make it inside the event loop."""
    from controller.agent.loop import Agent
    from controller.agent.state import State
    from controller.agent.store import Store

    state = State(settings.state_file, group=settings.server_group)
    return Agent(settings, state, server_of(settings, state), Store(settings.database, settings.node))


async def run(settings: Settings) -> None:
    """Keep the node at the newest revision, and ship what its server says of calls, until cancelled."""
    from controller.entries import Kind

    agent = agent_of(settings)
    calls = calls_of(settings)
    calls.handlers |= agent.questions.handlers
    if agent.server.kind == Kind.MEDIA:
        agent.accounts = calls.table.accounts
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(agent.run(), name="agent")
            tasks.create_task(calls.run(), name="calls")
    finally:
        await agent.server.close()
        await agent.store.close()
        agent.state.close()


def prepare(settings: Settings) -> str:
    """Make the state file, and the files of a media node; fill it if it is empty and the database answers.

    Says what was done. Works without a database and without the server. InputError: a file cannot be written.
    """
    from controller.errors import InputError

    try:
        return _prepare(settings)
    except OSError as error:
        raise InputError(
            f"node {settings.node}: {error.strerror}: {error.filename}; is this machine's server of kind "
            f"{settings.kind.value} (DIALPLANE_KIND), and does the directory belong to the agent's user?"
        ) from None


def _prepare(settings: Settings) -> str:
    from controller.agent.state import State
    from controller.entries import Kind

    done: list[str] = []
    new = not settings.state_file.exists()
    state = State(settings.state_file, group=settings.server_group)
    try:
        done.append(f"{settings.state_file} {'made' if new else 'kept'}")
        if state.held() == 0:
            done.append(asyncio.run(_fill(settings, state)))
        else:
            done.append(f"holds revision {state.held()}")
        state.put(base=json.dumps(_baseline(settings)))
        if settings.kind is Kind.MEDIA:
            from controller.agent.ready import files

            done.append(files(state, settings.files))
    finally:
        state.close()
    return f"node {settings.node}: " + ", ".join(done)


def _baseline(settings: Settings) -> dict[str, str]:
    """Fingerprints that the fixed files shall have: the package's files those of the package, whatever lies there.

    What else lies there was rendered at the installation or is the site's: as it is now.
    """
    from controller.entries import Kind
    from controller.share import fixed_files
    from controller.wire.files import fingerprints

    found = fingerprints(settings.base_files, [settings.files])
    ours = fixed_files("kamailio" if settings.kind is Kind.EDGE else "asterisk")
    for place in settings.base_files:
        if any(str(place / source.name) in found for source in ours):
            for source in ours:
                found |= {str(place / source.name): sum_ for sum_ in fingerprints([source]).values()}
    return found


async def _fill(settings: Settings, state: State) -> str:
    from controller.agent.store import Store
    from controller.errors import DatabaseError, InputError

    store = Store(settings.database, settings.node)
    try:
        node = await store.connect(settings.kind.value)
        revision, count = await asyncio.to_thread(store.snapshot, state, node.group)
    except (DatabaseError, InputError) as error:
        return f"empty for now ({error})"
    finally:
        await store.close()
    return f"filled with {count} entries of revision {revision}"
