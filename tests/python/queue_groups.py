"""Queue groups: each message goes to one of the group. The agents of a host, and outside clients beside them."""

import asyncio
from collections import Counter

from outside import PATIENCE, connect, until

TASKS = 60


def show(load):
    for who, count in sorted(load.items()):
        print(f"{who:14} {count:3} {'#' * count}")


async def ask(nc):
    """Asks for everything at once; returns how much each did."""

    async def one(number):
        answer = await nc.request("tools.echo", str(number).encode(), timeout=PATIENCE)
        assert answer.data == str(number).encode()
        return answer.headers["X-Agent-ID"]

    return Counter(await asyncio.gather(*(one(number) for number in range(TASKS))))


async def main():
    nc = await connect("python-queue-groups")

    # `echo` has two agents, which are a queue group by their manifest.
    print("agents of the host:")

    async def all_of(*names):
        load = await ask(nc)
        assert load.total() == TASKS, "each task was done once"
        return load if set(names) <= set(load) else None

    show(await until("both agents do something", lambda: all_of("echo-001", "echo-002")))

    # Two outside clients join the group: NATS chooses between them and the host.
    workers = []
    for name in ("python-1", "python-2"):
        worker = await connect(name)

        async def work(message, name=name):
            await nc.publish(message.reply, message.data, headers={"X-Agent-ID": name})

        await worker.subscribe("tools.echo", queue="echo", cb=work)
        await worker.flush(timeout=PATIENCE)
        workers.append(worker)

    print("together with two outside clients:")
    everybody = ("echo-001", "echo-002", "python-1", "python-2")
    show(await until("agents and outside clients do something", lambda: all_of(*everybody)))

    # Who has left by draining is asked no more. Leave while nothing is under way: nats-py 2.16 sends its
    # unsubscription behind the PING that is to confirm it, and drops what arrives in between.
    for worker in workers:
        await worker.drain()
    load = await ask(nc)
    assert load.total() == TASKS and set(load) <= {"echo-001", "echo-002"}, load
    await nc.close()


asyncio.run(main())
