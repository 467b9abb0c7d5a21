"""`tools/chaos/run [--seeds N] [--from S] [--long] [--jobs J] [--fault NAME] [--workflows | --nodes 3]`: trials."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from tools.chaos import flows
from tools.chaos.faults import FAULTS
from tools.chaos.nodes import hosts, mixed, trial as nodes
from tools.chaos.nodes.faults import FAULTS as FAULTS_OF_HOSTS
from tools.chaos.trial import Trial, run

LONG = 200
SEEDS, NODES_SEEDS = 10, 100


def main() -> int:
    """Run the trials, two at a time by default, and print each with its seed."""
    parser = argparse.ArgumentParser(prog="tools/chaos/run", description=__doc__)
    parser.add_argument(
        "--seeds", type=int, help="how many trials (10, of nodes 100); eleven in a row bring every fault"
    )
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed (0)")
    parser.add_argument("--long", action="store_true", help=f"at least {LONG} trials")
    parser.add_argument("--jobs", type=int, default=2, help="trials at once (2)")
    parser.add_argument("--fault", choices=[*FAULTS, *FAULTS_OF_HOSTS], default="", help="this fault for every seed")
    parser.add_argument("--workflows", action="store_true", help="runs of workflows, whose daemon is killed repeatedly")
    parser.add_argument("--nodes", type=int, choices=[1, 3], default=1, help="nodes on hosts of their own, as root (1)")
    parser.add_argument(
        "--previous", metavar="COMMIT", help="with --nodes 3: some nodes run this commit, as 1.2.0 does"
    )
    parser.add_argument("--keep", type=Path, help="a folder for the logs of failed trials")
    options = parser.parse_args()
    count = options.seeds or (NODES_SEEDS if options.nodes > 1 else SEEDS)
    count = max(count, LONG) if options.long else count
    if options.fault and options.fault not in (FAULTS_OF_HOSTS if options.nodes > 1 else FAULTS):
        parser.error(f"--fault {options.fault!r} is of {'one node' if options.nodes > 1 else '--nodes 3'}")
    if options.nodes > 1 and (hindrance := hosts.hindrance()):
        parser.error(f"--nodes: {hindrance}")
    if options.previous and (options.nodes == 1 or options.workflows):
        parser.error("--previous is of --nodes 3")
    if options.nodes > 1 and not hosts.clock_library():
        print("left out, as there is no C compiler: clocks that are apart", file=sys.stderr)
    failed = 0
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(options.jobs))
        seeds = range(options.first, options.first + count)
        chosen = nodes.run if options.nodes > 1 else run
        if options.previous:
            chosen = partial(mixed.run, python=stack.enter_context(mixed.installed(options.previous)))
        one = flows.run if options.workflows else partial(chosen, fault=options.fault)
        for trial in pool.map(lambda seed: one(seed, options.keep), seeds):
            print(told(trial), flush=True)
            failed += bool(trial.breaches)
    print(f"{count - failed} of {count} trials held every invariant (seeds {seeds.start} to {seeds.stop - 1})")
    return 1 if failed else 0


def told(trial: Trial) -> str:
    """A trial in a line, and its breaches below it."""
    head = f"seed {trial.seed}: {trial.fault}: {'FAILED' if trial.breaches else 'held'} ({trial.seconds:.1f} s)"
    did = [f"it had {trial.did}"] if trial.did else []
    kept = [f"logs: {trial.kept}"] if trial.kept else []
    return "\n    ".join([head, *did, *(breach.replace("\n", "\n    ") for breach in trial.breaches), *kept])


if __name__ == "__main__":
    sys.exit(main())
