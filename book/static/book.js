// A search from a file cannot fetch the pages that it would quote.
if (typeof DOCUMENTATION_OPTIONS !== "undefined" && location.protocol === "file:") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// The map: point at a file, and its arcs stand out.
function point(map, stop) {
  const marked = map.querySelectorAll(".uses, .used-by, .here");
  marked.forEach((element) => element.classList.remove("uses", "used-by", "here"));
  map.classList.toggle("pointed", stop !== null);
  if (stop === null) return;
  const lineOf = (number) => map.querySelector(`a[data-stop="${number}"]`);
  lineOf(stop).classList.add("here");
  const note = map.parentElement.querySelector(".map-note");
  if (note) {
    note.textContent = `${lineOf(stop).getAttribute("href").replace(".html", ".py")}: `
      + lineOf(stop).querySelector("title").textContent;
  }
  for (const arc of map.querySelectorAll("path")) {
    const { user, used } = arc.dataset;
    if (user === stop || used === stop) {
      const relation = user === stop ? "uses" : "used-by";
      arc.classList.add(relation);
      lineOf(user === stop ? used : user).classList.add(relation);
    }
  }
}

document.addEventListener("DOMContentLoaded", () => {
  for (const map of document.querySelectorAll(".book-map")) {
    for (const line of map.querySelectorAll("a[data-stop]")) {
      for (const event of ["pointerenter", "focus"]) {
        line.addEventListener(event, () => point(map, line.dataset.stop));
      }
      for (const event of ["pointerleave", "blur"]) {
        line.addEventListener(event, () => point(map, null));
      }
    }
  }
});
