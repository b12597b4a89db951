/* Did it learn?

   A chart of lines over the steps, from 0 up, in pixels of the screen. The line of a
   model that knows nothing is dashed. A vertical line stands at the step that is read. */

const CHART_HEIGHT = 240;
const EDGE = { left: 46, right: 10, top: 8, bottom: 24 }; // pixels around the lines
const GRID_LINES = 5; // at most
const HEADROOM = 1.04;
const LINE_COLOURS = ["accent", "caption", "quiet", "quiet"];

function isGuessing(name) {
  return name.startsWith("knows nothing") || name === "chance";
}

/** Round numbers from 0 to `top`: multiples of 1, 2 or 5 times a power of ten. */
function ticks(top) {
  const power = 10 ** Math.floor(Math.log10(top / GRID_LINES));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power * GRID_LINES >= top);
  const count = Math.floor(top / step);
  return Array.from({ length: count + 1 }, (_, number) => Number((number * step).toPrecision(3)));
}

/** What a chart is made of: its lines, their ends, and the step that is read. */
function chartOf({ title, lines }) {
  const points = lines.flatMap((line) => line.points);
  const steps = [...new Set(points.map(([step]) => step))].sort((a, b) => a - b);
  return {
    lines,
    steps,
    last: steps.at(-1) || 1,
    top: HEADROOM * Math.max(...points.map(([, value]) => value)) || 1,
    at: steps.length - 1,
    svg: shape("svg", { tabindex: 0, role: "img", "aria-label": `${title}, over the steps` }),
    read: element("p", { className: "read" }),
  };
}

/** The places of a step and of a value on the screen. */
function axesOf(chart) {
  const width = chart.svg.clientWidth - EDGE.left - EDGE.right;
  const height = CHART_HEIGHT - EDGE.top - EDGE.bottom;
  return {
    x: (step) => EDGE.left + (width * step) / chart.last,
    y: (value) => EDGE.top + height * (1 - value / chart.top),
  };
}

function drawChart(chart) {
  const { x, y } = axesOf(chart);
  const [right, bottom] = [chart.svg.clientWidth - EDGE.right, CHART_HEIGHT - EDGE.bottom];
  const marks = ticks(chart.top).flatMap((value) => [
    label(value, EDGE.left - 6, y(value) + 4),
    shape("path", { d: `M${EDGE.left} ${y(value)}H${right}`, class: "grid" }),
  ]);
  marks.push(label(`step ${inWords(chart.last)}`, right, CHART_HEIGHT - 6));
  const reading = x(chart.steps[chart.at]);
  marks.push(shape("path", { d: `M${reading} ${EDGE.top}V${bottom}`, class: "reading" }));
  for (const [number, { name, points }] of chart.lines.entries()) {
    const places = points.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`);
    const line = shape("polyline", { points: places.join(" "), class: "line" });
    line.classList.toggle("dashed", isGuessing(name));
    line.style.stroke = `var(--${LINE_COLOURS[number]})`;
    marks.push(line);
  }
  chart.svg.setAttribute("viewBox", `0 0 ${chart.svg.clientWidth} ${CHART_HEIGHT}`);
  chart.svg.replaceChildren(...marks);
}

/** A text that ends at a place. */
function label(words, x, y) {
  const made = shape("text", { x, y, "text-anchor": "end" });
  made.textContent = words;
  return made;
}

function inWords(step) {
  return step.toLocaleString("en");
}

/** Read all lines at a step: their last values up to it. */
function readChart(chart, at) {
  chart.at = at;
  const values = chart.lines.flatMap(({ name, points }) => {
    const before = points.filter(([step]) => step <= chart.steps[at]);
    return before.length > 0 ? [`${name} ${before.at(-1)[1].toPrecision(3)}`] : [];
  });
  chart.read.textContent = `step ${inWords(chart.steps[at])}: ${values.join(", ")}`;
  drawChart(chart);
}

/** Let a pointer and the arrow keys choose the step that is read. */
function makeReadable(chart) {
  chart.read.setAttribute("aria-live", "polite");
  chart.svg.addEventListener("pointermove", (event) => {
    const { x } = axesOf(chart);
    const distances = chart.steps.map((step) => Math.abs(x(step) - event.offsetX));
    readChart(chart, distances.indexOf(Math.min(...distances)));
  });
  chart.svg.addEventListener("keydown", (event) => {
    const target = moved(event.key, chart.at, chart.steps.length, 0);
    if (target === null) return;
    event.preventDefault();
    readChart(chart, target);
  });
  drawings.push(() => readChart(chart, chart.at));
}

/** What the colours of a chart mean. */
function keysOf(chart) {
  const keys = chart.lines.map(({ name }, number) => {
    const mark = element("i", { className: isGuessing(name) ? "dashed" : "" });
    mark.style.borderTopColor = `var(--${LINE_COLOURS[number]})`;
    return element("span", {}, mark, name);
  });
  return element("div", { className: "keys" }, ...keys);
}

function makeCurves() {
  for (const described of data.charts.filter(({ lines }) => lines.length > 0)) {
    const chart = chartOf(described);
    makeReadable(chart);
    const head = element("h3", {}, described.title);
    const box = element("div", { className: "chart" }, head, chart.svg, keysOf(chart), chart.read);
    part("curves").append(box);
  }
  if (!part("curves").hasChildNodes()) {
    part("curves-note").textContent = "There is no log of a training beside this model.";
  }
}

makeCurves();
// Everything is there: the first choice draws it, once the pictures can be drawn.
Promise.all(decoded.map((image) => image.decode())).then(() => {
  follow();
  begin();
});
