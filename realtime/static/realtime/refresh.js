// Refresh: elements with data-refresh show what the server would say now, as long as somebody looks.

const SECONDS = Math.min(...parts().map((part) => Number(part.dataset.refresh)));

function parts() {
  return [...document.querySelectorAll("[data-refresh]")];
}

/** Nothing is taken from under the keys or the selection of who reads. */
function isInUse(part) {
  const selection = getSelection();
  return part.contains(document.activeElement) || (!selection.isCollapsed && part.contains(selection.anchorNode));
}

async function refresh() {
  if (document.hidden) return;
  const response = await fetch(location.href, { redirect: "error" }).catch(() => null);
  if (!response?.ok) return;
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  for (const part of parts()) {
    const now = page.getElementById(part.id);
    if (now && !isInUse(part)) part.replaceWith(now);
  }
  document.dispatchEvent(new Event("refreshed"));
}

if (Number.isFinite(SECONDS)) setInterval(refresh, SECONDS * 1000);
