// @ts-check
/** Light or dark: as the system says, or as the reader does. */

const CHOICES = ["system", "light", "dark"];
const MARKS = { system: "◐", light: "☀", dark: "☾" };

export class Theme {
  /** @param {HTMLElement} button */
  constructor(button) {
    this.button = button;
    this.choice = read();
    button.addEventListener("click", () => {
      this.choice = CHOICES[(CHOICES.indexOf(this.choice) + 1) % CHOICES.length] ?? "system";
      keep(this.choice);
      this.#apply();
    });
    this.#apply();
  }

  #apply() {
    if (this.choice === "system") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = this.choice;
    this.button.textContent = MARKS[/** @type {keyof typeof MARKS} */ (this.choice)];
    this.button.setAttribute("aria-label", `Colours: ${this.choice === "system" ? "as the system" : this.choice}`);
    this.button.title = this.button.getAttribute("aria-label") ?? "";
    window.dispatchEvent(new Event("themechange"));
  }
}

function read() {
  try {
    const kept = localStorage.getItem("maestro-theme") ?? "system";
    return CHOICES.includes(kept) ? kept : "system";
  } catch {
    return "system";
  }
}

/** @param {string} choice */
function keep(choice) {
  try {
    localStorage.setItem("maestro-theme", choice);
  } catch {
    // a browser that keeps nothing shows the choice all the same
  }
}
