"""Request and reply: ask an agent to do something, and be told when it cannot."""

import asyncio
import json

from nats.errors import NoRespondersError, TimeoutError

from outside import PATIENCE, connect


async def main():
    nc = await connect("python-request-reply")

    # An agent of the group answers, on whatever host. The answer says who, and continues our id.
    request = {"X-Request-ID": "python-1"}
    answer = await nc.request("tools.echo", b"hello", timeout=PATIENCE, headers=request)
    print("tools.echo answered", answer.data.decode(), "by", answer.headers["X-Agent-ID"])
    assert answer.data == b"hello"
    assert answer.headers["X-Request-ID"] == "python-1"

    # This very agent is asked to process a task.
    task = json.dumps({"text": "What a wonderful day. I love it."}).encode()
    answer = await nc.request("agent.sentiment-001.cmd.execute", task, timeout=PATIENCE)
    result = json.loads(answer.data)
    print("sentiment-001 answered", result)
    assert result["label"] == "positive"
    assert answer.headers["X-Agent-ID"] == "sentiment-001"

    # A task that it cannot process: an answer too, with headers that say so.
    answer = await nc.request("agent.sentiment-001.cmd.execute", b'{"text": 1}', timeout=PATIENCE)
    code, sentence = (answer.headers[name] for name in ("Nats-Service-Error-Code", "Nats-Service-Error"))
    print("refused:", code, sentence)
    assert code == "400"
    assert json.loads(answer.data)["kind"] == "rejected"

    # Nobody listens: known at once.
    try:
        await nc.request("tools.nobody", b"", timeout=PATIENCE)
        raise AssertionError("somebody answered")
    except NoRespondersError:
        print("tools.nobody: nobody listens")

    # Somebody listens and does not answer: a timeout. Hosts listen for all agents, so that a command
    # to an agent that does not exist ends like this too.
    try:
        await nc.request("agent.nobody-001.cmd.status", b"", timeout=0.5)
        raise AssertionError("somebody answered")
    except TimeoutError:
        print("agent.nobody-001: no answer in time")

    await nc.close()


asyncio.run(main())
