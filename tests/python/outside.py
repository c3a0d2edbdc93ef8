"""What the scripts share: how they find NATS, and how they wait. Nothing of it is special to MisterSmith.

    mistersmith run                                       # in one terminal
    NATS_URL=nats://127.0.0.1:4222 python3 wildcards.py   # in another; pip install nats-py
"""

import asyncio
import os
import sys
import time

import nats

# How long anything may take that should happen soon. Only a failing script waits so long.
PATIENCE = 30


async def connect(name, **options):
    """Connects to the servers of NATS_URL, under a name that shows on the server."""
    servers = os.environ.get("NATS_URL")
    if not servers:
        sys.exit("NATS_URL does not name the servers of a running host")
    return await nats.connect(servers.split(","), name=name, **options)


async def until(what, look):
    """Asks `look` again and again until it returns something."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found = await look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {PATIENCE} s: {what}"
        await asyncio.sleep(0.02)
