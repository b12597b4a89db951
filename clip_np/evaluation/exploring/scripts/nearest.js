/* What lies nearest to what was chosen?

   The order was computed in Python (nearest.py). A click on a neighbour chooses it, so
   that one can walk from thing to thing. */

/** Captions as a list of buttons. `isRight` says which of them belong to what was asked. */
function captionList({ rows: captions, cosines: values }, isRight) {
  const entries = captions.map((caption, place) => {
    const words = element("span", {}, data.captions[caption]);
    const cosine = element("b", {}, values[place].toFixed(2));
    const button = element("button", { type: "button" }, cosine, words);
    if (isRight(caption)) {
      button.className = "right";
      words.append(" ✓");
    }
    button.addEventListener("click", () => chooseCaption(caption));
    return element("li", {}, button);
  });
  return element("ol", { className: "captions" }, ...entries);
}

/** Pictures as a grid of buttons. */
function pictureList({ rows: images, cosines: values }, isRight) {
  const entries = images.map((image, place) => {
    const mark = isRight(image) ? " ✓" : "";
    const button = element(
      "button",
      { type: "button", title: captionOf(image) },
      picture(image),
      element("b", {}, values[place].toFixed(2) + mark),
    );
    if (mark) button.className = "right";
    button.addEventListener("click", () => chooseImage(image));
    return element("li", {}, button);
  });
  return element("ol", { className: "pictures" }, ...entries);
}

/** The neighbours of row `row` of a table of neighbours. */
function neighboursOf(table, row) {
  return { rows: table.rows[row], cosines: table.cosines[row] };
}

function tellNearest() {
  const isImage = choice.asked === "image";
  const asked = isImage ? choice.image : choice.caption;
  const tables = data.nearest[choice.asked];
  const isRightCaption = (caption) => isImage && data.captionOf[asked] === caption;
  const isRightPicture = (image) => !isImage && data.captionOf[image] === asked;
  const head = isImage ? [picture(asked), captionOf(asked)] : [`“${data.captions[asked]}”`];
  part("nearest").replaceChildren(
    element("div", { className: "asked" }, ...head),
    element("h3", {}, "Captions"),
    captionList(neighboursOf(tables.captions, asked), isRightCaption),
    element("h3", {}, "Pictures"),
    pictureList(neighboursOf(tables.images, asked), isRightPicture),
  );
}

followers.push(tellNearest);
