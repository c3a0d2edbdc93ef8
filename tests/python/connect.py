"""Connect: to the host's NATS system, and see who is there."""

import asyncio
import json

from nats.js.errors import NoKeysError

from outside import connect, until


async def main():
    nc = await connect("python-connect")
    print("connected to", nc.connected_url.netloc, "version", nc.connected_server_version)
    assert nc.is_connected

    # JetStream holds the streams of the contract: a host made them.
    account = await nc.jetstream().account_info()
    print("streams:", account.streams)
    work = await nc.jetstream().stream_info("WORK_QUEUE")
    assert work.config.subjects == ["work.>"]

    # Who is there stands in a bucket, as JSON, soon after an agent has started.
    states = await nc.jetstream().key_value("AGENT_STATE")

    async def echo_is_there():
        try:
            agents = [json.loads((await states.get(key)).value) for key in await states.keys()]
        except NoKeysError:
            return None
        return agents if any("echo" in agent["capabilities"] for agent in agents) else None

    for agent in await until("an agent of `echo` has a state", echo_is_there):
        print(agent["agent_id"], agent["status"], agent["capabilities"])

    await nc.close()
    print("closed:", nc.is_closed)
    assert nc.is_closed


asyncio.run(main())
