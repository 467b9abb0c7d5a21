"""The types of the board's page hold, and its files keep what its Content-Security-Policy and the wheel need."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.board.browsers import TYPESCRIPTS
from tests.house.sources import ROOT

PAGE = ROOT / "maestro" / "board" / "page"
SCRIPTS = sorted(PAGE.rglob("*.js"))


@pytest.mark.parametrize("tsc", TYPESCRIPTS)
def test_the_types_of_the_page_hold(tsc: Path) -> None:
    checked = subprocess.run([tsc, "-p", ROOT / "tests" / "board" / "tsconfig.json"], capture_output=True, text=True)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_every_script_is_checked_and_small() -> None:
    assert SCRIPTS
    for script in SCRIPTS:
        lines = script.read_text(encoding="utf-8").splitlines()
        assert lines[0] == "// @ts-check", script
        assert not [line for line in lines if "@ts-ignore" in line or "@ts-nocheck" in line], script
        assert len(lines) <= 320, script


def test_nothing_is_inline_and_nothing_from_elsewhere() -> None:
    page = (PAGE / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", page)
    for file in (PAGE / "index.html", *PAGE.rglob("*.css"), *SCRIPTS):
        text = file.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        assert not re.search(
            r"https?://|//cdn|@import|innerHTML|outerHTML|insertAdjacentHTML|\beval\(|setAttribute\(.style", text
        ), file


def test_no_time_is_shown_as_the_server_wrote_it() -> None:
    for script in SCRIPTS:
        assert not re.search(r"_at\??\.(replace|slice)\(", script.read_text(encoding="utf-8")), script


def test_every_module_that_is_imported_is_there() -> None:
    for script in SCRIPTS:
        for path in re.findall(
            r'(?:^import|^} from|^export .* from) .*?"(\.[^"]+)"', script.read_text(encoding="utf-8"), re.M
        ):
            assert (script.parent / path).resolve().is_file(), (script, path)
