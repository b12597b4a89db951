"use strict";

/* How do numbers become things on a page?

   `data` holds all numbers and words of the page (page.py). Words come from strangers'
   files, so they are put on the page as text: nothing in these scripts makes HTML of a
   string. Drawings are made anew whenever their size or the colours change. */

const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const drawings = []; // functions that draw a part of the page

/** The element with this id. */
function part(id) {
  return document.getElementById(id);
}

/** A new element with properties and children, which may be elements or text. */
function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

/** A new element of a drawing, with attributes. */
function shape(tag, attributes = {}) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

/** Picture number `image`; its caption is what a screen reader says. */
function picture(image, text = captionOf(image)) {
  const made = element("img", { src: data.thumbnails[image], alt: text });
  made.classList.toggle("pixels", isSmall(image));
  return made;
}

/** The caption that belongs to a picture. */
function captionOf(image) {
  return data.captions[data.captionOf[image]];
}

/** The decoded pictures, for drawings on a canvas. */
const decoded = data.thumbnails.map((source) => element("img", { src: source }));

/** Whether a picture has so few pixels that they should stay squares: PNG says so (samples.py). */
function isSmall(image) {
  return data.thumbnails[image].startsWith("data:image/png");
}

/** A colour of the page's style, by its name there. */
function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
}

/** A canvas made ready for drawing in CSS pixels, sharp on any screen. */
function prepared(canvas, width, height) {
  const density = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * density));
  canvas.height = Math.max(1, Math.round(height * density));
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.setTransform(density, 0, 0, density, 0, 0);
  return pen;
}

/* Dark blue, grey, yellow: brighter is more, also for eyes that do not tell red and green. */
const STOPS = [[10, 28, 78], [62, 84, 130], [124, 132, 136], [196, 178, 96], [255, 232, 74]];

/** The colour of a number between 0 and 1. */
function shade(share) {
  const at = Math.min(Math.max(share, 0), 1) * (STOPS.length - 1);
  const low = Math.min(Math.floor(at), STOPS.length - 2);
  const mix = (channel) =>
    Math.round(STOPS[low][channel] + (at - low) * (STOPS[low + 1][channel] - STOPS[low][channel]));
  return `rgb(${mix(0)}, ${mix(1)}, ${mix(2)})`;
}

/** Shares that page.py packed as bytes: (byte / 255)^2. */
function unpacked(text) {
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  return Float32Array.from(bytes, (byte) => (byte / 255) ** 2);
}

/** A share in per cent: more digits if it is small. */
function percent(share) {
  return `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)} %`;
}

/** Put an option for every name into a select. */
function fill(select, names) {
  select.replaceChildren(...names.map((name, value) => element("option", { value }, name)));
}

const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

/** A number that a key moves in a list with so many columns; null for another key. */
function moved(key, at, count, columns) {
  if (key === "Home") return 0;
  if (key === "End") return count - 1;
  if (!(key in ARROWS)) return null;
  const [down, right] = ARROWS[key];
  const target = at + down * columns + right;
  return target >= 0 && target < count ? target : at;
}

/** A cell [row, column] that an arrow key moves in a table; null for another key. */
function movedCell(key, row, column, rowCount, columnCount) {
  if (!(key in ARROWS)) return null;
  const [down, right] = ARROWS[key];
  const within = (value, count) => Math.min(Math.max(value, 0), count - 1);
  return [within(row + down, rowCount), within(column + right, columnCount)];
}

function drawAll() {
  for (const draw of drawings) draw();
}

/** Draw now, and again when the window or the colours change. */
function begin() {
  drawAll();
  const start = () => requestAnimationFrame(drawAll);
  window.addEventListener("resize", start);
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", start);
}
