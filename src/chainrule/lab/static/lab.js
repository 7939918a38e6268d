// Links and forms that stay on a page: the server's answer takes the place of what is shown, so
// that the scroll, the focus and the browser's history are kept.  Without scripts they still work.

const main = document.getElementById("main");
const said = document.getElementById("said");
const heard = document.getElementById("heard");
let news = telling(); // what was there to be heard
let current = null; // the visit under way
let shown = view(location); // the view whose address the page has
let parts = new AbortController(); // what is asked for the parts that follow something
let replacing = false;
let sending = Promise.resolve(); // forms that change something, one after the other
const steps = []; // ids of controls that were pressed meanwhile, each of which counts

function view(place) {
  return place.pathname + place.search;
}

function announce(text) {
  said.textContent = text;
}

// What an action brought is marked with `data-say`: a screen reader, whose user is elsewhere on the
// page, is told of it where it changed.
function telling() {
  const texts = [...main.querySelectorAll("[data-say]")].map((e) => e.textContent.trim().replace(/\s+/g, " "));
  return texts.join(". ");
}

function tell() {
  const now = telling();
  if (now !== news) heard.textContent = now;
  news = now;
}

function focused() {
  const element = document.activeElement;
  return main.contains(element) || element === main ? element : null;
}

function remember() {
  const scrolls = [...main.querySelectorAll(".scroll[id]")].map((e) => [e.id, e.scrollLeft, e.scrollTop]);
  const fields = new Map([...main.querySelectorAll("input[id], textarea[id]")].map((e) => [e.id, e.value]));
  const { id, selectionStart = null, selectionEnd = null } = focused() ?? {};
  return { focus: id, fields, marked: [selectionStart, selectionEnd], scrolls };
}

// `now` is how the page was left, `before` how it was when the new one was asked for.  Where the
// control that had the focus is gone, what is marked with `data-focus` takes it.
function recall(now, before) {
  for (const [id, left, top] of now.scrolls) {
    const box = document.getElementById(id);
    if (box) box.scrollTo({ left, top, behavior: "instant" });
  }
  const same = now.focus && document.getElementById(now.focus);
  const target = same || (now.focus && main.querySelector("[data-focus]"));
  const value = now.fields.get(now.focus);
  const typed = same && before.fields.has(now.focus) && before.fields.get(now.focus) !== value;
  if (typed) same.value = value;
  target?.focus({ preventScroll: true });
  if (same && now.marked[0] !== null && same.value === value) same.setSelectionRange(...now.marked);
  if (typed) changesLate(same);
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

// A link to a part of the page brings it into view, if it is not there, and the keyboard to it.
function reveal(hash) {
  const part = hash && document.getElementById(hash);
  if (!part) return;
  if (!part.contains(document.activeElement)) {
    part.tabIndex = -1;
    part.focus({ preventScroll: true });
  }
  const { top } = part.getBoundingClientRect();
  if (top < 0 || top > innerHeight * 0.6) part.scrollIntoView({ block: "start" });
}

// What was typed while an answer was on its way stays, and counts as changed once it is left.
function changesLate(field) {
  const late = () => replacing || field.dispatchEvent(new Event("change", { bubbles: true }));
  field.addEventListener("blur", late, { once: true });
  field.addEventListener("change", () => field.removeEventListener("blur", late), { once: true });
}

function show(text, url, push, before) {
  const page = new DOMParser().parseFromString(text, "text/html");
  const fresh = page.getElementById("main");
  if (!fresh) return location.assign(url); // no page of ours: a file, say
  const now = remember();
  replacing = true; // a field that goes while it is typed in says that it changed
  main.replaceChildren(...fresh.childNodes);
  replacing = false;
  document.title = page.title;
  document.getElementById("permalink").href = page.getElementById("permalink")?.href ?? url;
  document.getElementById("pages").innerHTML = page.getElementById("pages")?.innerHTML ?? "";
  if (push && url !== location.href) history.pushState(null, "", url); // asked twice, once in the history
  shown = view(location);
  recall(now, before);
  turn();
  document.dispatchEvent(new CustomEvent("lab:shown"));
  const problem = main.querySelector("[role=alert]");
  announce(problem ? problem.textContent.trim() : "");
  tell();
  follow();
}

async function visit(url, push = true) {
  current?.abort();
  parts.abort(); // so that no connection is held by what is about to go
  parts = new AbortController();
  const own = (current = new AbortController());
  const before = remember();
  const slow = setTimeout(() => announce("Working..."), 250);
  try {
    const answer = await fetch(url, { signal: own.signal, headers: { Accept: "text/html" } });
    show(await answer.text(), answer.url, push, before);
    reveal(new URL(url).hash.slice(1));
  } catch (error) {
    if (error.name === "AbortError") return;
    steps.length = 0;
    announce("The server does not answer. Start `chainrule lab` again, then try once more.");
  } finally {
    clearTimeout(slow);
    if (current === own) current = null;
  }
  while (!current && steps.length) document.getElementById(steps.shift())?.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
}

// A link that says where it leads, a form, or the browser's history: steps that wait are void.
function leave(url, push = true) {
  steps.length = 0;
  visit(url, push);
}

// Sends a form that changes something and shows what came of it, unless another page was asked for
// meanwhile.  It is sent once, however often its button is pressed before the answer.
function send(form, submitter) {
  if (form.dataset.sent) return;
  form.dataset.sent = "yes";
  const body = new URLSearchParams(new FormData(form, submitter));
  sending = sending.then(async () => {
    const before = location.href;
    const left = remember();
    try {
      const answer = await fetch(form.action, { method: "POST", body, headers: { Accept: "text/html" } });
      const text = await answer.text();
      const there = answer.redirected ? answer.url : before; // a refusal has no address of its own
      if (location.href === before && !current) show(text, there, there !== before, left);
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
  const href = anchor && (anchor.href.baseVal ?? anchor.href); // links within SVG hold an object
  if (!href || anchor.hasAttribute("target") || plain(event) || event.defaultPrevented) return;
  event.preventDefault();
  const url = new URL(href, location.href).href;
  // A step goes on from what is shown, so that ten presses are ten steps; any other link says
  // where it leads, and the last one wins.
  if (anchor.dataset.swap !== "step") leave(url);
  else if (current) steps.push(anchor.id);
  else visit(url);
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.swap === undefined) {
    // A form that changes something is sent once, however often its button is pressed.
    if (form.dataset.sent || tooLarge(form)) event.preventDefault();
    else form.dataset.sent = "yes";
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
  leave(url.href);
});

// A file beyond `data-most` bytes would be sent in vain, and its answer lost.
function tooLarge(form) {
  const most = Number(form.dataset.most || Infinity);
  const files = [...form.querySelectorAll("input[type=file]")].flatMap((input) => [...input.files]);
  if (!files.some((file) => file.size > most)) return false;
  announce(`This file is larger than ${Math.floor(most / 1e6)} MB. Choose a smaller one.`);
  return true;
}

document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-swap=change]");
  if (form && !replacing) form.requestSubmit();
});

addEventListener("popstate", () => {
  if (view(location) !== shown || current) leave(location.href, false); // else a jump within the page
});
addEventListener("pageshow", () => document.querySelectorAll("form[data-sent]").forEach((f) => delete f.dataset.sent));

turn();

// Whether a part shows this text already; it was written by the server, or by the last refresh.
function same(part, text) {
  if (part.dataset.text !== undefined) return part.dataset.text === text;
  const parsed = document.createElement("template");
  parsed.innerHTML = text;
  if (parsed.innerHTML.trim() !== part.innerHTML.trim()) return false;
  part.dataset.text = text;
  return true;
}

// Parts that follow something that goes on: asked for again every so many seconds, until what
// comes holds an element with `data-done`.
async function refresh(part) {
  if (part.dataset.asking || document.hidden) return;
  part.dataset.asking = "yes";
  try {
    const answer = await fetch(part.dataset.from, { signal: parts.signal, headers: { Accept: "text/html" } });
    const text = await answer.text();
    const typing = part.contains(document.activeElement) && document.activeElement.matches("input:not([type=hidden]), select, textarea");
    if (answer.ok && part.isConnected && !same(part, text) && !typing) {
      const focus = part.contains(document.activeElement) && document.activeElement.id;
      part.innerHTML = text;
      part.dataset.text = text;
      if (part.querySelector("[data-done]")) finish(part);
      tell();
      const left = focus && (document.getElementById(focus) ?? part.querySelector("[data-focus]"));
      if (left) left.focus({ preventScroll: true });
      document.dispatchEvent(new CustomEvent("lab:shown"));
    }
    if (said.dataset.lost) announce((delete said.dataset.lost, ""));
  } catch (error) {
    if (error.name === "AbortError") return;
    said.dataset.lost = "yes";
    announce("The server does not answer. This page goes on once it is back.");
  } finally {
    delete part.dataset.asking;
  }
}

function finish(part) {
  delete part.dataset.refresh;
  part.removeAttribute("aria-busy");
}

function follow() {
  for (const part of document.querySelectorAll("[data-refresh]")) {
    const due = Number(part.dataset.due || 0);
    if (Date.now() < due) continue;
    part.dataset.due = Date.now() + 1000 * Number(part.dataset.refresh);
    refresh(part);
  }
}

follow();
setInterval(follow, 200);
