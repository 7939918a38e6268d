// The circuit's page: arrow keys take steps, what is reached is kept in view, and the command line
// is copied.  Without this every button and link still works.

const main = document.getElementById("main");

function kept(box, part) {
  // Scrolls the box and never the page, so that the buttons stay where they are.
  const [frame, inner] = [box.getBoundingClientRect(), part.getBoundingClientRect()];
  const [x, y] = [inner.left - frame.left, inner.top - frame.top];
  const aside = inner.width < frame.width - 20 && (x < 0 || x + inner.width > frame.width - 20);
  const beyond = y < 0 || y + inner.height > frame.height - 20;
  box.scrollTo({
    left: box.scrollLeft + (aside ? x - (frame.width - inner.width) / 2 : 0),
    top: box.scrollTop + (beyond ? y - (frame.height - inner.height) / 2 : 0),
    behavior: "instant",
  });
}

let chosen = null; // the gate that was looked at before

function shown() {
  // What has just changed is followed: the gate that was chosen, else the step that was taken.
  const before = chosen;
  chosen = new URLSearchParams(location.search).get("gate");
  const marked = chosen && chosen !== before
    ? "#graph [aria-current], #gates [aria-current]"
    : "#graph .now, #gates [data-now]";
  for (const part of main.querySelectorAll(`#steps [data-now], ${marked}`)) {
    kept(part.closest(".scroll"), part);
  }
  for (const button of main.querySelectorAll("[data-copy]")) button.hidden = !navigator.clipboard;
}

document.addEventListener("lab:shown", shown);
shown();

document.addEventListener("keydown", (event) => {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey || event.defaultPrevented) return;
  const control = { ArrowLeft: "back", ArrowRight: "next" }[event.key];
  // A field moves its cursor, and a box its content.
  if (!control || event.target.closest("input, select, textarea") || event.target.matches(".scroll")) return;
  event.preventDefault();
  document.getElementById(control)?.click();
});

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const said = document.getElementById("said");
  try {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    said.textContent = "Copied.";
  } catch {
    said.textContent = "The browser does not let this page copy; select the text instead.";
  }
  setTimeout(() => { if (said.textContent === "Copied.") said.textContent = ""; }, 2000);
});
