"""The board's page in a real Chromium: slider, keys, address, live edge, long lists, what a screen reader is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from maestro.runtime.daemon.store_access import open_store
from tests.board import page_history
from tests.board.boards import RunningBoard
from tests.board.browsers import Visit
from tests.board.page.page_scripts import DRAG, GAPS, LONG_TASKS, NAMELESS, PLAIN, SCROLL
from tests.board.page_history import Place
from tests.board.relay import Relay
from tests.installation import Installation
from tests.runtime.acting import until

HEAD = 11_102
NODES_MAX = 2_500
STEPS = 10


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Installation(tmp_path_factory.mktemp("page")) as installation:
        found = Place(installation)
        yield found
        found.board.end()
        found.store.close()


@pytest.fixture(scope="module")
def relay() -> Iterator[Relay]:
    with Relay() as found:
        yield found


@pytest.fixture(scope="module")
def shared(place: Place, browser: Browser, relay: Relay) -> Iterator[Visit]:
    with_relay = Visit(browser, place.board, proxy={"server": relay.server})
    yield with_relay
    with_relay.context.close()


@pytest.fixture
def visit(shared: Visit) -> Iterator[Visit]:
    """A page that the tests share, each of which goes where it begins; what it asserts at its end, see `Visit`."""
    shared.errors.clear()
    yield shared
    shared.check()


def figure(page: Page) -> Any:
    return expect(page.locator(".figure"))


def choose(page: Page, panel: str) -> None:
    """Go to a panel of the menu by its key."""
    names = page.evaluate("[...document.querySelectorAll('#menu a')].map((one) => one.dataset.panel)")
    page.keyboard.press(str((names.index(panel) + 1) % 10))


def position(page: Page) -> int:
    return int(re.sub(r"\D", "", page.locator("input.position").input_value()))


def test_the_slider_moves_what_is_shown_through_the_log(visit: Visit) -> None:
    page = visit.go("#/agents")
    figure(page).to_have_text("1,000 agents")
    page.get_by_role("slider").focus()
    page.keyboard.press("Home")
    figure(page).to_have_text("0 agents")
    page.keyboard.press("Shift+ArrowRight")
    figure(page).to_have_text("10 agents")
    expect(page.locator("#whereabouts")).to_contain_text("You look at position 11")
    expect(page.locator("#whereabouts")).to_contain_text("agent.assigned agent:coder-0009")
    page.keyboard.press("ArrowLeft")
    figure(page).to_have_text("9 agents")
    choose(page, "queue")
    track = page.locator(".range").bounding_box()
    assert track
    page.mouse.move(track["x"] + track["width"] - 9, track["y"] + track["height"] / 2)
    page.mouse.down()
    page.mouse.move(track["x"] + track["width"] * 0.8, track["y"] + 8, steps=9)
    page.mouse.up()
    expect(page.locator("body")).to_have_class("past")
    shown = position(page)
    assert 1_102 < shown < HEAD
    figure(page).to_have_text(f"{shown - 1_102:,} tasks")
    page.keyboard.press("Escape")
    figure(page).to_have_text("10,000 tasks")
    expect(page.get_by_role("button", name="Live", exact=True)).to_have_attribute("aria-pressed", "true")


def test_the_address_holds_panel_filter_and_position(place: Place, visit: Visit) -> None:
    page = visit.go("#/tasks?status=failed&at=1101")
    figure(page).to_have_text("4 tasks")
    page.reload()
    figure(page).to_have_text("4 tasks")
    assert position(page) == 1_101
    page.get_by_role("link", name="Review change 15").click()
    expect(page.get_by_role("heading", name="Review change 15")).to_be_visible()
    assert "at=1101" in page.url
    page.get_by_role("link", name="Events", exact=True).click()
    figure(page).to_have_text("1,101 events")
    page.go_back()
    page.go_back()
    figure(page).to_have_text("4 tasks")
    page.keyboard.press("ArrowLeft")
    page.wait_for_url(re.compile("at=1100"))
    page.keyboard.press("g")
    page.keyboard.type("+1")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile("at=1101"))
    page.keyboard.press("g")
    page.keyboard.type("yesterday")
    page.keyboard.press("Enter")
    assert page.evaluate("document.querySelector('input.position').validity.customError")
    page.keyboard.press("Escape")
    page.keyboard.press("End")
    figure(page).to_have_text("4 tasks")
    page.wait_for_url(re.compile("^[^@]*#/tasks.status=failed$"))


def test_a_time_leads_to_the_last_event_before_it(place: Place, visit: Visit) -> None:
    at = place.store.log.read(1_049, 1)[0].at
    last = max(event.seq for event in place.store.log.read(1_001, 110) if event.at <= at)
    page = visit.go("#/nodes")
    page.keyboard.press("g")
    page.keyboard.type(page.evaluate("at => new Date(at).toISOString()", at))
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(f"at={last}$"))


def test_the_live_edge_follows_the_log_and_the_past_stays(place: Place, visit: Visit) -> None:
    page = visit.go("#/state")
    figure(page).to_have_text("1 key")
    head = page_history.set_state(place.store, "port", "8080")
    expect(page.get_by_role("grid")).to_contain_text("8080")
    expect(page.locator("#whereabouts")).to_contain_text(f"position {head:,}")
    page.keyboard.press("ArrowLeft")
    figure(page).to_have_text("1 key")
    page_history.set_state(place.store, "host", "north")
    expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", re.compile(f"of {head + 1:,}"))
    figure(page).to_have_text("1 key")
    page.keyboard.press("End")
    figure(page).to_have_text("3 keys")


def test_what_came_while_the_connection_was_cut_is_shown_when_it_is_back(
    place: Place, visit: Visit, relay: Relay
) -> None:
    visit.excused = (0,)
    page = visit.go("#/state")
    expect(page.get_by_role("grid")).to_contain_text("first the API")
    assert relay.cut()
    page_history.set_state(place.store, "cut", "one")
    expect(page.get_by_role("alert")).to_contain_text("The board has ended, or cannot be reached.")
    expect(page.get_by_role("grid")).to_contain_text("first the API")
    page_history.set_state(place.store, "cut", "two")
    relay.is_open = True
    expect(page.get_by_role("grid")).to_contain_text("two")
    expect(page.get_by_role("alert")).to_be_hidden()
    head = page_history.set_state(place.store, "cut", "three")
    expect(page.get_by_role("grid")).to_contain_text("three")
    expect(page.locator("#whereabouts")).to_contain_text(f"position {head:,}")


def test_everything_can_be_reached_by_keys_alone(place: Place, visit: Visit) -> None:
    page = visit.go("#/agents")
    page.reload()
    figure(page).to_have_text("1,000 agents")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    choose(page, "tasks")
    figure(page).to_have_text("10,020 tasks")
    page.keyboard.press("/")
    page.keyboard.type("change 7:")
    figure(page).to_have_text("1 task")
    page.keyboard.press("Escape")
    page.keyboard.press("l")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Review change 7:")).to_be_visible()
    choose(page, "queue")
    figure(page).to_have_text("10,000 tasks")
    page.keyboard.press("l")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("PageDown")
    active = page.locator(".row.active")
    expect(active).to_be_visible()
    assert active.get_attribute("id") == page.get_by_role("grid").get_attribute("aria-activedescendant")
    page.keyboard.press("Control+End")
    expect(active).to_have_attribute("aria-rowindex", "10001")
    expect(active).to_contain_text("Review change")
    page.keyboard.press("t")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"


def test_playing_goes_on_to_the_live_edge(place: Place, visit: Visit) -> None:
    page = visit.go("#/agents?at=1000")
    figure(page).to_have_text("999 agents")
    for _ in range(9):
        page.keyboard.press("+")
    page.keyboard.press("Space")
    expect(page.locator("body")).not_to_have_class("past")
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    figure(page).to_have_text("1,000 agents")


def test_a_thousand_agents_and_ten_thousand_tasks_do_not_stall_the_page(place: Place, visit: Visit) -> None:
    page = visit.go("#/queue")
    figure(page).to_have_text("10,000 tasks")
    plain = page.evaluate(PLAIN)
    page.evaluate(LONG_TASKS)
    assert page.evaluate(SCROLL, STEPS) < NODES_MAX
    expect(page.locator("[aria-rowindex='10001']")).to_contain_text("Review change")
    visit.asked.clear()
    assert page.evaluate(DRAG, STEPS) < NODES_MAX
    expect(page.locator("#panel")).not_to_have_attribute("aria-busy", "true")
    figure(page).to_have_text(f"{min(position(page) - 1_102, 10_000):,} tasks")
    expect(page.locator(".list-space .row").last).to_contain_text("Review change")
    assert len([url for url in visit.asked if "/api/queue" in url]) <= 3 * STEPS
    choose(page, "agents")
    figure(page).to_have_text("1,000 agents")
    assert page.evaluate(SCROLL, STEPS) < NODES_MAX
    assert max(page.evaluate("window.long"), default=0) < plain


def test_names_and_landmarks_are_told(place: Place, visit: Visit) -> None:
    page = visit.go("#/queue?at=5000")
    figure(page).to_have_text("3,898 tasks")
    told = page.locator("body").aria_snapshot()
    for line in (
        "- banner:",
        '- navigation "Panels":',
        '- link "Queue"',
        "- main:",
        '- heading "Queue 3,898 tasks" [level=2]',
        '- grid "Queue":',
        '- columnheader "Waits for"',
        '- region "Position in the log":',
        'img "Events along the log: task 10,040, run 60, agent 1,000, state',
        '- slider "Position in the log"',
        '- button "One event back"',
        '- button "Play"',
        '- combobox "Speed"',
        '- textbox "Go to a position or time"',
    ):
        assert line in told, (line, told)
    assert page.evaluate(NAMELESS) == 0
    expect(page.get_by_role("slider")).to_have_attribute("aria-valuetext", re.compile("^position 5,000 of 11,1"))
    expect(page.locator("#announcer")).to_contain_text("Position 5,000, task.dispatched")
    row = page.locator("[aria-rowindex='2']").get_by_role("gridcell").all_inner_texts()
    assert "waiting" in row


def test_a_phone_shows_everything_in_its_width(place: Place, browser: Browser) -> None:
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "color_scheme": "dark"}
    with Visit(browser, place.board, "#/queue?at=5000", **phone) as page:
        figure(page).to_have_text("3,898 tasks")
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        for name in ("One event back", "Play", "Live"):
            box = page.get_by_role("button", name=name, exact=True).bounding_box()
            assert box and box["x"] >= 0 and box["x"] + box["width"] <= 390 and box["height"] >= 38
        page.get_by_role("button", name="Back to live").tap()
        figure(page).to_have_text("10,000 tasks")
        page.set_viewport_size({"width": 844, "height": 390})  # turned: its rows are lower
        until(lambda: page.evaluate(GAPS) == 0)
        page.set_viewport_size({"width": 390, "height": 844})
        until(lambda: page.evaluate(GAPS) == 0)
        page.get_by_role("link", name="Schedules").tap()
        expect(page.get_by_text("There is no schedule.")).to_be_visible()
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(17, 19, 24)"


def test_what_was_not_there_yet_is_said_in_its_place(place: Place, visit: Visit) -> None:
    visit.excused = (404,)
    page = visit.go(f"#/task/{page_history.task(3)}?at=1000")
    expect(page.locator("#panel")).to_contain_text("There is no task")
    page.keyboard.press("End")
    expect(page.get_by_role("heading", name="Review change 3")).to_be_visible()
    expect(page.get_by_text("There is no task")).to_be_hidden()


def test_the_page_says_that_the_store_is_away_and_goes_on_when_it_is_back(place: Place, visit: Visit) -> None:
    visit.excused = (503,)
    page = visit.go("#/state")
    expect(page.get_by_role("grid")).to_contain_text("first the API")
    assert place.installation.run("shutdown", "--grace-period", "1", "--keep").returncode == 0
    expect(page.get_by_role("alert")).to_contain_text("store")
    place.store.close()
    place.store = open_store(place.settings)
    page_history.set_state(place.store, "again", "there")
    expect(page.get_by_role("grid")).to_contain_text("there")
    expect(page.get_by_role("alert")).to_be_hidden()


def test_the_page_says_that_the_board_has_ended_and_takes_up_the_next(place: Place, visit: Visit) -> None:
    visit.excused = (503,)
    page = visit.go("#/state")
    expect(page.get_by_role("grid")).to_contain_text("first the API")
    place.board.end()
    expect(page.get_by_role("alert")).to_contain_text("The board has ended")
    expect(page.get_by_role("grid")).to_contain_text("first the API")
    visit.excused = (401, 503)
    with RunningBoard(place.installation, "--port", str(place.board.port), "--allow-actions") as anew:
        visit.enter(anew)
        expect(page.get_by_role("button", name="Fork from here")).to_be_visible()
        expect(page.get_by_role("grid")).to_contain_text("first the API")
