// Links and forms that stay on a page: the server's answer takes the place of what is shown, so
// that the scroll, the focus and the browser's history are kept.  Without scripts they still work.

const main = document.getElementById("main");
const said = document.getElementById("said");
let current = null; // the visit under way: { control, done }
let sending = Promise.resolve(); // forms that change something, one after the other
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
  } catch (error) {
    if (error.name === "AbortError") return;
    steps.length = 0;
    announce("The server does not answer. Start `chainrule lab` again, then reload this page.");
  } finally {
    clearTimeout(slow);
    if (current === own) current = null;
  }
  if (!current && steps.length) document.getElementById(steps.shift())?.click();
}

// Sends a form that changes something and shows what came of it, unless another page was asked for
// meanwhile.  It is sent once, however often its button is pressed before the answer.
function send(form, submitter) {
  if (form.dataset.sent) return;
  form.dataset.sent = "yes";
  const body = new URLSearchParams(new FormData(form, submitter));
  sending = sending.then(async () => {
    const before = location.href;
    try {
      const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "text/html" } });
      const text = await answer.text();
      const there = answer.redirected ? answer.url : before; // a refusal has no address of its own
      if (location.href === before && !current) show(text, there, there !== before);
    } catch {
      announce("The server does not answer. Start `chainrule lab` again, then reload this page.");
    } finally {
      delete form.dataset.sent;
    }
  });
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
  if (form.method === "post") {
    send(form, event.submitter);
    return;
  }
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

// Whether a part shows this text already; it was written by the server, or by the last refresh.
function same(part, text) {
  if (part.dataset.text !== undefined) return part.dataset.text === text;
  const parsed = document.createElement("template");
  parsed.innerHTML = text;
  if (parsed.innerHTML.trim() !== part.innerHTML.trim()) return false;
  part.dataset.text = text;
  return true;
}

// Parts that follow something that goes on: asked for again every so many seconds.
async function refresh(part) {
  if (part.dataset.asking || document.hidden) return;
  part.dataset.asking = "yes";
  try {
    const answer = await fetch(part.dataset.from, { headers: { Accept: "text/html" } });
    const text = await answer.text();
    const typing = part.contains(document.activeElement) && document.activeElement.matches("input:not([type=hidden]), select, textarea");
    if (answer.ok && part.isConnected && !same(part, text) && !typing) {
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
