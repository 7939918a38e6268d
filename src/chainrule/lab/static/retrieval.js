// The page Retrieval: a file dropped onto it is handed in, and a part of the picture is chosen by
// dragging.  Without this both are done by the forms.

const LEAST = 5; // pixels of the screen: a shorter way is a click
let drag = null; // where a part was begun, and the frame it is in

function frame() {
  return document.getElementById("frame");
}

// The place of the pointer in pixels of the picture, within it.
function place(event, box) {
  const { left, top, width, height } = box.getBoundingClientRect();
  const [wide, high] = [Number(box.dataset.width), Number(box.dataset.height)];
  const within = (value, most) => Math.min(most, Math.max(0, value));
  return [within(((event.clientX - left) / width) * wide, wide), within(((event.clientY - top) / height) * high, high)];
}

// The part between two places: whole pixels, at least one.
function between([x0, y0], [x1, y1], box) {
  const [wide, high] = [Number(box.dataset.width), Number(box.dataset.height)];
  const x = Math.min(Math.floor(Math.min(x0, x1)), wide - 1);
  const y = Math.min(Math.floor(Math.min(y0, y1)), high - 1);
  return { x, y, width: Math.max(1, Math.ceil(Math.max(x0, x1)) - x), height: Math.max(1, Math.ceil(Math.max(y0, y1)) - y) };
}

function draw(part, box) {
  const shown = document.getElementById("part");
  const [wide, high] = [Number(box.dataset.width), Number(box.dataset.height)];
  shown.hidden = false;
  shown.style.left = `${(100 * part.x) / wide}%`;
  shown.style.top = `${(100 * part.y) / high}%`;
  shown.style.width = `${(100 * part.width) / wide}%`;
  shown.style.height = `${(100 * part.height) / high}%`;
}

function fill(part) {
  for (const name of ["x", "y", "width", "height"]) document.getElementById(`region-${name}`).value = part?.[name] ?? "";
}

// Puts back what was there before a drag that came to nothing.
function undo() {
  const shown = document.getElementById("part");
  if (drag && shown) {
    shown.style.cssText = drag.style;
    shown.hidden = drag.hidden;
  }
  drag = null;
}

document.addEventListener("pointerdown", (event) => {
  const box = event.target.closest("#frame");
  if (!box || event.button || !event.isPrimary) return;
  const shown = document.getElementById("part");
  drag = { box, id: event.pointerId, from: place(event, box), at: [event.clientX, event.clientY], style: shown.style.cssText, hidden: shown.hidden, part: null };
  box.setPointerCapture(event.pointerId);
});

document.addEventListener("pointermove", (event) => {
  if (!drag || event.pointerId !== drag.id) return;
  const way = Math.hypot(event.clientX - drag.at[0], event.clientY - drag.at[1]);
  if (!drag.part && way < LEAST) return;
  drag.part = between(drag.from, place(event, drag.box), drag.box);
  draw(drag.part, drag.box);
});

document.addEventListener("pointerup", (event) => {
  if (!drag || event.pointerId !== drag.id) return;
  const { part, box } = drag;
  if (!part || !box.isConnected) return undo();
  drag = null;
  fill(part);
  document.getElementById("region").requestSubmit();
});

document.addEventListener("pointercancel", undo);
document.addEventListener("dragstart", (event) => event.target.closest("#frame") && event.preventDefault());

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || event.target.matches("select")) return;
  if (drag) return undo();
  document.getElementById("region-clear")?.click();
});

function files(event) {
  return event.dataTransfer && [...event.dataTransfer.types].includes("Files");
}

document.addEventListener("dragover", (event) => {
  if (!files(event)) return;
  event.preventDefault();
  document.body.classList.add("dropping");
});

document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dropping");
});

document.addEventListener("drop", (event) => {
  if (!files(event)) return;
  event.preventDefault();
  document.body.classList.remove("dropping");
  const [input, form] = [document.getElementById("picture-file"), document.getElementById("upload")];
  const [file] = event.dataTransfer.files;
  if (!input || !file) return;
  const one = new DataTransfer();
  one.items.add(file);
  input.files = one.files;
  form.requestSubmit();
});

document.addEventListener("lab:shown", () => {
  if (drag && !drag.box.isConnected) drag = null;
});
