"""Scripts that the tests of the page run in it: what they measure cannot be told by what is seen alone."""

from __future__ import annotations

GAPS = """() => {
  const rows = [...document.querySelectorAll(".list-space .row")].map((row) => row.getBoundingClientRect());
  rows.sort((one, other) => one.top - other.top);
  return rows.length < 5 ? -1 : rows.filter((row, at) => at > 0 && Math.abs(row.top - rows[at - 1].bottom) > 1).length;
}"""
"""How many rows of the list that is shown leave a gap above them, or lie on another one."""
NAMELESS = """[...document.querySelectorAll("button, a, input, select")]
  .filter((one) => !(one.ariaLabel || one.textContent.trim())).length"""
LONG_TASKS = """() => {
  window.long = [];
  new PerformanceObserver((list) => window.long.push(...list.getEntries().map((one) => one.duration)))
    .observe({ type: "longtask" });
}"""
PLAIN = """() => {
  const began = performance.now();
  const place = document.createElement("div");
  document.body.append(place);
  place.innerHTML = "<p><b>one</b> <i>two</i> <a href='#'>three</a></p>".repeat(10000);
  place.getBoundingClientRect();
  place.remove();
  return performance.now() - began;
}"""
DRAG = """async (steps) => {
  const range = document.querySelector(".range");
  let most = 0;
  for (let step = 0; step < steps; step += 1) {
    range.value = String(100000 * (1 - (0.6 * (step + 1)) / steps));
    range.dispatchEvent(new Event("input", { bubbles: true }));
    await new Promise((done) => requestAnimationFrame(done));
    most = Math.max(most, document.querySelectorAll("*").length);
  }
  return most;
}"""
SCROLL = """async (steps) => {
  const grid = document.querySelector("[role=grid]");
  let most = 0;
  for (let step = 0; step <= steps; step += 1) {
    grid.scrollTop = (grid.scrollHeight * step) / steps;
    await new Promise((done) => requestAnimationFrame(done));
    most = Math.max(most, document.querySelectorAll("*").length);
  }
  return most;
}"""
