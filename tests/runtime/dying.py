"""`maestro` in a process that dies at a known point: `python -m tests.runtime.dying <words>`, run from the checkout.

DIE names it, as `module:function:number`: once that function has returned so often, the process is killed. With FAIL
in its place it refuses there, and goes on.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from maestro.__main__ import main
from maestro.model.errors import Refused


def dies(real: Callable[..., Any], number: int) -> Callable[..., Any]:
    left = [number]

    def call(*args: object, **named: object) -> object:
        answer = real(*args, **named)
        left[0] -= 1
        if left[0] == 0:
            if "FAIL" in os.environ:
                raise Refused("as the test wants it")
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    return call


if __name__ == "__main__":
    module, name, number = (os.environ.get("DIE") or os.environ["FAIL"]).split(":")
    holder: Any = importlib.import_module(module)
    *path, last = name.split(".")
    for part in path:
        holder = getattr(holder, part)
    setattr(holder, last, dies(getattr(holder, last), int(number)))
    sys.argv[0] = "maestro"
    main()
