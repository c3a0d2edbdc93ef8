"""JetStream: work that is stored, results that are kept, and reading both again."""

import asyncio
import json
import uuid

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy, RetentionPolicy, StorageType, StreamConfig
from nats.js.errors import BadRequestError

from outside import PATIENCE, connect, until

RUN = uuid.uuid4().hex[:8]


async def the_host_s_streams(js):
    # A work item: once the stream acknowledges it, the host sees to it that it is run.
    texts = ["I love it.", "I hate it.", "It is a table."]
    for number, text in enumerate(texts):
        ids = {"X-Request-ID": f"py-{RUN}-{number}", "Nats-Msg-Id": f"py-{RUN}-{number}"}
        ack = await js.publish("work.nlp.high.sentiment", text.encode(), headers=ids)
        print("stored as", ack.seq, "in", ack.stream)
        # Published again because the answer was lost, say: the stream knows it by its id.
        assert (await js.publish("work.nlp.high.sentiment", text.encode(), headers=ids)).duplicate

    # Results are stored. A consumer that comes later sees them too.
    async def results():
        labels = []
        for number in range(len(texts)):
            reader = await js.subscribe(f"agent.*.resp.py-{RUN}-{number}", ordered_consumer=True)
            message = await reader.next_msg(timeout=PATIENCE)
            labels.append(json.loads(message.data)["label"])
            await reader.unsubscribe()
        return labels

    first, again = await results(), await results()
    print("results:", first, "and replayed:", again)
    assert first == again == ["positive", "negative", "neutral"]

    # What was done is gone from the queue. The last acknowledgement follows the result.
    async def nothing_left():
        info = await js.stream_info("WORK_QUEUE", subjects_filter="work.nlp.high.sentiment")
        return not info.state.subjects

    await until("the queue is empty", nothing_left)


async def a_stream_of_our_own(js):
    # Its subjects must not be the host's: the server refuses two streams with one subject.
    name, subject = f"PY_TASKS_{RUN}", f"python.tasks.{RUN}"
    try:
        await js.add_stream(StreamConfig(name=name, subjects=["work.mine.>"], storage=StorageType.MEMORY))
        raise AssertionError("the server let two streams take the same subjects")
    except BadRequestError as error:
        print("refused:", error.description)

    await js.add_stream(
        StreamConfig(name=name, subjects=[subject], storage=StorageType.MEMORY, retention=RetentionPolicy.LIMITS)
    )
    for number in range(5):
        await js.publish(subject, f"task {number}".encode())

    # A durable consumer: what is acknowledged does not come again, also for who comes back later.
    config = ConsumerConfig(durable_name="worker", ack_policy=AckPolicy.EXPLICIT)
    worker = await js.pull_subscribe(subject, durable="worker", config=config)
    for message in await worker.fetch(2, timeout=PATIENCE):
        print("done:", message.data.decode())
        await message.ack_sync()
    await worker.unsubscribe()
    worker = await js.pull_subscribe(subject, durable="worker")
    rest = [message.data.decode() for message in await worker.fetch(3, timeout=PATIENCE)]
    print("after coming back:", rest)
    assert rest == ["task 2", "task 3", "task 4"]

    # Replay: another consumer begins where it wants.
    config = ConsumerConfig(deliver_policy=DeliverPolicy.BY_START_SEQUENCE, opt_start_seq=4)
    replay = await js.subscribe(subject, ordered_consumer=True, config=config)
    again = [(await replay.next_msg(timeout=PATIENCE)).data.decode() for _ in range(2)]
    print("replayed from number 4:", again)
    assert again == ["task 3", "task 4"]
    await js.delete_stream(name)


async def main():
    nc = await connect("python-jetstream")
    js = nc.jetstream(timeout=PATIENCE)
    await the_host_s_streams(js)
    await a_stream_of_our_own(js)
    await nc.close()


asyncio.run(main())
