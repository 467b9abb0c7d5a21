"""Carrying out a restore: the right to it, what it would do, the proof of what it comes from, and then the deed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from maestro.model.errors import MaestroError, Refused, VerificationFailed
from maestro.runtime.context import Call
from maestro.runtime.ids import new_id
from maestro.runtime.logs import log
from maestro.runtime.restoring.concluding import LEASE
from maestro.runtime.restoring.journal import Journal
from maestro.runtime.restoring.opening import Origins
from maestro.runtime.restoring.placing import How, Restore
from maestro.runtime.restoring.planning import Planned, Wish, plan
from maestro.runtime.restoring.recovery import end_begun
from maestro.runtime.rows import Row

LEASE_TTL_MS = 30_000
RENEW_EVERY_S = 8.0


async def carry_out(call: Call, wish: Wish, how: How) -> Row:
    """Restore. Raises as `plan`; Refused where another restore is under way, or a workspace cannot be put back;
    VerificationFailed. Then nothing is changed.
    """
    context = call.context
    journal = Journal(context.settings.home)
    exchange = await trio.to_thread.run_sync(journal.exchange)
    try:
        await end_begun(context, journal)
        restore = new_id()
        async with _leased(call):
            with Origins(context) as origins:
                planned = await plan(call, wish, origins)
                await prove(call, planned, origins, how.skip_verify, wish.skip_failed)
                _check(planned, wish.skip_failed)
                return await Restore(call, planned, origins, journal, exchange).run(restore, wish, how)
    finally:
        await trio.to_thread.run_sync(exchange.close)


async def prove(call: Call, planned: Planned, origins: Origins, skip: bool, go_on: bool) -> None:
    """Read and check every byte that is to be restored. go_on: what is damaged is left to be found in its stage."""
    if skip:
        return
    for name in dict.fromkeys(archived.snapshot for _, archived in planned.restorable):
        try:
            origin = await origins.snapshot(name)
        except VerificationFailed as error:
            if not go_on:
                raise
            for placement, archived in planned.restorable:
                if archived.snapshot == name:
                    placement.why_not, placement.damaged = error.line(), True
            continue
        await call.note(f"verifying {origin.path or name}", "progress")
        try:
            await trio.to_thread.run_sync(origin.verify)
        except VerificationFailed as error:
            if not go_on:
                raise
            await call.note(f"{error.where}: {error.what}" if error.where else error.what, "warn")


def _check(planned: Planned, skip_failed: bool) -> None:
    failing = planned.failing
    if failing and not skip_failed:
        which = "; ".join(f"{each.agent} ({each.workspace}): {each.why_not}" for each in failing)
        raise Refused(
            f"not every workspace can be put back: {which}", mend="mend that, or leave them with --skip-failed"
        )
    if failing and planned.to is None:
        raise Refused(f"{failing[0].workspace} cannot be put back: {failing[0].why_not}")


@asynccontextmanager
async def _leased(call: Call) -> AsyncIterator[None]:
    """One restore in the namespace at a time, its node having the lease. Raises Refused."""
    context = call.context
    work, holder = context.store.work, context.node
    if not await context.call(work.lease_take, LEASE, holder, LEASE_TTL_MS):
        raise Refused("another restore is under way on another node", mend="wait for its end")

    async def renew() -> None:
        while True:
            await trio.sleep(RENEW_EVERY_S)
            try:
                await context.call(work.lease_take, LEASE, holder, LEASE_TTL_MS)
            except MaestroError as error:
                log.warning("renewing the lease of a restore: %s", error.line())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(renew)
        try:
            yield
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True), trio.move_on_after(5):
                await context.call(work.lease_drop, LEASE, holder)
