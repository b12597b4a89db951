/* Which words does the text encoder look at?

   A token asks all tokens that it may see, and gets a share of each. At first it is the
   token whose row becomes the caption's vector; a click lets another one ask. */

const seen = { layer: 0, head: 0, asking: null }; // asking: a token, or null for the read one

/** The rows of shares of a caption, unpacked once. */
const textShares = data.textAttention.map(() => null);
function sharesOfCaption(caption) {
  textShares[caption] ??= unpacked(data.textAttention[caption].shares);
  return textShares[caption];
}

/** What `asking` gets of every token in a layer and head; null asks for the mean row. */
function wordShares(caption, layer, head, asking) {
  const [, headCount, length] = data.textAttention[caption].shape;
  const row = (oneHead, token) => {
    const start = ((layer * headCount + oneHead) * length + token) * length;
    return sharesOfCaption(caption).subarray(start, start + length);
  };
  const ofHead = (oneHead) =>
    asking === null ? meanOver(length, (token) => row(oneHead, token)) : row(oneHead, asking);
  return head < headCount ? [...ofHead(head)] : meanOver(headCount, ofHead);
}

function tellWords() {
  const hasMaps = choice.caption < data.textAttention.length;
  part("words-controls").hidden = part("words").hidden = !hasMaps;
  if (!hasMaps) {
    part("words-note").textContent =
      "To stay small, this page holds the attention of the first " +
      `${data.textAttention.length} captions only.`;
    part("words-read").textContent = "";
    return;
  }
  const { words, read } = data.textAttention[choice.caption];
  const asking = seen.asking === null ? read : seen.asking;
  const shares = wordShares(choice.caption, seen.layer, seen.head, asking);
  const largest = Math.max(...shares);
  const buttons = words.map((word, token) => {
    const bar = element("span", { className: "bar" });
    bar.style.width = `${(100 * shares[token]) / largest}%`;
    const told = element("small", {}, percent(shares[token]));
    const button = element("button", { type: "button" }, word, told, bar);
    button.setAttribute("aria-pressed", String(token === asking));
    button.addEventListener("click", () => ask(token));
    return button;
  });
  part("words").replaceChildren(...buttons);
  const who = asking === null ? "The mean of all tokens" : `“${words[asking]}”`;
  part("words-read").textContent =
    `${who} looks most at “${words[shares.indexOf(largest)]}”, with ${percent(largest)}.`;
  part("words-note").textContent = noteOnWords(read, words);
}

/** How to read the tokens of an encoder of this kind. */
function noteOnWords(read, words) {
  const same =
    "The caption as the model sees it, in tokens. The bar below a token is its share, compared " +
    "with the largest. Click a token to let it ask.";
  if (read === null) {
    return `${same} The caption's vector is the mean of all tokens: their mean row comes first.`;
  }
  if (read === 0) {
    return `${same} The caption's vector is read from the first token, which sees all others.`;
  }
  return (
    `${same} A token sees itself and those before it, and the vector is read from ` +
    `“${words[read]}”, the last. Shares that a head has no use for often go to the first token, ` +
    "which says nothing of the caption."
  );
}

/** Let a token ask; null: the one that is read. The focus stays on the token. */
function ask(token) {
  seen.asking = token;
  tellWords();
  if (token !== null) part("words").children[token].focus();
}

function makeWords() {
  if (data.textAttention.length > 0) {
    const [layerCount, headCount] = data.textAttention[0].shape;
    const numbered = (word, count) => [...Array(count).keys()].map((at) => `${word} ${at + 1}`);
    fill(part("words-layer"), numbered("layer", layerCount));
    fill(part("words-head"), [...numbered("head", headCount), "mean of all heads"]);
    Object.assign(seen, { layer: layerCount - 1, head: headCount });
    part("words-layer").value = seen.layer;
    part("words-head").value = seen.head;
  }
  const change = () => {
    seen.layer = Number(part("words-layer").value);
    seen.head = Number(part("words-head").value);
    tellWords();
  };
  part("words-layer").addEventListener("change", change);
  part("words-head").addEventListener("change", change);
  part("words-reset").addEventListener("click", () => ask(null));
  followers.push(() => ask(null));
}

makeWords();
