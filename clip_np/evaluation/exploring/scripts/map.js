/* Where do pictures and captions lie?

   The points are principal components (projection.py). The view is what part of the
   plane is seen: its middle, and how much it is enlarged. Pictures keep their size on the
   screen, so zooming in takes them apart. */

const PICTURE_SIDE = 36; // pixels on a wide screen
const PICTURES_ACROSS = 15; // on a narrow one
const CHOSEN_LARGER = 1.4; // how much larger what was chosen is
const POINT_RADIUS = 5;
const MARGIN = 30; // pixels around the outermost points
const LABELS_FROM = 2.5; // the enlargement at which captions are written out
const LABEL_LETTERS = 28; // at most
const LETTER_WIDTH = 7; // pixels, about
const LABEL_GAP = 9; // pixels between a point and its label
const LARGEST_ZOOM = 40;
const DRAG = 4; // pixels that a pointer moves before a click is a drag

const view = { x: 0, y: 0, zoom: 1 }; // x, y: the middle, in units of the plane
let under = null; // what is pointed at: { kind, number }
let drag = null;

function plane() {
  return data.planes[part("show-gap").checked ? "together" : "centred"];
}

/** How many pixels a unit of the plane has, and the middle of all points. */
function fitted() {
  const map = part("map");
  const points = [...plane().images, ...plane().captions];
  const along = (axis) => points.map((point) => point[axis]);
  const ends = (values) => [Math.min(...values), Math.max(...values)];
  const [[left, right], [low, high]] = [ends(along(0)), ends(along(1))];
  const scale = Math.min(
    (map.clientWidth - 2 * MARGIN) / (right - left || 1),
    (map.clientHeight - 2 * MARGIN) / (high - low || 1),
  );
  return { scale, middle: [(left + right) / 2, (low + high) / 2] };
}

/** A point of the plane on the screen; up is up. */
function placed([x, y], { scale, middle }) {
  const map = part("map");
  const unit = scale * view.zoom;
  return [
    map.clientWidth / 2 + (x - middle[0] - view.x) * unit,
    map.clientHeight / 2 - (y - middle[1] - view.y) * unit,
  ];
}

function drawMap() {
  const map = part("map");
  const fit = fitted();
  const imagePlaces = plane().images.map((point) => placed(point, fit));
  const captionPlaces = plane().captions.map((point) => placed(point, fit));
  map.setAttribute("viewBox", `0 0 ${map.clientWidth} ${map.clientHeight}`);
  map.classList.toggle("zoomed", view.zoom > 1);
  const [x1, y1] = imagePlaces[choice.image];
  const [x2, y2] = captionPlaces[choice.caption];
  map.replaceChildren(
    ...imagePlaces.map((place, image) => pictureOnMap(image, place)),
    shape("line", { x1, y1, x2, y2 }),
    ...captionPlaces.map((place, caption) => pointOnMap(caption, place)),
    // What was chosen lies on top.
    pictureOnMap(choice.image, imagePlaces[choice.image]),
    pointOnMap(choice.caption, captionPlaces[choice.caption]),
  );
  map.style.cursor = view.zoom > 1 ? "grab" : "default";
}

function pictureOnMap(image, [x, y]) {
  const isChosen = image === choice.image;
  const usual = Math.min(PICTURE_SIDE, part("map").clientWidth / PICTURES_ACROSS);
  const side = usual * (isChosen ? CHOSEN_LARGER : 1);
  const box = { x: x - side / 2, y: y - side / 2, width: side, height: side };
  const group = thing("image", image, captionOf(image));
  const drawn = shape("image", { ...box, href: data.thumbnails[image] });
  drawn.classList.toggle("pixels", isSmall(image));
  group.append(drawn, shape("rect", { ...box, class: isChosen ? "frame chosen" : "frame" }));
  return group;
}

function pointOnMap(caption, [x, y]) {
  const isChosen = caption === choice.caption;
  const group = thing("caption", caption, data.captions[caption]);
  const r = POINT_RADIUS * (isChosen ? CHOSEN_LARGER : 1);
  group.append(shape("circle", { cx: x, cy: y, r, class: isChosen ? "point chosen" : "point" }));
  if (view.zoom >= LABELS_FROM || isChosen) {
    group.append(labelOnMap(data.captions[caption], x, y));
  }
  return group;
}

/** The beginning of a caption beside its point, on the side of the map's middle. */
function labelOnMap(words, x, y) {
  const half = part("map").clientWidth / 2;
  const isLeft = x < half;
  const letters = Math.min(LABEL_LETTERS, Math.floor((half - LABEL_GAP) / LETTER_WIDTH));
  const made = shape("text", { x: x + (isLeft ? LABEL_GAP : -LABEL_GAP), y: y + 4 });
  made.setAttribute("text-anchor", isLeft ? "start" : "end");
  made.textContent = words.length > letters ? `${words.slice(0, letters - 1)}…` : words;
  return made;
}

/** A group that can be pointed at and clicked. */
function thing(kind, number, words) {
  const group = shape("g", { class: "thing", "data-kind": kind, "data-number": number });
  const title = shape("title");
  title.textContent = words;
  group.append(title);
  return group;
}

function tellMap() {
  const { share } = plane();
  part("map-note").textContent =
    "Pictures stand where their vectors fall, captions are dots. The plane is the one on which " +
    "all vectors have the longest shadows (principal components); it shows " +
    `${percent(share)} of them, so things that are close here need not be close. Pictures and ` +
    `captions lie apart by ${data.gap.toFixed(2)} on average (the modality gap), so each kind is ` +
    "shifted by its own mean first; the box below shows the plane without this shift.";
  const at = under || { kind: choice.asked, number: choice[choice.asked] };
  const isImage = at.kind === "image";
  const words = isImage ? captionOf(at.number) : data.captions[at.number];
  part("map-read").textContent =
    `${isImage ? "Picture of" : "Caption"} “${words}”. Click to choose. + and − zoom, dragging ` +
    "and arrow keys move; the wheel zooms while the map has the focus.";
}

/** Zoom by a factor so that the point (x, y) of the screen stays where it is; 0: the whole map. */
function zoom(factor, x = part("map").clientWidth / 2, y = part("map").clientHeight / 2) {
  const before = view.zoom;
  view.zoom = Math.min(Math.max(before * factor, 1), LARGEST_ZOOM);
  const { scale } = fitted();
  const grown = (1 / before - 1 / view.zoom) / scale;
  view.x += (x - part("map").clientWidth / 2) * grown;
  view.y -= (y - part("map").clientHeight / 2) * grown;
  if (view.zoom === 1) Object.assign(view, { x: 0, y: 0 });
  drawMap();
}

function pan(dx, dy) {
  if (view.zoom === 1) return;
  const unit = fitted().scale * view.zoom;
  view.x -= dx / unit;
  view.y += dy / unit;
  drawMap();
}

/** What an event is about: the kind and number of a thing on the map, or null. */
function thingAt(event) {
  const group = event.target.closest(".thing");
  return group && { kind: group.dataset.kind, number: Number(group.dataset.number) };
}

function onMapKey(event) {
  const [width, height] = [part("map").clientWidth, part("map").clientHeight];
  const moves = {
    "+": () => zoom(1.5),
    "=": () => zoom(1.5),
    "-": () => zoom(1 / 1.5),
    0: () => zoom(0),
    ArrowLeft: () => pan(width / 8, 0),
    ArrowRight: () => pan(-width / 8, 0),
    ArrowUp: () => pan(0, height / 8),
    ArrowDown: () => pan(0, -height / 8),
  };
  if (!(event.key in moves) || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  moves[event.key]();
}

function makeMap() {
  const map = part("map");
  map.addEventListener("keydown", onMapKey);
  map.addEventListener("wheel", (event) => {
    if (document.activeElement !== map) return; // the page scrolls
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.2 : 1 / 1.2, event.offsetX, event.offsetY);
  }, { passive: false });
  map.addEventListener("pointerdown", (event) => {
    drag = { x: event.clientX, y: event.clientY, far: false };
  });
  map.addEventListener("pointermove", (event) => {
    if (drag && event.buttons) {
      const [dx, dy] = [event.clientX - drag.x, event.clientY - drag.y];
      if (!drag.far && Math.hypot(dx, dy) < DRAG) return;
      drag = { x: event.clientX, y: event.clientY, far: true };
      pan(dx, dy);
      return;
    }
    under = thingAt(event);
    tellMap();
  });
  map.addEventListener("pointerleave", () => {
    under = null;
    tellMap();
  });
  map.addEventListener("click", (event) => {
    // `detail` is 0 for a click without a pointer, such as that of a screen reader.
    const isDrag = drag && drag.far && event.detail > 0;
    const at = isDrag ? null : thingAt(event);
    if (at) (at.kind === "image" ? chooseImage : chooseCaption)(at.number);
  });
  part("zoom-in").addEventListener("click", () => zoom(1.5));
  part("zoom-out").addEventListener("click", () => zoom(1 / 1.5));
  part("zoom-reset").addEventListener("click", () => zoom(0));
  part("show-gap").addEventListener("change", () => {
    zoom(0);
    tellMap();
  });
  followers.push(drawMap, tellMap);
}

makeMap();
drawings.push(drawMap);
