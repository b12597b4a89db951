/* Which caption fits which picture?

   A canvas with a row for every picture and a column for every caption. `pointed` is the
   cell under the pointer, or the one that the arrow keys came to. */

const RING = 4; // pixels of a cell from which a ring fits into it
const LARGEST_CELL = 40; // pixels

const rows = data.thumbnails.length;
const columns = data.captions.length;
const cosines = data.cosines.flat();
const lowest = cosines.reduce((a, b) => Math.min(a, b));
const highest = cosines.reduce((a, b) => Math.max(a, b));
const pointed = { image: choice.image, caption: choice.caption };

/** The width and height of a cell, in CSS pixels. */
function cellSize() {
  return Math.min(part("matrix").clientWidth / columns, LARGEST_CELL);
}

function drawMatrix() {
  const canvas = part("matrix");
  const side = cellSize();
  const pen = prepared(canvas, canvas.clientWidth, rows * side);
  const span = highest - lowest || 1;
  for (let image = 0; image < rows; image++) {
    for (let caption = 0; caption < columns; caption++) {
      pen.fillStyle = shade((data.cosines[image][caption] - lowest) / span);
      // Rounded to whole pixels, so that no seam shows between two cells.
      const [left, top] = [Math.floor(caption * side), Math.floor(image * side)];
      const [right, bottom] = [Math.ceil((caption + 1) * side), Math.ceil((image + 1) * side)];
      pen.fillRect(left, top, right - left, bottom - top);
    }
  }
  for (let image = 0; image < rows; image++) drawRing(pen, image, data.captionOf[image], side);
  drawCross(pen, side);
}

/** The mark of a picture and its caption: white around black is seen on every colour. */
function drawRing(pen, image, caption, side) {
  for (const [style, width] of [["#000", 3], ["#fff", 1.5]]) {
    pen.strokeStyle = style;
    pen.lineWidth = side < 2 * RING ? width / 2 : width;
    pen.beginPath();
    pen.arc((caption + 0.5) * side, (image + 0.5) * side, Math.max(side / 2 - 1, 1), 0, 7);
    pen.stroke();
  }
}

/** A frame around the row, the column and the cell that is pointed at. */
function drawCross(pen, side) {
  pen.strokeStyle = colour("focus");
  pen.lineWidth = 1;
  pen.strokeRect(0.5, pointed.image * side, columns * side - 1, side);
  pen.strokeRect(pointed.caption * side, 0.5, side, rows * side - 1);
  pen.lineWidth = 3;
  pen.strokeRect(pointed.caption * side - 1, pointed.image * side - 1, side + 2, side + 2);
}

/** Say what there is to know of the cell that is pointed at. */
function tellPair() {
  const { image, caption } = pointed;
  const belongs = data.captionOf[image] === caption;
  part("pair").replaceChildren(
    picture(image),
    element(
      "div",
      {},
      element("p", {}, data.captions[caption]),
      element("p", {}, "similarity ", element("strong", {}, data.cosines[image][caption].toFixed(3))),
      element("p", {}, `no. ${data.captionRanks[image][caption]} of ${columns} captions for the picture`),
      element("p", {}, `no. ${data.imageRanks[image][caption]} of ${rows} pictures for the caption`),
      element("p", { className: "quiet" }, data.names[image]),
      element("p", {}, belongs ? "They belong together." : `The picture's caption: ${captionOf(image)}`),
    ),
  );
  part("matrix").setAttribute("aria-label", `Similarity of ${rows} pictures and ${columns} captions`);
}

function point(image, caption) {
  if (pointed.image === image && pointed.caption === caption) return;
  Object.assign(pointed, { image, caption });
  drawMatrix();
  tellPair();
}

/** The cell under the pointer, or null outside of all cells. */
function cellAt(event) {
  const side = cellSize();
  const [image, caption] = [Math.floor(event.offsetY / side), Math.floor(event.offsetX / side)];
  const isInside = image >= 0 && image < rows && caption >= 0 && caption < columns;
  return isInside ? [image, caption] : null;
}

function makeMatrix() {
  const canvas = part("matrix");
  canvas.addEventListener("pointermove", (event) => {
    const cell = cellAt(event);
    if (cell) point(...cell);
  });
  canvas.addEventListener("click", (event) => {
    const cell = cellAt(event);
    if (cell) chooseImage(...cell);
  });
  canvas.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") {
      event.preventDefault();
      chooseImage(pointed.image, pointed.caption);
      return;
    }
    const cell = movedCell(event.key, pointed.image, pointed.caption, rows, columns);
    if (!cell) return;
    event.preventDefault();
    point(...cell);
  });
  followers.push(() => {
    Object.assign(pointed, { image: choice.image, caption: choice.caption });
    drawMatrix();
    tellPair();
  });
}

function drawScale() {
  const canvas = part("scale");
  const width = canvas.clientWidth;
  const pen = prepared(canvas, width, 12);
  for (let x = 0; x < width; x++) {
    pen.fillStyle = shade(x / Math.max(width - 1, 1));
    pen.fillRect(x, 0, 1.5, 12);
  }
  part("scale-low").textContent = lowest.toFixed(2);
  part("scale-high").textContent = highest.toFixed(2);
}

makeMatrix();
drawings.push(drawMatrix, drawScale);
