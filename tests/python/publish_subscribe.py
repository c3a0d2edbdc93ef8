"""Publish and subscribe: a free subject between outside clients, and the events that a host publishes."""

import asyncio
import json

from outside import PATIENCE, connect


async def main():
    nc = await connect("python-publish-subscribe")

    # `agents.tasks` means nothing to a host: it goes to whoever listens, and is not stored.
    heard = asyncio.Queue()

    async def handler(message):
        await heard.put(message.data.decode())

    subscription = await nc.subscribe("agents.tasks", cb=handler)
    tasks = [f"task {number}" for number in range(5)]
    for task in tasks:
        await nc.publish("agents.tasks", task.encode())
    received = [await asyncio.wait_for(heard.get(), PATIENCE) for _ in tasks]
    print("received:", received)
    assert received == tasks, "one publisher's messages arrive in order"

    # What a host does is published too: each of these commands leaves an entry in the audit trail.
    trail = await nc.subscribe("audit.command")
    for command, status in (("pause", "paused"), ("resume", "ready")):
        answer = await nc.request(f"agent.echo-001.cmd.{command}", b"", timeout=PATIENCE)
        assert json.loads(answer.data)["status"] == status, answer.data
        entry = json.loads((await trail.next_msg(timeout=PATIENCE)).data)
        print(entry["at"], entry["agent_id"], entry["command"], "- it is", status)
        assert (entry["agent_id"], entry["command"]) == ("echo-001", command)

    # Clean up: nothing more is delivered, and what was published has left.
    await subscription.unsubscribe()
    await nc.drain()
    assert nc.is_closed


asyncio.run(main())
