"""The program of a run whose type says `transport: acp`: OPTIONS as JSON, then the command line of the agent.

`maestro/agents/launch.py` writes the options. Exit code 0 once the agent has ended its turn, whatever it says of it;
1 where it could not be brought to that, with an event that says why; 143 where the run is stopped.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from maestro import __version__
from maestro.acp.agent_process import AgentProcess
from maestro.acp.driver import Driver, Errand, Failure
from maestro.acp.permissions import Policy
from maestro.acp.questions import Questions
from maestro.acp.report import Report


def main(words: list[str]) -> int:
    """Drive the agent; the exit code."""
    options: dict[str, Any] = json.loads(words[0])
    ours, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    report = Report([value for value in map(os.environ.get, options["secrets"]) if value])
    policy = Policy(options["permissions"], tuple(options["allow"]), tuple(options["reject"]), options["answer_s"])
    errand = Errand(
        __version__,
        Path(options["prompt_file"]).read_bytes().decode("utf-8", "replace"),
        options["workspace"],
        options["mode"],
        options["session"],
        options["beat_s"],
        options["grace_s"],
    )
    try:
        agent = AgentProcess(words[1:], options["workspace"], ours)
    except OSError as error:
        report.event("error", message=f"{words[1]} did not start: {error.strerror}")
        return 1
    driver = Driver(agent, errand, policy, report)
    driver.questions = Questions(policy, wake, driver.trouble)

    def stop(*_: object) -> None:
        driver.stopping = True
        os.write(wake, b".")

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, stop)
    try:
        code = driver.conduct()
    except Failure as failure:
        report.event("error", message=str(failure))
        code = 1
    except Exception as error:  # noqa: BLE001 - whatever an agent says, its run ends with an event that says why
        report.event("error", message=f"the driver failed: {error!r}")
        code = 1
    finally:
        agent.end(at_once=driver.stopping)
    return 143 if driver.stopping else code


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code)  # a question that is still asked must not keep this process
