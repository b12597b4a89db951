/* Which caption fits which picture?

   A canvas with a row for every picture and a column for every caption. `pointed` is the
   cell under the pointer, or the one that the arrow keys came to. `rowOrder` and
   `columnOrder` say which picture stands in which row, and which caption in which
   column. */

const RING = 4; // pixels of a cell from which a ring fits into it
const LARGEST_CELL = 40; // pixels

const rows = data.thumbnails.length;
const columns = data.captions.length;
const cosines = data.cosines.flat();
const lowest = cosines.reduce((a, b) => Math.min(a, b));
const highest = cosines.reduce((a, b) => Math.max(a, b));
let rowOrder = [];
let columnOrder = [];
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
  for (const [row, image] of rowOrder.entries()) {
    for (const [column, caption] of columnOrder.entries()) {
      pen.fillStyle = shade((data.cosines[image][caption] - lowest) / span);
      // Rounded to whole pixels, so that no seam shows between two cells.
      const [left, top] = [Math.floor(column * side), Math.floor(row * side)];
      const [right, bottom] = [Math.ceil((column + 1) * side), Math.ceil((row + 1) * side)];
      pen.fillRect(left, top, right - left, bottom - top);
    }
  }
  for (const [row, image] of rowOrder.entries()) {
    drawRing(pen, row, columnOrder.indexOf(data.captionOf[image]), side);
  }
  drawCross(pen, rowOrder.indexOf(pointed.image), columnOrder.indexOf(pointed.caption), side);
}

/** Pictures in the order of the map's first axis, and captions as their pictures come. */
function orderMatrix() {
  const alike = part("order").value === "map";
  const place = (image) => (alike ? data.planes.centred.images[image][0] : image);
  rowOrder = data.thumbnails.map((_, image) => image).sort((a, b) => place(a) - place(b));
  columnOrder = [...new Set(rowOrder.map((image) => data.captionOf[image]))];
}

/** The mark of a picture and its caption: white around black is seen on every colour. */
function drawRing(pen, row, column, side) {
  for (const [style, width] of [["#000", 3], ["#fff", 1.5]]) {
    pen.strokeStyle = style;
    pen.lineWidth = side < 2 * RING ? width / 2 : width;
    pen.beginPath();
    pen.arc((column + 0.5) * side, (row + 0.5) * side, Math.max(side / 2 - 1, 1), 0, 2 * Math.PI);
    pen.stroke();
  }
}

/** A frame around the row, the column and the cell that is pointed at. */
function drawCross(pen, row, column, side) {
  pen.strokeStyle = colour("focus");
  pen.lineWidth = 1;
  pen.strokeRect(0.5, row * side, columns * side - 1, side);
  pen.strokeRect(column * side, 0.5, side, rows * side - 1);
  pen.lineWidth = 3;
  pen.strokeRect(column * side - 1, row * side - 1, side + 2, side + 2);
}

/** Say what there is to know of the cell that is pointed at. */
function tellPair() {
  const { image, caption } = pointed;
  const belongs = data.captionOf[image] === caption;
  const captionRank = data.captionRanks[image][caption];
  const imageRank = data.imageRanks[image][caption];
  const similarity = element("strong", {}, data.cosines[image][caption].toFixed(3));
  const lines = [
    element("p", {}, data.captions[caption]),
    element("p", {}, "similarity ", similarity),
    element("p", {}, `no. ${captionRank} of ${columns} captions for the picture`),
    element("p", {}, `no. ${imageRank} of ${rows} pictures for the caption`),
    element("p", { className: "quiet" }, data.names[image]),
    element("p", {}, belongs ? "They belong together." : `The picture's: ${captionOf(image)}`),
  ];
  part("pair").replaceChildren(picture(image), element("div", {}, ...lines));
}

function point(image, caption) {
  if (pointed.image === image && pointed.caption === caption) return;
  Object.assign(pointed, { image, caption });
  drawMatrix();
  tellPair();
}

/** The picture and the caption of the cell under the pointer, or null outside of all cells. */
function cellAt(event) {
  const side = cellSize();
  const [row, column] = [Math.floor(event.offsetY / side), Math.floor(event.offsetX / side)];
  const isInside = row >= 0 && row < rows && column >= 0 && column < columns;
  return isInside ? [rowOrder[row], columnOrder[column]] : null;
}

function makeMatrix() {
  const canvas = part("matrix");
  canvas.setAttribute("aria-label", `Similarity of ${rows} pictures and ${columns} captions`);
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
    const at = [rowOrder.indexOf(pointed.image), columnOrder.indexOf(pointed.caption)];
    const cell = movedCell(event.key, ...at, rows, columns);
    if (!cell) return;
    event.preventDefault();
    point(rowOrder[cell[0]], columnOrder[cell[1]]);
  });
  part("order").addEventListener("change", () => {
    orderMatrix();
    drawMatrix();
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
orderMatrix();
drawings.push(drawMatrix, drawScale);
