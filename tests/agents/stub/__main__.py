"""The stub by hand: `python -m tests.agents.stub [PORT]` serves until Ctrl-C and prints each request as a line."""

from __future__ import annotations

import json
import sys
import time

from tests.agents.stub.server import Stub

with Stub(int(sys.argv[1]) if len(sys.argv) > 1 else 0) as stub:
    print(stub.url, flush=True)
    shown = 0
    while True:
        time.sleep(0.2)
        for request in stub.requests[shown:]:
            shown += 1
            print(json.dumps([request.method, request.path, request.status, request.body]), flush=True)
