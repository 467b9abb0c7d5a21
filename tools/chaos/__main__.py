"""`tools/chaos/run [--seeds N] [--from S] [--long] [--jobs J] [--fault NAME | --workflows]`: trials, a line each."""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from tools.chaos import flows
from tools.chaos.faults import FAULTS
from tools.chaos.trial import Trial, run

LONG = 200


def main() -> int:
    """Run the trials, two at a time by default, and print each with its seed."""
    parser = argparse.ArgumentParser(prog="tools/chaos/run", description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="how many trials (10); ten in a row bring every fault")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first seed (0)")
    parser.add_argument("--long", action="store_true", help=f"at least {LONG} trials")
    parser.add_argument("--jobs", type=int, default=2, help="trials at once (2)")
    parser.add_argument("--fault", choices=list(FAULTS), default="", help="this fault for every seed")
    parser.add_argument("--workflows", action="store_true", help="runs of workflows, whose daemon is killed repeatedly")
    parser.add_argument("--keep", type=Path, help="a folder for the logs of failed trials")
    options = parser.parse_args()
    count = max(options.seeds, LONG) if options.long else options.seeds
    failed = 0
    with ThreadPoolExecutor(options.jobs) as pool:
        seeds = range(options.first, options.first + count)
        one = flows.run if options.workflows else partial(run, fault=options.fault)
        for trial in pool.map(lambda seed: one(seed, options.keep), seeds):
            print(told(trial), flush=True)
            failed += bool(trial.breaches)
    print(f"{count - failed} of {count} trials held every invariant (seeds {seeds.start} to {seeds.stop - 1})")
    return 1 if failed else 0


def told(trial: Trial) -> str:
    """A trial in a line, and its breaches below it."""
    head = f"seed {trial.seed}: {trial.fault}: {'FAILED' if trial.breaches else 'held'} ({trial.seconds:.1f} s)"
    kept = [f"logs: {trial.kept}"] if trial.kept else []
    return "\n    ".join([head, *(breach.replace("\n", "\n    ") for breach in trial.breaches), *kept])


if __name__ == "__main__":
    sys.exit(main())
