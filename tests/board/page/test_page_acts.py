"""The board's page in a real browser: what a person does from it, and the pages of workflows, runs and files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.board.boards import RunningBoard, until
from tests.board.browsers import Visit
from tests.installation import Installation

PRINTED = 300_000
PHONE = {"viewport": {"width": 390, "height": 844}}


class History:
    """What is made before the tests. run: one that printed much; position: of a snapshot, before files changed."""

    def __init__(self, place: Installation) -> None:
        self.notes = place.folder / "work" / "ben" / "notes.txt"
        self.gone = self.notes.parent / "gone.txt"
        prompt = f"printf 'one\\ntwo\\n%s\\n' '<b>bold</b>' > notes.txt; echo hi > gone.txt; seq {PRINTED}"
        task = place.json("task", "dispatch", prompt, "--to", "ben", "--sync")
        self.run: str = task["runs"][-1]["id"]
        self.position: int = place.json("state", "snapshot")["position"]
        place.json("task", "dispatch", "printf 'one\\nTWO\\n' > notes.txt; rm gone.txt", "--to", "ben", "--sync")


@pytest.fixture(scope="module")
def history(installation: Installation) -> History:
    return History(installation)


@pytest.fixture(scope="module")
def page(browser: Browser, board: RunningBoard, history: History) -> Iterator[Page]:
    """A page for all tests, which go from one route to another; at the end no error was told in any of them."""
    with Visit(browser, board) as found:
        yield found


def go(page: Page, path: str) -> None:
    """Go to a route as a link of the page does."""
    page.evaluate("path => { location.hash = path }", path)


def drawn_anew(page: Page, element: Locator, installation: Installation) -> None:
    """Let something happen, and wait until an element was made again."""
    element.evaluate("element => { element.dataset.old = '' }")
    installation.json("state", "set", "news", os.urandom(4).hex())
    expect(page.locator("[data-old]")).to_have_count(0)


def test_the_step_that_matters_is_seen_though_there_is_little_room(page: Page, board: RunningBoard) -> None:
    page.set_viewport_size({"width": 640, "height": 400})
    go(page, "#/inbox")
    expect(page.locator(".inbox-item[data-kind=approval]")).to_be_in_viewport(ratio=1)
    go(page, f"#/workflow/{board.get('/api/workflow-runs')['rows'][0]['id']}")
    box = page.locator(".graph-box")
    expect(page.locator(".graph .chosen")).to_have_attribute("data-step", "gate")
    assert box.evaluate("box => box.scrollLeft") > 0
    page.set_viewport_size({"width": 1280, "height": 720})


def test_the_row_at_hand_stays_as_others_come(page: Page, installation: Installation) -> None:
    go(page, "#/tasks")
    rows = page.locator(".list-space .row")
    expect(rows.first).to_be_visible()
    before = rows.count()
    page.locator(".list").focus()
    page.keyboard.press("ArrowDown")
    held = page.locator(".row.active a").first.get_attribute("title")
    assert held == rows.nth(1).locator("a").first.get_attribute("title")
    installation.json("task", "dispatch", "true", "--to", "ben", "--sync")
    expect(rows).to_have_count(before + 1)
    expect(page.locator(".row.active a").first).to_have_attribute("title", str(held))
    expect(page.locator(".list")).to_be_focused()


def test_marks_that_turn_a_text_around_are_named(page: Page) -> None:
    told = page.evaluate(
        "async () => (await import('/app/dom.js')).h('b', null, 'a\\u202eb', ['\\u2066c\\u0627']).textContent"
    )
    assert told == "a[U+202E]b[U+2066]c\u0627"


def test_an_approval_from_the_inbox_lets_the_run_go_on(page: Page, installation: Installation) -> None:
    go(page, "#/inbox")
    item = page.locator(".inbox-item[data-kind=approval]")
    expect(item).to_contain_text("Ship it?")
    button = item.get_by_role("button", name="Approve")
    button.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("textbox")).to_be_focused()
    expect(dialog).to_contain_text("All of it.")
    drawn_anew(page, button, installation)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(button).to_be_focused()
    drawn_anew(page, button, installation)
    expect(button).to_be_focused()
    button.click()
    dialog.get_by_role("textbox").fill("looks <i>good</i>")
    dialog.get_by_role("button", name="Approve", exact=True).click()
    expect(item).to_have_count(0)
    installation.json("workflow", "wait", "ship")
    assert "looks <i>good</i>" in str(installation.json("workflow", "status", "ship", "--trace"))


def test_a_failure_that_was_seen_stays_away(page: Page) -> None:
    go(page, "#/inbox")
    failed = page.locator(".inbox-item[data-kind=failed]")
    expect(failed).to_have_count(1)
    failed.get_by_role("button", name="Seen").click()
    expect(failed).to_have_count(0)
    page.reload()
    expect(page.locator(".inbox")).to_contain_text("1 failure seen and hidden")


def test_the_graph_is_walked_by_the_arrows_and_stands_in_a_table_too(page: Page, board: RunningBoard) -> None:
    run = board.get("/api/workflow-runs")["rows"][0]["id"]
    go(page, f"#/workflow/{run}")
    steps = page.locator(".graph [data-step]")
    expect(steps).to_have_count(4)
    assert steps.evaluate_all("steps => steps.filter(step => step.tabIndex === 0).length") == 1
    page.locator(".graph [data-step=parts]").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".graph [data-step=check]")).to_be_focused()
    expect(page.locator(".step-detail")).to_contain_text("check")
    expect(page.locator(".graph [data-step=check]")).to_have_attribute(
        "aria-label", re.compile("check, run, completed")
    )
    table = page.get_by_role("table", name="Steps")
    expect(table.get_by_role("row")).to_have_count(1 + len(board.get(f"/api/workflow/{run}")["row"]["steps"]))
    expect(table).to_contain_text("check[1]")


def test_the_output_of_a_run_is_searched_and_scrolled_without_being_loaded(page: Page, history: History) -> None:
    go(page, f"#/run/{history.run}")
    text = page.locator(".log-text")
    expect(text).to_contain_text(str(PRINTED))
    page.get_by_label("Search the output").fill("234567")
    page.keyboard.press("Enter")
    expect(page.locator("mark.here")).to_be_visible()
    expect(page.locator(".log-count")).to_contain_text("1 of 1, line 234567")
    page.locator(".log-box").evaluate("box => { box.scrollTop = 0 }")
    expect(text).to_contain_text("\n233000\n")
    _, *lines = re.findall(r"\d+", text.inner_text())  # a part may begin within a line
    assert [int(line) for line in lines] == list(range(int(lines[0]), int(lines[0]) + len(lines)))
    assert len(lines) < PRINTED / 3
    page.get_by_role("button", name="Begin").click()
    expect(text).to_contain_text(re.compile(r"^1\n2\n3\n"))
    page.locator(".log-box").press("End")
    expect(text).to_contain_text(f"\n{PRINTED}\n")
    page.locator(".log-jump").press("Home")
    expect(text).to_contain_text(re.compile(r"^1\n2\n3\n"))
    follow = page.get_by_label("follow")
    follow.press("Space")
    expect(follow).to_be_checked()
    assert "at=" not in page.url, "these keys move in the output, not in the log"
    expect(page.get_by_role("region", name="Prompt as the agent got it")).to_contain_text("seq")


def test_a_text_then_and_now_stands_side_by_side_or_in_one_column(
    browser: Browser, board: RunningBoard, page: Page, history: History
) -> None:
    path = f"#/files/ben?at={history.position}&path=notes.txt"
    go(page, path)
    expect(page.locator(".diff-removed")).to_have_text(["−then: two", "−then: <b>bold</b>"])
    expect(page.locator(".diff-added")).to_have_text(["+now: TWO"])
    expect(page.locator("a[data-path='gone.txt']")).to_contain_text("removed")
    assert page.locator(".diff tbody tr").count() == 3
    with Visit(browser, board, path, **PHONE) as phone:
        expect(phone.locator(".diff-narrow tbody tr")).to_have_count(4)
        expect(phone.locator(".files-list")).to_be_hidden()
        assert phone.evaluate("document.documentElement.scrollWidth") == 390


def test_a_fork_from_here_is_shown_before_it_is_made(page: Page, history: History, installation: Installation) -> None:
    root = installation.folder / "fork"
    go(page, f"#/agents?at={history.position}")
    page.get_by_role("button", name="Fork from here").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Name of the new namespace").fill("trial")
    dialog.get_by_label("Its folder").fill("relative")
    dialog.get_by_role("button", name="Show what it would be").click()
    dialog.get_by_label("Its folder").fill(str(root))
    dialog.get_by_role("button", name="Show what it would be").click()
    make = dialog.get_by_role("button", name="Fork into trial")
    expect(make).to_be_visible()
    assert not root.exists()
    make.click()
    expect(dialog).to_contain_text("The namespace trial is made")
    assert (root / "env").exists()
    page.keyboard.press("Escape")


def test_a_restore_to_here_says_what_it_would_do_and_brings_a_file_back(page: Page, history: History) -> None:
    assert not history.gone.exists()
    go(page, f"#/files?at={history.position}")
    page.locator(".timeline").get_by_role("button", name="Restore to here").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("gone.txt")
    expect(dialog.get_by_role("button", name="Cancel")).to_be_focused()
    assert not history.gone.exists()
    dialog.get_by_role("button", name=re.compile("Restore to position")).click()
    expect(dialog).to_contain_text("To undo it: maestro state restore", timeout=30_000)
    assert history.gone.read_text() == "hi\n"
    assert "bold" in history.notes.read_text()
    dialog.get_by_role("button", name="Close").click()
    until(lambda: page.get_by_role("button", name="Live").get_attribute("aria-pressed") == "true")
