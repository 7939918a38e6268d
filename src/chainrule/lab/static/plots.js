// Curves of a training, by plotly.js, which is loaded when the first ones are to be drawn.  They
// are asked for again each second; a zoom stays until the button takes it back.

const plots = ["plot-loss", "plot-score", "plot-rate"];
const colours = { live: "#9aa7b5", train: "#1a5fb4", validation: "#8a5a00", test: "#b3261e" };
const kept = { run: null, nodes: new Map(), ranges: new Map(), tag: "", reached: 1 };
let loading = null; // a promise
let asking = false;

function load(address) {
  loading ??= new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = () => done(window.Plotly);
    script.onerror = () => failed(new Error("plotly.js did not come"));
    document.head.append(script);
  }).catch((error) => {
    loading = null;
    throw error;
  });
  return loading;
}

// A page that was exchanged for its next answer gets the curves that were there, with their zoom.
function adopt(box) {
  if (kept.run !== box.dataset.run) Object.assign(kept, { run: box.dataset.run, nodes: new Map(), ranges: new Map(), tag: "" });
  for (const id of plots) {
    const fresh = box.querySelector(`#${id}`);
    const old = kept.nodes.get(id);
    if (old && old !== fresh) fresh.replaceWith(old);
    else kept.nodes.set(id, fresh);
  }
  if (kept.tag) drawn(box);
}

function drawn(box) {
  box.classList.add("drawn");
  box.querySelector("#plot-words").hidden = true;
  const button = box.querySelector("#plot-whole");
  button.hidden = false;
  button.onclick = () => {
    for (const id of plots) {
      kept.ranges.set(id, [0, kept.reached]);
      window.Plotly.relayout(kept.nodes.get(id), { "xaxis.range": [0, kept.reached], "yaxis.autorange": true });
    }
  };
}

function line(name, x, y, style) {
  return { name, x, y, type: "scatter", mode: style.mode ?? "lines+markers", line: { color: style.colour, width: style.width ?? 2, dash: style.dash ?? "solid" }, marker: { size: 6, symbol: style.symbol ?? "circle" } };
}

function traces(data, what, column, factor) {
  const scaled = (value) => (value == null ? null : value * factor);
  const epochs = data.rows.map((row) => row.epoch);
  const found = [];
  if (data.live.length) {
    found.push(line("while training", data.live.map((m) => m[0]), data.live.map((m) => scaled(m[column])), { mode: "lines", colour: colours.live, width: 1.5 }));
  }
  const parts = { train: ["training, epoch's mean", "dot", "circle"], validation: ["validation", "dash", "square"], test: ["test", "solid", "diamond"] };
  for (const [part, [name, dash, symbol]] of Object.entries(parts)) {
    const values = data.rows.map((row) => scaled(row[`${part}_${what}`]));
    if (values.some((value) => value != null)) found.push(line(name, epochs, values, { colour: colours[part], dash, symbol }));
  }
  return found;
}

function reached(data) {
  const last = Math.max(data.live.at(-1)?.[0] ?? 0, data.rows.at(-1)?.epoch ?? 0);
  kept.reached = 1.02 * Math.max(last, 0.1);
  return kept.reached;
}

// The parts of the axes to be seen: those that somebody chose, else all that there is.
function axes(id, data) {
  const all = [0, reached(data)];
  const now = kept.nodes.get(id).layout;
  const before = kept.ranges.get(id);
  if (before && now && String(now.xaxis.range) !== String(before)) {
    return { x: { range: [...now.xaxis.range] }, y: { range: [...now.yaxis.range] } };
  }
  if (before && now && now.yaxis.autorange === false) {
    kept.ranges.set(id, [...all]); // plotly writes into what it is given
    return { x: { range: all }, y: { range: [...now.yaxis.range] } };
  }
  kept.ranges.set(id, [...all]); // plotly writes into what it is given
  return { x: { range: all }, y: { autorange: true } };
}

function layout(id, data, title, lines) {
  const marks = data.changes.map(([x]) => ({ type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1, line: { color: "#57606a", width: 1, dash: "dot" } }));
  const words = data.changes.map(([x, peak]) => ({ x, y: 1, yref: "paper", xanchor: "left", yanchor: "top", showarrow: false, text: `peak ${Number(peak.toPrecision(4))}`, font: { size: 11 } }));
  const seen = axes(id, data);
  return {
    margin: { l: 56, r: 12, t: lines ? 24 : 8, b: 34 },
    xaxis: { title: { text: "epoch", standoff: 4 }, ...seen.x },
    yaxis: { title: { text: title }, ...seen.y },
    legend: { orientation: "h", y: 1.02, yanchor: "bottom", x: 1, xanchor: "right" },
    showlegend: lines,
    hovermode: "x unified",
    // A finger on a curve scrolls the page; a mouse draws the part to be seen larger.
    dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom",
    shapes: marks,
    annotations: words,
    font: { family: "system-ui, sans-serif", size: 12 },
  };
}

async function draw(plotly, data) {
  const options = { displayModeBar: false, responsive: true };
  const score = kept.nodes.get("plot-score");
  score.hidden = !data.score;
  await plotly.react(kept.nodes.get("plot-loss"), traces(data, "loss", 1, 1), layout("plot-loss", data, "loss", true), options);
  if (data.score) {
    const title = data.percent ? `${data.title}, %` : data.title;
    await plotly.react(score, traces(data, data.score, 2, data.percent ? 100 : 1), layout("plot-score", data, title, false), options);
  }
  const rates = data.live.length ? data.live.map((m) => [m[0], m[3]]) : data.rows.map((row) => [row.epoch, row.lr]);
  const rate = line("rate", rates.map((m) => m[0]), rates.map((m) => m[1]), { mode: "lines", colour: colours.train });
  await plotly.react(kept.nodes.get("plot-rate"), [rate], layout("plot-rate", data, "rate", false), options);
}

async function tick() {
  const box = document.getElementById("curves");
  if (!box || asking || document.hidden) return;
  asking = true;
  try {
    const url = new URL(box.dataset.from, location.href);
    url.searchParams.set("seen", kept.run === box.dataset.run ? kept.tag : "");
    const answer = await fetch(url);
    if (answer.status !== 200 || !box.isConnected) return;
    const data = await answer.json();
    adopt(box);
    if (!data.live.length && !data.rows.length) return;
    const library = await load(box.dataset.plotly);
    drawn(box); // before it is drawn: what is hidden has no size
    await draw(library, data);
    kept.tag = data.tag;
  } catch (error) {
    console.warn(error); // the next second tries again; lab.js says when the server is away
  } finally {
    asking = false;
  }
}

document.addEventListener("lab:shown", () => {
  const box = document.getElementById("curves");
  if (box) adopt(box);
});
setInterval(tick, 1000);
tick();
