"""One run in a warden's hands: started, drained, stopped, timed, frozen, ended, recorded."""

from __future__ import annotations

import base64
import json
import os
import re
from pathlib import Path

import psutil
import pytest
import trio

from maestro.runtime.supervision.exit_record import read_record
from maestro.runtime.supervision.spec import HOME_MARK, TAIL_BYTES, Frozen, Started, Thawed
from tests.runtime.wardens import Rig, alive, gone, play, python

DETACHED = "import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n  time.sleep(1000)\n os._exit(0)\n"


def test_a_run_tells_its_start_and_its_end_and_logs_what_it_prints(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        process = await rig.launch("r1", "echo to stdout; echo to stderr >&2; exit 3", token=7)
        messages = [message async for message in process.events]
        assert isinstance(messages[0], Started)
        end = messages[-1]
        assert process.end == end
        assert (end.run, end.token, end.exit_code, end.signal, end.spawn_error) == ("r1", 7, 3, None, None)
        assert end.output_bytes == len("to stdout\nto stderr\n")
        assert sorted(rig.log("r1").splitlines()) == ["to stderr", "to stdout"]
        assert (rig.folder("r1") / "tail").read_text() == "to stdout\n"
        process.ack()

    play(tmp_path, story)


def test_what_it_prints_is_kept_apart_for_its_judge_as_it_was(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        kept = {"stdout": str(rig.folder("r1") / "stdout"), "errors": str(rig.folder("r1") / "errors")}
        script = "echo one; echo secret >&2; echo two"
        end = await rig.run("r1", script, trace="t", redact=["secret"], stdout_bytes_max=6, **kept)
        assert (rig.folder("r1") / "stdout").read_text() == "one\ntw"
        assert (rig.folder("r1") / "errors").read_text() == "[redacted]\n"
        assert end.stdout_bytes == 8
        assert rig.log("r1").count("TRACE: ") == 2

    play(tmp_path, story)


def test_an_agent_that_prints_nothing_for_too_long_is_stopped(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        end = await rig.run("r1", "echo said; sleep 1000", silent_s=0.3)
        assert (end.stalled, end.timed_out, end.signal) == (True, False, 15)
        end = await rig.run("r2", "for i in 1 2 3 4 5 6; do echo $i; sleep 0.2; done", silent_s=0.9)
        assert (end.stalled, end.exit_code) == (False, 0)

    play(tmp_path, story)


def test_the_record_says_what_the_worker_was_told(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        process = await rig.launch("r1", "exit 4")
        end = await process.wait()
        await trio.sleep(0.4)  # nobody acknowledges
        assert read_record(rig.folder("r1")) == end

    play(tmp_path, story)


def test_a_record_that_is_missing_or_half_written_is_none(tmp_path: Path) -> None:
    assert read_record(tmp_path) is None
    for text in ("", '{"run":"r1","exit_c', "[]", "{}"):
        (tmp_path / "exit.json").write_text(text)
        assert read_record(tmp_path) is None


def test_an_agent_that_a_signal_ends_has_no_exit_code(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        end = await rig.run("r1", "kill -ABRT $$")
        assert (end.exit_code, end.signal) == (None, 6)

    play(tmp_path, story)


def test_a_prompt_comes_by_stdin_and_else_stdin_is_empty(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        prompt = tmp_path / "prompt.txt"
        prompt.write_text("- [ ] x\n" * 200_000)
        await rig.run("r1", "wc -c", stdin=str(prompt))
        assert rig.log("r1").strip() == str(prompt.stat().st_size)
        await rig.run("r2", "readlink /proc/self/fd/0; cat")
        assert rig.log("r2") == "/dev/null\n"

    play(tmp_path, story)


def test_an_agent_gets_its_environment_and_its_marks_and_nothing_else(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.run("r1", "/usr/bin/env", "-0", env={"ONE": "a\nb", "ODD": os.fsdecode(b"\xff")})
        logged = (rig.folder("r1") / "agent.log").read_bytes().split(b"\0")[:-1]
        marks = [b"MAESTRO_RUN_ID=r1", b"MAESTRO_RUN_HOME=" + bytes(rig.home)]
        assert sorted(logged) == sorted([b"ONE=a\nb", b"ODD=\xff", *marks])

    play(tmp_path, story)


def test_no_descriptor_of_ours_and_no_changed_signal_reaches_an_agent(tmp_path: Path) -> None:
    script = (
        "import os, signal\n"
        "print(sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:-1])\n"
        "print(os.getsid(0) == os.getpid(), os.getcwd())\n"
    )

    async def story(rig: Rig) -> None:
        await rig.run("r1", "true", lock=rig.lock("w"))
        await rig.run("r2", *python(script), lock=rig.lock("w"))
        fds, where = rig.log("r2").splitlines()
        assert fds == "[0, 1, 2]"
        assert where == f"True {rig.home / 'workspace'}"
        await rig.run("r3", "grep -E 'Sig(Ign|Blk)' /proc/self/status")
        standard = (1 << 31) - 1  # the C library keeps two of the others to itself
        assert [int(line.split()[1], 16) & standard for line in rig.log("r3").splitlines()] == [0, 0]

    play(tmp_path, story)


def test_a_trace_prefixes_each_line_of_stdout_wherever_the_chunks_end(tmp_path: Path) -> None:
    script = "import os, time\nfor part in (b'one\\ntw', b'o\\n\\nthr', b'ee'):\n os.write(1, part); time.sleep(0.05)\n"

    async def story(rig: Rig) -> None:
        await rig.run("r1", *python(script), trace="build")
        lines = rig.log("r1").splitlines()
        assert [line.partition("] build: ")[2] for line in lines] == ["one", "two", "", "three"]
        assert all(line.startswith("TRACE: [20") and "Z] build: " in line for line in lines)
        assert (rig.folder("r1") / "tail").read_text() == "one\ntwo\n\nthree"

    play(tmp_path, story)


def test_secrets_are_redacted_across_chunks_and_inside_base64(tmp_path: Path) -> None:
    secret = "s3cret/value+of-a-kind"
    encoded = base64.b64encode(f"user:{secret}:end".encode()).decode()
    script = (
        f"import os, time\nfor part in ({secret[:5]!r}, {secret[5:]!r} + ' {encoded} s3', 'cr end'):\n"
        " os.write(1, part.encode()); time.sleep(0.05)\n"
    )

    async def story(rig: Rig) -> None:
        await rig.run("r1", *python(script), redact=[secret])
        for text in (rig.log("r1"), (rig.folder("r1") / "tail").read_text()):
            assert text.startswith("[redacted] ") and text.endswith(" s3cr end")
            assert secret not in text and encoded[8:-8] not in text and "[redacted]" in text.split()[1]

    play(tmp_path, story)


def test_a_flood_is_capped_with_a_mark_and_costs_the_warden_little_memory(tmp_path: Path) -> None:
    flood = "import os\nfor _ in range(1600): os.write(1, b'\\xff\\x00' * 32768)\nos.write(1, b'the end')\n"

    async def story(rig: Rig) -> None:
        await rig.run("r0", "true")
        process = await rig.started("r1", *python(flood), log_bytes_max=1_000_000, trace="x", redact=["abcdefgh"])
        assert process.started is not None
        warden = psutil.Process(process.started.warden)
        before = warden.memory_info().rss
        most = before
        async with trio.open_nursery() as nursery:

            async def look() -> None:
                nonlocal most
                while process.end is None:
                    with trio.CancelScope(shield=True):
                        most = max(most, warden.memory_info().rss)
                    await trio.sleep(0.005)

            nursery.start_soon(look)
            end = await process.wait()
            nursery.cancel_scope.cancel()
        process.ack()
        assert most - before < 32 * 1024 * 1024
        assert (end.exit_code, end.truncated, end.output_bytes) == (0, True, 1600 * 65536 + 7)
        log = (rig.folder("r1") / "agent.log").read_bytes()
        head, gap, rest = re.split(rb"\n\[maestro: (\d+) bytes are left out here[^\n]*\]\n", log)
        assert (len(head), int(gap)) == (500_000, end.left_out) and 250_000 <= len(rest) <= 500_000
        await rig.recorded("r1")
        assert {file.name for file in rig.folder("r1").iterdir()} == {"agent.log", "exit.json", "tail"}
        tail = (rig.folder("r1") / "tail").read_bytes()
        assert len(tail) == TAIL_BYTES and tail.endswith(b"\xff\x00the end")

    play(tmp_path, story)


def test_an_agent_that_closes_its_streams_runs_on(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        end = await rig.run("r1", "exec >&- 2>&-; sleep 0.3; exit 5")
        assert end.exit_code == 5 and end.duration_ms >= 290

    play(tmp_path, story)


@pytest.mark.parametrize(
    ("argv", "fields", "error", "number"),
    [
        (["/no/such/agent"], {}, "cannot execute '/no/such/agent': No such file", 2),
        (["no-such-agent"], {}, "cannot execute 'no-such-agent': No such file", 2),
        (["/etc/passwd"], {}, "cannot execute '/etc/passwd': Permission denied", 13),
        (["/bin/true"], {"cwd": "/no/such/folder"}, "cannot enter '/no/such/folder': No such file", 2),
        (["/bin/true"], {"stdin": "/no/such/prompt"}, "cannot read stdin from '/no/such/prompt'", 2),
        (["/bin/true"], {"log": "/no/such/agent.log"}, "cannot open '/no/such/agent.log'", 2),
        (["/bin/true", "a\0b"], {}, "cannot execute '/bin/true': embedded null byte", 22),
    ],
)
def test_what_cannot_start_says_why_and_is_not_tried_again(
    tmp_path: Path, argv: list[str], fields: dict[str, str], error: str, number: int
) -> None:
    async def story(rig: Rig) -> None:
        process = await rig.launch("r1", *argv, "", lock=rig.lock("w"), **fields)
        end = await process.wait()
        process.ack()
        assert process.started is None
        assert end.spawn_error is not None and end.spawn_error.startswith(error)
        assert (end.errno, end.retriable, end.exit_code, end.signal) == (number, False, None, None)
        assert (await rig.run("r2", "true", lock=rig.lock("w"))).exit_code == 0
        assert not Path("/no").exists(), "nothing is made where nothing was"

    play(tmp_path, story)


def test_a_stop_asks_first_and_kills_the_whole_tree_after_the_grace(tmp_path: Path) -> None:
    stubborn = "import signal\nsignal.signal(15, signal.SIG_IGN)\n" + DETACHED
    stubborn += "signal.signal(15, lambda *_: os.write(1, b'no\\n'))\nprint('ready', flush=True)\n"
    stubborn += "while True: time.sleep(1)\n"

    async def story(rig: Rig) -> None:
        process = await rig.started("r1", *python(stubborn))
        await rig.said("r1", "ready")
        process.stop("enough", grace_s=0.3)
        end = await process.wait()
        process.ack()
        assert (end.stopped, end.signal, end.timed_out) == ("enough", 9, False)
        assert rig.log("r1").split() == ["ready", "no"]
        gone(rig.home, HOME_MARK)

    play(tmp_path, story)


def test_an_agent_that_obeys_a_stop_ends_by_itself(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        process = await rig.started("r1", "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done")
        await rig.said("r1", "ready")
        process.stop("enough")
        end = await process.wait()
        process.ack()
        assert (end.stopped, end.exit_code) == ("enough", 9)

    play(tmp_path, story)


def test_a_stop_with_force_kills_at_once_also_an_agent_that_has_stopped_itself(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        process = await rig.started("r1", "kill -STOP $$")
        await trio.sleep(0.05)
        process.stop("enough", force=True)
        end = await process.wait()
        process.ack()
        assert (end.stopped, end.signal) == ("enough", 9)

    play(tmp_path, story)


def test_a_timeout_ends_the_tree_and_says_so(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        end = await rig.run("r1", "trap '' TERM; sleep 1000 & wait; sleep 1000", timeout_s=0.2, grace_s=0.2)
        assert (end.timed_out, end.stopped, end.signal) == (True, None, 9)
        gone(rig.home, HOME_MARK)

    play(tmp_path, story)


def test_children_that_outlive_their_agent_are_killed_and_counted(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        await rig.run("r0", "true")
        end = await rig.run("r1", *python(DETACHED + "time.sleep(0.1)"))
        assert (end.exit_code, end.leftovers) == (0, 1)
        assert not alive(rig.home, HOME_MARK)
        end = await rig.run("r2", "trap '' HUP TERM; sleep 1000 & sleep 1000 & exit 0")
        assert (end.exit_code, end.leftovers) == (0, 2)
        assert not alive(rig.home, HOME_MARK)

    play(tmp_path, story)


def test_a_frozen_run_stands_still_with_its_timeout_until_it_is_thawed(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        ticking = "sh -c 'while :; do echo tick; sleep 0.02; done' & while :; do echo tock; sleep 0.02; done"
        process = await rig.started("r1", ticking, timeout_s=1.0, grace_s=0)
        await rig.said("r1", "tick")
        process.freeze()
        frozen = await anext(process.events)
        assert isinstance(frozen, Frozen) and frozen.complete and frozen.processes >= 2
        await trio.sleep(0.1)
        before = rig.log("r1")
        await trio.sleep(1.2)
        assert rig.log("r1") == before and process.end is None
        process.thaw()
        assert await anext(process.events) == Thawed()
        end = await process.wait()
        process.ack()
        assert end.timed_out and len(rig.log("r1")) > len(before)

    play(tmp_path, story)


def test_a_run_that_is_frozen_while_it_waits_does_not_start(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        holder = await rig.started("r1", "sleep 1000", lock=rig.lock("w"))
        process = await rig.launch("r2", "echo ran", lock=rig.lock("w"), lock_wait_s=60)
        process.freeze()
        assert await anext(process.events) == Frozen(True, 0)
        holder.stop("enough", force=True)
        await holder.wait()
        holder.ack()
        await trio.sleep(0.1)
        assert process.started is None and rig.log("r2") == ""
        process.thaw()
        assert (await process.wait()).exit_code == 0
        process.ack()

    play(tmp_path, story)


def test_two_runs_in_one_workspace_never_overlap(tmp_path: Path) -> None:
    script = "mkdir here || echo overlap; echo $$ >> order; sleep 0.05; rmdir here"

    async def story(rig: Rig) -> None:
        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(lambda run: rig.run(run, script, lock=rig.lock("w"), lock_wait_s=30), f"r{number}")
        assert len((rig.home / "workspace" / "order").read_text().splitlines()) == 8
        assert not [number for number in range(8) if rig.log(f"r{number}")]

    play(tmp_path, story)


def test_a_workspace_that_stays_busy_is_a_retriable_failure_and_can_be_given_up(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        holder = await rig.started("r1", "sleep 1000", lock=rig.lock("w"))
        end = await rig.run("r2", "echo ran", lock=rig.lock("w"), lock_wait_s=0.2)
        assert (end.spawn_error, end.retriable) == ("the workspace is busy with run r1", True)
        waiting = await rig.launch("r3", "echo ran", lock=rig.lock("w"), lock_wait_s=60)
        await trio.sleep(0.1)
        waiting.stop("cancelled")
        end = await waiting.wait()
        assert (end.stopped, end.spawn_error, end.exit_code) == ("cancelled", None, None)
        waiting.ack()
        holder.close()
        assert (await rig.run("r4", "echo ran", lock=rig.lock("w"))).exit_code == 0
        assert [rig.log(run) for run in ("r2", "r3", "r4")] == ["", "", "ran\n"]

    play(tmp_path, story)


def test_closing_a_run_kills_it_at_once_and_leaves_its_record(tmp_path: Path) -> None:
    async def story(rig: Rig) -> None:
        process = await rig.started("r1", "trap '' TERM; sleep 1000 & sleep 1000")
        process.close()
        assert gone(rig.home, HOME_MARK) < 1.0
        end = await rig.recorded("r1")
        assert end.worker_gone and end.signal == 9
        assert json.loads((rig.folder("r1") / "exit.json").read_text())["run"] == "r1"

    play(tmp_path, story)
