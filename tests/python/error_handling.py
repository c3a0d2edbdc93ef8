"""Failures: the connection goes, a publish must be repeated, work fails for good, nobody answers, the end."""

import asyncio
import os
import signal
import time
import uuid
from urllib.parse import urlsplit

import nats
from nats.errors import Error, NoRespondersError, TimeoutError

from outside import PATIENCE, connect, until

RUN = uuid.uuid4().hex[:8]


class Cable:
    """The network between us and the server, which can be cut: a TCP proxy."""

    async def plug_in(self):
        self.server = await asyncio.start_server(self.carry, "127.0.0.1", 0)
        self.wires, self.carriers = set(), set()
        host = urlsplit(os.environ["NATS_URL"].split(",")[0])
        self.target = (host.hostname, host.port or 4222)
        login = f"{host.username}:{host.password}@" if host.username else ""
        return f"nats://{login}127.0.0.1:{self.server.sockets[0].getsockname()[1]}"

    async def carry(self, reader, writer):
        self.carriers.add(asyncio.current_task())
        there = await asyncio.open_connection(*self.target)
        self.wires |= {writer, there[1]}
        await asyncio.gather(self.copy(reader, there[1]), self.copy(there[0], writer))

    async def copy(self, reader, writer):
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except OSError:
            pass  # It was cut.
        writer.close()

    def cut(self):
        for wire in self.wires:
            wire.transport.abort()
        self.wires.clear()

    async def unplug(self):
        self.server.close()
        self.cut()
        await asyncio.gather(*self.carriers, return_exceptions=True)


async def connection_failures():
    # No server: an error after the attempts that we allow, not an endless wait.
    try:
        await nats.connect(
            "nats://127.0.0.1:1", max_reconnect_attempts=2, reconnect_time_wait=0.1, error_cb=quiet
        )
        raise AssertionError("a server at port 1")
    except (OSError, Error) as error:
        print("no server:", error or type(error).__name__)

    # The connection breaks: the client comes back by itself, with its subscriptions.
    lost, back = asyncio.Event(), asyncio.Event()

    async def on_lost():
        lost.set()

    async def on_back():
        back.set()

    cable = Cable()
    url = await cable.plug_in()
    nc = await nats.connect(
        url,
        reconnect_time_wait=0.05,
        max_reconnect_attempts=-1,
        disconnected_cb=on_lost,
        reconnected_cb=on_back,
        error_cb=quiet,
    )
    inbox = await nc.subscribe(f"python.{RUN}")
    await nc.flush(timeout=PATIENCE)
    cable.cut()
    await asyncio.wait_for(lost.wait(), PATIENCE)
    await asyncio.wait_for(back.wait(), PATIENCE)
    await nc.publish(f"python.{RUN}", b"here again")
    assert (await inbox.next_msg(timeout=PATIENCE)).data == b"here again"
    print("the connection was cut, and is back")
    return nc, cable


async def quiet(error):
    """What the client library would print with a traceback."""


async def publish_until_stored(js, subject, payload, message_id):
    """A publish is over when the stream has answered. Under one id it is stored once, however often we try."""
    headers = {"Nats-Msg-Id": message_id, "X-Request-ID": message_id}
    wait = 0.05
    for _ in range(10):
        try:
            return await js.publish(subject, payload, timeout=5, headers=headers)
        except (Error, OSError) as error:
            print("not stored:", type(error).__name__, "- once more in", wait, "s")
            await asyncio.sleep(wait)
            wait = min(2 * wait, 2)
    raise AssertionError(f"{subject} was not stored")


async def retries(nc, cable):
    js = nc.jetstream()
    cable.cut()  # In the middle of it: nobody knows whether it was stored.
    first = await publish_until_stored(js, "work.nlp.normal.sentiment", b"fine", f"retry-{RUN}")
    again = await publish_until_stored(js, "work.nlp.normal.sentiment", b"fine", f"retry-{RUN}")
    assert again.duplicate and again.seq == first.seq
    print("stored once, as", first.seq)


async def dead_letters(nc):
    # No agent can handle this: it is not retried for ever, but kept with the reason.
    js = nc.jetstream(timeout=PATIENCE)
    letters = await js.subscribe("dlq.work.nlp.>", ordered_consumer=True)
    await publish_until_stored(js, "work.nlp.low.sentiment", b'{"text": 1}', f"dead-{RUN}")
    letter = await letters.next_msg(timeout=PATIENCE)
    while letter.headers["X-Request-ID"] != f"dead-{RUN}":
        letter = await letters.next_msg(timeout=PATIENCE)
    print(letter.subject, letter.headers["X-DLQ-Error-Kind"], "-", letter.headers["X-DLQ-Error"])
    assert letter.headers["X-DLQ-Subject"] == "work.nlp.low.sentiment"
    assert letter.headers["X-DLQ-Error-Kind"] == "rejected"
    assert letter.data == b'{"text": 1}'


class Circuit:
    """Does not ask who failed `limit` times in a row; after `rest` seconds one question tries again."""

    def __init__(self, limit=3, rest=0.2):
        self.limit, self.rest, self.failures, self.opened = limit, rest, 0, 0.0

    @property
    def state(self):
        if self.failures < self.limit:
            return "closed"
        return "half-open" if time.monotonic() - self.opened > self.rest else "open"

    async def request(self, nc, subject, payload, timeout):
        if self.state == "open":
            raise ConnectionRefusedError(f"the circuit of {subject} is open")
        try:
            answer = await nc.request(subject, payload, timeout=timeout)
        except (TimeoutError, NoRespondersError):
            self.failures += 1
            self.opened = time.monotonic()
            raise
        self.failures = 0
        return answer


async def timeouts_and_circuit(nc):
    subject, circuit, states = f"python.slow.{RUN}", Circuit(), []
    asked = await nc.subscribe(subject)  # Takes requests, and does not answer.
    while circuit.state == "closed":
        try:
            await circuit.request(nc, subject, b"", timeout=0.1)
        except TimeoutError:
            states.append(circuit.state)
    try:
        await circuit.request(nc, subject, b"", timeout=0.1)
        raise AssertionError("an open circuit let a question through")
    except ConnectionRefusedError as error:
        states.append("refused")
        print(error)
    await asked.unsubscribe()

    async def answer(message):
        await message.respond(b"well again")

    await nc.subscribe(subject, cb=answer)

    async def half_open():
        return circuit.state == "half-open"

    await until("the circuit lets one question through", half_open)
    assert (await circuit.request(nc, subject, b"", timeout=PATIENCE)).data == b"well again"
    states.append(circuit.state)
    print(states)
    assert states == ["closed", "closed", "open", "refused", "closed"]


async def graceful_shutdown(nc):
    # An outside worker that is told to end: it takes nothing new, and finishes what it has.
    end, done = asyncio.Event(), []
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, end.set)
    worker = await connect("python-worker")

    async def work(message):
        await asyncio.sleep(0.01)  # What it does takes a while.
        done.append(message.data)
        await message.respond(b"done")

    await worker.subscribe(f"python.work.{RUN}", cb=work)
    await worker.flush(timeout=PATIENCE)
    inbox = nc.new_inbox()
    answers = await nc.subscribe(inbox)
    for number in range(10):
        await nc.publish(f"python.work.{RUN}", str(number).encode(), reply=inbox)
    await answers.next_msg(timeout=PATIENCE)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(end.wait(), PATIENCE)
    await worker.drain()
    assert worker.is_closed
    print("done before the end:", len(done))
    for _ in range(len(done) - 1):
        assert (await answers.next_msg(timeout=PATIENCE)).data == b"done"


async def main():
    nc, cable = await connection_failures()
    await retries(nc, cable)
    await dead_letters(nc)
    await timeouts_and_circuit(nc)
    await graceful_shutdown(nc)
    await nc.drain()
    await cable.unplug()


asyncio.run(main())
