// Links and forms that stay on a page: the server's answer takes the place of what is shown, so
// that the scroll, the focus and the browser's history are kept.  Without scripts they still work.

const main = document.getElementById("main");
const said = document.getElementById("said");
let current = null; // the visit under way: { control, done }
const steps = []; // ids of controls that were pressed meanwhile, each of which counts

function announce(text) {
  said.textContent = text;
}

function remember() {
  const scrolls = [...main.querySelectorAll(".scroll[id]")].map((e) => [e.id, e.scrollLeft, e.scrollTop]);
  return { focus: document.activeElement?.id, scrolls };
}

function recall({ focus, scrolls }) {
  for (const [id, left, top] of scrolls) {
    const box = document.getElementById(id);
    if (box) box.scrollTo({ left, top, behavior: "instant" });
  }
  const target = (focus && document.getElementById(focus)) || main.querySelector("[data-focus]");
  target?.focus({ preventScroll: true });
}

// In a box that scrolls, what is chosen is in view; of a graph, else, where it begins.
function turn() {
  for (const box of main.querySelectorAll(".scroll")) {
    const chosen = box.querySelector("[aria-current]") ?? box.querySelector("svg a");
    if (!chosen) continue;
    const it = chosen.getBoundingClientRect();
    const { top, left, width, height } = box.getBoundingClientRect();
    const down = it.top < top || it.bottom > top + height ? it.top - top - height / 2 : 0;
    const aside = it.left < left || it.right > left + width ? it.left - left - width / 3 : 0;
    if (down || aside) box.scrollBy({ top: down, left: aside, behavior: "instant" });
  }
}

// A link to a part of the page brings it into view, if it is not there.
function reveal(hash) {
  const part = hash && document.getElementById(hash);
  if (!part) return;
  const { top } = part.getBoundingClientRect();
  if (top < 0 || top > innerHeight * 0.6) part.scrollIntoView({ block: "start" });
}

function show(text, url, push) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const fresh = page.getElementById("main");
  if (!fresh) throw new Error("the answer was no page of the lab");
  const before = remember();
  main.replaceChildren(...fresh.childNodes);
  document.title = page.title;
  document.getElementById("permalink").href = url;
  if (push) history.pushState(null, "", url);
  recall(before);
  turn();
  document.dispatchEvent(new CustomEvent("lab:shown"));
  const problem = main.querySelector("[role=alert]");
  announce(problem ? problem.textContent.trim() : "");
}

async function visit(url, push = true) {
  current?.abort();
  const own = (current = new AbortController());
  const slow = setTimeout(() => announce("Working..."), 250);
  try {
    const answer = await fetch(url, { signal: own.signal, headers: { Accept: "text/html" } });
    show(await answer.text(), answer.url, push);
    reveal(new URL(url).hash.slice(1));
  } catch (error) {
    if (error.name === "AbortError") return;
    steps.length = 0;
    announce("The server does not answer. Start `chainrule lab` again, then reload this page.");
  } finally {
    clearTimeout(slow);
    if (current === own) current = null;
  }
  if (current || !steps.length) return;
  const next = document.getElementById(steps.shift());
  if (next?.href) next.click();
  else steps.length = 0; // the way ends here: what was pressed beyond is forgotten
}

function plain(event) {
  return event.button || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey;
}

document.addEventListener("click", (event) => {
  const anchor = event.target.closest("a[data-swap]");
  if (!anchor || plain(event) || event.defaultPrevented) return;
  event.preventDefault();
  // A step goes on from what is shown, so that ten presses are ten steps; any other link says
  // where it leads, and the last one wins.
  if (anchor.dataset.swap === "step" && current) {
    steps.push(anchor.id);
    return;
  }
  steps.length = anchor.dataset.swap === "step" ? steps.length : 0;
  const href = anchor.href.baseVal ?? anchor.href; // links within SVG hold an object
  visit(new URL(href, location.href).href);
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.swap === undefined) {
    // A form that changes something is sent once, however often its button is pressed.
    if (form.dataset.sent) event.preventDefault();
    form.dataset.sent = "yes";
    return;
  }
  event.preventDefault();
  const url = new URL(form.action);
  const values = new FormData(form, event.submitter);
  url.search = new URLSearchParams([...values].filter(([, value]) => value !== "")).toString();
  visit(url.href);
});

document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-swap=change]");
  if (form) form.requestSubmit();
});

addEventListener("popstate", () => visit(location.href, false));
addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((f) => delete f.dataset.sent));

turn();

// Parts that follow something that goes on: asked for again every so many seconds.
async function refresh(part) {
  if (part.dataset.asking || document.hidden) return;
  part.dataset.asking = "yes";
  try {
    const answer = await fetch(part.dataset.from, { headers: { Accept: "text/html" } });
    const text = await answer.text();
    if (answer.ok && part.isConnected && text !== part.dataset.text) {
      const focus = part.contains(document.activeElement) && document.activeElement.id;
      part.innerHTML = text;
      part.dataset.text = text;
      if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
      document.dispatchEvent(new CustomEvent("lab:shown"));
    }
    if (said.dataset.lost) announce((delete said.dataset.lost, ""));
  } catch {
    said.dataset.lost = "yes";
    announce("The server does not answer. This page goes on once it is back.");
  } finally {
    delete part.dataset.asking;
  }
}

setInterval(() => {
  for (const part of document.querySelectorAll("[data-refresh]")) {
    const due = Number(part.dataset.due || 0);
    if (Date.now() < due) continue;
    part.dataset.due = Date.now() + 1000 * Number(part.dataset.refresh);
    refresh(part);
  }
}, 200);
