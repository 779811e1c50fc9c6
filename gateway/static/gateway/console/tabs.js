// Tabs: one panel at a time; arrow keys go from tab to tab, as in every tab list.

import { recall, remember } from "./settings.js";

const STEPS = { ArrowLeft: -1, ArrowRight: 1 };

/** Make the tabs of a list work, and tell "change" on the list; the choice is remembered. */
export function makeTabs(list) {
  const tabs = [...list.querySelectorAll("[role=tab]")];
  for (const tab of tabs) {
    tab.addEventListener("click", () => select(list, tabs, tab));
    tab.addEventListener("keydown", (event) => {
      const step = STEPS[event.key];
      if (!step) return;
      const next = tabs.at((tabs.indexOf(tab) + step) % tabs.length);
      select(list, tabs, next);
      next.focus();
    });
  }
  select(list, tabs, tabs.find((tab) => tab.id === recall(list.id)) ?? tabs[0]);
}

function select(list, tabs, chosen) {
  for (const tab of tabs) {
    tab.ariaSelected = String(tab === chosen);
    tab.tabIndex = tab === chosen ? 0 : -1;
    document.getElementById(tab.getAttribute("aria-controls")).hidden = tab !== chosen;
  }
  remember(list.id, chosen.id);
  list.dispatchEvent(new Event("change"));
}
