// @ts-check
// A traceback: first the error, then its frames; library frames are collapsed.

const RULE = /^-{20,}$/;
const PLAIN_HEADING = "Traceback (most recent call last):";
const HEADING = /^(?:\w+ {2,})?Traceback \(most recent call last\):?$/;

class Trace {
  constructor() {
    this.el = h("div", { class: "icr-trace", role: "group", "aria-label": "Traceback", tabindex: "0", hidden: true });
    this.run = null;
  }

  /** @param {any} run */
  draw(run) {
    const text = run?.traceback ?? null;
    if (text === this.text) return;
    this.text = text;
    this.el.hidden = !text;
    this.el.replaceChildren(...(text ? drawErrors(text.split("\n"), run.errors ?? []) : []));
  }

  /** The traceback as Python writes it, without colours. */
  get plain() {
    const lines = stripControls(this.text ?? "").split("\n");
    const kept = lines.filter((line) => !RULE.test(line));
    return kept.map((line) => (HEADING.test(line) ? PLAIN_HEADING : line)).join("\n").trim();
  }
}

/** @param {string[]} lines @param {any[]} errors */
function drawErrors(lines, errors) {
  if (!errors.length) {
    const kept = lines.filter((line) => !RULE.test(stripControls(line)) && !HEADING.test(stripControls(line)));
    return [drawText(kept)];
  }
  // If all frames are a library's, of all errors, none is folded.
  const isFolding = errors.some(({ frames }) => frames.some(([, , library]) => !library));
  return errors.flatMap(({ title, frames, relation }) => [
    relation ? h("div", { class: "icr-relation" }, relation) : null,
    h("div", { class: "icr-error" }, drawText(lines.slice(...title))),
    ...gatherFrames(frames, isFolding).map((group) => drawGroup(lines, group)),
  ]).filter(Boolean);
}

/** Adjacent library frames form one group. */
function gatherFrames(frames, isFolding) {
  const groups = [];
  for (const frame of frames) {
    const isFolded = isFolding && Boolean(frame[2]);
    const last = groups[groups.length - 1];
    if (last && last.isFolded && isFolded) last.frames.push(frame);
    else groups.push({ isFolded, frames: [frame] });
  }
  return groups;
}

function drawGroup(lines, { isFolded, frames }) {
  const drawn = frames.map(([first, end]) => h("div", { class: "icr-frame" }, drawText(lines.slice(first, end))));
  if (!isFolded) return drawn[0];
  const names = [...new Set(frames.map(([, , library]) => library))].join(", ");
  const label = frames.length === 1 ? `1 frame in ${names}` : `${frames.length} frames in ${names}`;
  return h("details", { class: "icr-library" }, h("summary", {}, label), ...drawn);
}

function drawText(lines) {
  const terminal = new Terminal();
  terminal.write(lines.join("\n"), "plain");
  terminal.draw();
  return terminal.el;
}

/** Text without colours, with each line in its final state. */
function stripControls(text) {
  return text
    .replace(CONTROL, (match) => (match === "\n" || match === "\r" || match === "\t" ? match : ""))
    .replace(/\r+\n/g, "\n")
    .replace(/[^\n]*\r(?!$)/gm, "");
}
