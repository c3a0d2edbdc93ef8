"""A workflow of several agents: a coordinator and a reporter outside, and workers on the host.

The coordinator publishes tasks as work, the host's agents do them, the reporter collects the results, sums
them up, and shows who did what, when.
"""

import asyncio
import json
import time
import uuid
from collections import Counter

from outside import PATIENCE, connect

RUN = uuid.uuid4().hex[:8]
BEGUN = time.monotonic()
TIMELINE = []

DOCUMENTS = {
    "praise": "I love this. What a wonderful, happy day!",
    "complaint": "I hate this. It is broken, ugly and sad.",
    "report": "The table has four legs.",
    "letter": "Thank you for the great news, my good friend.",
}
TASKS = {"sentiment": "work.nlp.high.sentiment", "wordcount": "work.data.normal.wordcount"}


def note(who, what):
    TIMELINE.append((time.monotonic() - BEGUN, who, what))


async def coordinator(js):
    """Hands out two tasks for each document."""
    for document, text in DOCUMENTS.items():
        for task, subject in TASKS.items():
            request = f"{RUN}-{document}-{task}"
            ids = {"X-Request-ID": request, "X-Trace-ID": RUN, "Nats-Msg-Id": request}
            await js.publish(subject, text.encode(), headers=ids)
            note("coordinator", f"{task} of {document}")


async def reporter(js):
    """Collects a result for each task, whoever did it."""
    # The stored results, so that it does not matter who begins; those of others are passed over.
    results = await js.subscribe("agent.*.resp.*", ordered_consumer=True)
    found = {}
    while len(found) < len(DOCUMENTS) * len(TASKS):
        message = await results.next_msg(timeout=PATIENCE)
        run, _, rest = message.headers["X-Request-ID"].partition("-")
        if run != RUN:
            continue
        document, task = rest.rsplit("-", 1)
        agent = message.headers["X-Agent-ID"]
        note(agent, f"{task} of {document}")
        # At least once: the same result may come twice, and is the same.
        found[document, task] = (agent, json.loads(message.data))
        assert message.headers["X-Trace-ID"] == RUN
    return found


async def main():
    nc = await connect("python-workflow")
    js = nc.jetstream(timeout=PATIENCE)
    _, found = await asyncio.gather(coordinator(js), reporter(js))

    print("timeline")
    for at, who, what in sorted(TIMELINE):
        print(f"{at:8.3f} s  {who:15} {what}")
    print("load")
    load = Counter(agent for agent, _ in found.values())
    for agent, count in sorted(load.items()):
        print(f"{agent:15} {count}")
    print("report")
    for document in DOCUMENTS:
        label = found[document, "sentiment"][1]["label"]
        words = found[document, "wordcount"][1]["words"]
        print(f"{document:10} {label:9} {words} words")

    assert load.total() == len(DOCUMENTS) * len(TASKS)
    assert {agent.rsplit("-", 1)[0] for agent in load} == {"sentiment", "word-count"}
    labels = [found[document, "sentiment"][1]["label"] for document in DOCUMENTS]
    assert labels == ["positive", "negative", "neutral", "positive"], labels
    assert found["report", "wordcount"][1]["words"] == 5
    await nc.close()


asyncio.run(main())
