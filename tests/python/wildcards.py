"""Wildcards: who receives what. `*` stands for one token, `>` for one or more at the end.

Beside this script two plugins listen, by `[[subscribe]]` in their manifests: one to `agents.*.status`,
one to `agents.>`. They run the component of `echo`, so that each answers what it hears, by name.
"""

import asyncio
from collections import defaultdict

from outside import PATIENCE, connect, until

SUBJECTS = ["agents.worker1.status", "agents.worker2.status", "agents.coordinator.command"]
EXPECTED = {
    "agents.*.status": SUBJECTS[:2],
    "agents.>": SUBJECTS,
    "status-listener-001": SUBJECTS[:2],
    "all-listener-001": SUBJECTS,
}


async def main():
    nc = await connect("python-wildcards")
    received = defaultdict(list)

    def subscriber(pattern):
        async def handler(message):
            received[pattern].append(message.subject)

        return handler

    for pattern in ("agents.*.status", "agents.>"):
        await nc.subscribe(pattern, cb=subscriber(pattern))

    # An agent that hears a message with a reply subject answers on it.
    async def answered(answer):
        received[answer.headers["X-Agent-ID"]].append(answer.data.decode())

    inbox = nc.new_inbox()
    await nc.subscribe(inbox, cb=answered)

    for subject in SUBJECTS:
        await nc.publish(subject, subject.encode(), reply=inbox)
    await nc.flush(timeout=PATIENCE)

    async def all_there():
        return all(len(received[who]) >= len(subjects) for who, subjects in EXPECTED.items())

    await until("everybody has received", all_there)
    for who in EXPECTED:
        print(f"{who}:")
        for subject in received[who]:
            print(f"    {subject}")
    assert {who: sorted(subjects) for who, subjects in received.items()} == {
        who: sorted(subjects) for who, subjects in EXPECTED.items()
    }
    await nc.close()


asyncio.run(main())
