/* Which picture and which caption is the page about?

   There is always one of each. `asked` is the kind that was chosen last, and the
   neighbours are those of it. Whoever draws something of the choice adds a function to
   `followers`. */

const choice = { image: 0, caption: data.captionOf[0], asked: "image" };
const followers = [];

/** Choose a picture, and its caption with it. */
function chooseImage(image, caption = data.captionOf[image]) {
  Object.assign(choice, { image, caption, asked: "image" });
  follow();
}

/** Choose a caption, and the first picture that it belongs to. */
function chooseCaption(caption) {
  Object.assign(choice, { image: data.captionOf.indexOf(caption), caption, asked: "caption" });
  follow();
}

function follow() {
  for (const follower of followers) follower();
}

/** The pictures as a row of radio buttons: one of them is reached by Tab. */
function makeGallery() {
  const gallery = part("gallery");
  const buttons = data.thumbnails.map((_, image) => {
    const button = element("button", { type: "button", title: captionOf(image) }, picture(image));
    button.setAttribute("role", "radio");
    button.addEventListener("click", () => chooseImage(image));
    return button;
  });
  gallery.append(...buttons);
  gallery.addEventListener("keydown", (event) => {
    const columns = getComputedStyle(gallery).gridTemplateColumns.split(" ").length;
    const target = moved(event.key, choice.image, buttons.length, columns);
    if (target === null) return;
    event.preventDefault();
    chooseImage(target);
    buttons[target].focus();
  });
  followers.push(() => {
    for (const [image, button] of buttons.entries()) {
      button.setAttribute("aria-checked", String(image === choice.image));
      button.tabIndex = image === choice.image ? 0 : -1;
    }
  });
}

function makeCaptionChoice() {
  const select = part("caption-choice");
  fill(select, data.captions);
  select.addEventListener("change", () => chooseCaption(Number(select.value)));
  followers.push(() => (select.value = choice.caption));
}

/** How often the nearest is the right one, in the head of the page. */
function tellRecall() {
  const figure = (direction) => data.recall[direction].toFixed(2);
  const chance = Math.max(data.chance.image_to_text, data.chance.text_to_image);
  part("recall").textContent =
    `Recall at 1 among them: ${figure("image_to_text")} from picture to caption, ` +
    `${figure("text_to_image")} from caption to picture; chance is ` +
    (chance >= 1 ? "1, which says nothing." : `${chance.toFixed(3)}.`);
}

tellRecall();
makeGallery();
makeCaptionChoice();
