/* Did it learn?

   A chart of lines over the steps, from 0 up, in pixels of the screen. The line of a
   model that knows nothing is dashed. */

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

/** A chart: its drawing, what its colours mean, and the values of a step. */
function makeChart({ title, lines }) {
  const svg = shape("svg", { tabindex: 0, role: "img", "aria-label": `${title}, over the steps` });
  const read = element("p", { className: "read" });
  read.setAttribute("aria-live", "polite");
  const keys = lines.map(({ name }, number) => {
    const mark = element("i", { className: isGuessing(name) ? "dashed" : "" });
    mark.style.borderTopColor = `var(--${LINE_COLOURS[number]})`;
    return element("span", {}, mark, name);
  });
  const steps = [...new Set(lines.flatMap(({ points }) => points.map(([step]) => step)))].sort((a, b) => a - b);
  const last = steps.at(-1) || 1;
  const values = lines.flatMap(({ points }) => points.map(([, value]) => value));
  const top = HEADROOM * Math.max(...values) || 1;
  const reading = { at: steps.length - 1 };

  function draw() {
    const width = svg.clientWidth;
    const x = (step) => EDGE.left + ((width - EDGE.left - EDGE.right) * step) / last;
    const y = (value) => EDGE.top + (CHART_HEIGHT - EDGE.top - EDGE.bottom) * (1 - value / top);
    const marks = [];
    for (const value of ticks(top)) {
      const label = shape("text", { x: EDGE.left - 6, y: y(value) + 4, "text-anchor": "end" });
      label.textContent = value;
      marks.push(label, shape("path", { d: `M${EDGE.left} ${y(value)}H${width - EDGE.right}`, class: "grid" }));
    }
    const end = shape("text", { x: width - EDGE.right, y: CHART_HEIGHT - 6, "text-anchor": "end" });
    end.textContent = `step ${last.toLocaleString("en")}`;
    const at = x(steps[reading.at]);
    marks.push(end, shape("path", { d: `M${at} ${EDGE.top}V${CHART_HEIGHT - EDGE.bottom}`, class: "reading" }));
    for (const [number, { name, points }] of lines.entries()) {
      const path = shape("polyline", {
        points: points.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" "),
        fill: "none", "stroke-width": 2, "stroke-dasharray": isGuessing(name) ? "6 4" : "none",
      });
      path.style.stroke = `var(--${LINE_COLOURS[number]})`;
      marks.push(path);
    }
    svg.setAttribute("viewBox", `0 0 ${width} ${CHART_HEIGHT}`);
    svg.replaceChildren(...marks);
  }

  /** Read all lines at a step: their last values up to it. */
  function tell(at) {
    reading.at = at;
    const told = lines.map(({ name, points }) => {
      const before = points.filter(([step]) => step <= steps[at]);
      return before.length ? `${name} ${before.at(-1)[1].toPrecision(3)}` : "";
    });
    read.textContent = `step ${steps[at].toLocaleString("en")}: ${told.filter(Boolean).join(", ")}`;
    draw();
  }

  svg.addEventListener("pointermove", (event) => {
    const step = ((event.offsetX - EDGE.left) / (svg.clientWidth - EDGE.left - EDGE.right)) * last;
    const distances = steps.map((one) => Math.abs(one - step));
    tell(distances.indexOf(Math.min(...distances)));
  });
  svg.addEventListener("keydown", (event) => {
    const target = moved(event.key, reading.at, steps.length, 0);
    if (target === null) return;
    event.preventDefault();
    tell(target);
  });
  drawings.push(() => tell(reading.at));
  return element("div", { className: "chart" }, element("h3", {}, title), svg, element("div", { className: "keys" }, ...keys), read);
}

function makeCurves() {
  const charts = data.charts.filter(({ lines }) => lines.length > 0);
  part("curves").append(...charts.map(makeChart));
  if (charts.length === 0) {
    part("curves-note").textContent = "There is no log of a training beside this model, so there are no curves.";
  }
}

makeCurves();
// Everything is there: the first choice draws it, once the pictures have sizes.
Promise.all(decoded.map((image) => image.decode())).then(() => {
  follow();
  begin();
});
