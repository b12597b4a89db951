/* Where does the image encoder look?

   The token that is read asks all tokens, and gets a share of each: its own first, then
   the patches, row by row. Yellow over a patch is its share, compared with the largest
   one of the same map. Behind the last layer stands the rollout, behind the last head
   the mean. */

const [imagesWithMaps, layers, heads, tokens] = data.imageAttention.shape;
const imageShares = unpacked(data.imageAttention.shares);
const rollouts = data.imageAttention.rollout ? unpacked(data.imageAttention.rollout) : null;
const grid = Math.round(Math.sqrt(tokens - 1)); // patches along a side
const look = { layer: layers - 1, head: heads }; // `heads` is the mean of all heads

/** The row of shares (1 + N) of one layer and head of a picture. */
function sharesOf(image, layer, head) {
  const start = ((image * layers + layer) * heads + head) * tokens;
  return imageShares.subarray(start, start + tokens);
}

/** The shares (1 + N) that are looked at. The rollout says nothing of the token itself. */
function sharesShown(image, layer, head) {
  if (layer === layers) {
    const start = image * grid * grid;
    return [0, ...rollouts.subarray(start, start + grid * grid)];
  }
  if (head < heads) return sharesOf(image, layer, head);
  return meanOver(heads, (one) => sharesOf(image, layer, one));
}

/** The mean of `count` rows of numbers. */
function meanOver(count, rowOf) {
  const sum = Array.from(rowOf(0));
  for (let number = 1; number < count; number++) {
    for (const [position, value] of rowOf(number).entries()) sum[position] += value;
  }
  return sum.map((value) => value / count);
}

/** The picture with yellow where the shares are, in a square of a canvas. */
function drawLight(pen, image, shares, left, top, side) {
  pen.fillStyle = "rgb(50, 50, 50)";
  pen.fillRect(left, top, side, side);
  pen.globalAlpha = 0.5;
  pen.imageSmoothingEnabled = !isSmall(image);
  pen.drawImage(decoded[image], left, top, side, side);
  pen.globalAlpha = 1;
  const largest = Math.max(...shares.slice(1)) || 1;
  for (let patch = 0; patch < grid * grid; patch++) {
    const edge = (position) => Math.round((position * side) / grid);
    const [column, row] = [patch % grid, Math.floor(patch / grid)];
    pen.fillStyle = `rgba(255, 217, 26, ${(0.7 * shares[1 + patch]) / largest})`;
    const [width, height] = [edge(column + 1) - edge(column), edge(row + 1) - edge(row)];
    pen.fillRect(left + edge(column), top + edge(row), width, height);
  }
}

/** The place of every layer and head on the canvas of all maps. */
function mapOfHeads() {
  const gap = 2;
  const width = part("heads").clientWidth;
  const step = Math.min(width / heads, 84);
  return { step, side: step - gap };
}

function drawAttention() {
  const hasMaps = choice.image < imagesWithMaps;
  part("attention-drawings").hidden = !hasMaps;
  if (!hasMaps) return;
  const canvas = part("attention");
  const side = canvas.clientWidth;
  const pen = prepared(canvas, side, side);
  drawLight(pen, choice.image, sharesShown(choice.image, look.layer, look.head), 0, 0, side);
  const all = part("heads");
  const place = mapOfHeads();
  const small = prepared(all, all.clientWidth, layers * place.step);
  for (let layer = 0; layer < layers; layer++) {
    for (let head = 0; head < heads; head++) {
      const [left, top] = [head * place.step, layer * place.step];
      drawLight(small, choice.image, sharesOf(choice.image, layer, head), left, top, place.side);
      if (layer !== look.layer || (head !== look.head && look.head !== heads)) continue;
      small.strokeStyle = colour("focus");
      small.lineWidth = 3;
      small.strokeRect(left + 1.5, top + 1.5, place.side - 3, place.side - 3);
    }
  }
}

/** Say which map is shown, and the share of a patch, or of the largest one. */
function tellAttention(patch = null) {
  const isPool = data.imageAttention.kind === "attention pool";
  const asking = isPool
    ? "This encoder is a ResNet. Its last part is an attention pool: the mean of all positions " +
      "asks, and the positions answer."
    : "In every layer and head, the class token asks all patches, and a softmax deals out what " +
      "it takes from which: the shares sum to 1, with its share of itself.";
  const missing = choice.image < imagesWithMaps
    ? ""
    : ` This page holds the maps of the first ${imagesWithMaps} pictures only, to stay small.`;
  part("attention-note").textContent = `${asking} Attention does not know any caption.${missing}`;
  if (missing) return;
  const shares = sharesShown(choice.image, look.layer, look.head);
  const shown = [...shares].slice(1);
  const at = patch === null ? shown.indexOf(Math.max(...shown)) : patch;
  const where = `row ${1 + Math.floor(at / grid)}, column ${1 + (at % grid)}`;
  const kept = ` It keeps ${percent(shares[0])} for ${isPool ? "the mean" : "itself"}.`;
  const which = patch === null ? "The brightest patch" : "The patch";
  part("attention-read").textContent =
    `${which} (${where}) gets ${percent(shown[at])}.` +
    (look.layer === layers ? "" : kept);
  const map = `${nameOfLayer(look.layer)}, ${nameOfHead(look.head)}`;
  part("attention").setAttribute("aria-label", `${captionOf(choice.image)}: where ${map} looks`);
}

function nameOfLayer(layer) {
  if (layer === layers) return "all layers together (rollout)";
  const isPool = data.imageAttention.kind === "attention pool";
  return isPool ? "the attention pool" : `layer ${layer + 1} of ${layers}`;
}

function nameOfHead(head) {
  return head === heads ? "mean of all heads" : `head ${head + 1}`;
}

function lookAt(layer, head) {
  Object.assign(look, { layer, head });
  part("layer").value = layer;
  part("head").value = head;
  part("head").disabled = layer === layers; // the rollout is made of the mean
  drawAttention();
  tellAttention();
}

function makeAttention() {
  const numbers = (count) => Array.from({ length: count }, (_, number) => number);
  fill(part("layer"), numbers(layers + (rollouts ? 1 : 0)).map(nameOfLayer));
  fill(part("head"), numbers(heads + 1).map(nameOfHead));
  const change = () => lookAt(Number(part("layer").value), Number(part("head").value));
  part("layer").addEventListener("change", change);
  part("head").addEventListener("change", change);
  part("attention").addEventListener("pointermove", (event) => {
    const step = part("attention").clientWidth / grid;
    const [row, column] = [Math.floor(event.offsetY / step), Math.floor(event.offsetX / step)];
    const isInside = row >= 0 && column >= 0 && row < grid && column < grid;
    if (isInside) tellAttention(row * grid + column);
  });
  part("attention").addEventListener("pointerleave", () => tellAttention());
  part("heads").addEventListener("click", (event) => {
    const { step } = mapOfHeads();
    const [layer, head] = [Math.floor(event.offsetY / step), Math.floor(event.offsetX / step)];
    if (layer >= 0 && head >= 0 && layer < layers && head < heads) lookAt(layer, head);
  });
  part("heads").addEventListener("keydown", (event) => {
    // From the rollout the keys go on in the last layer, from the mean in the first head.
    const at = [Math.min(look.layer, layers - 1), look.head % heads];
    const cell = movedCell(event.key, ...at, layers, heads);
    if (!cell) return;
    event.preventDefault();
    lookAt(...cell);
  });
  followers.push(drawAttention, () => tellAttention());
  lookAt(look.layer, look.head);
}

makeAttention();
drawings.push(drawAttention);
