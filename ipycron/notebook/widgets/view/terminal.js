// @ts-check
// Text as a terminal shows it: colours, carriage returns, bars that move.

const MAX_LINES = 2000;
const MAX_COLUMNS = 10000;
// An escape sequence (CSI, OSC, two characters) or a control character.
const CONTROL =
  /\x1b\[([0-?]*)[ -/]*([@-~])|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[ -/]*[0-~]|[\x00-\x1f\x7f]/g;
const UNFINISHED = /\x1b(?:\[[0-?]*[ -/]*|\][^\x07\x1b]{0,200}|[ -/]*)$/;
const LEVELS = [0, 95, 135, 175, 215, 255];

/** @typedef {{kind: string, fg: string, bg: string, flags: string}} Style */

/**
 * Text of several streams as a terminal would show it: the newest lines.
 *
 * Each stream has a cursor of its own: its text continues where it stopped, even if
 * another stream has written since. The order of two pipes is unknown, and a moving
 * bar must not jump because of a line printed meanwhile.
 */
class Terminal {
  /** @param {() => void} onDraw called when lines have been drawn */
  constructor(onDraw = () => {}) {
    this.onDraw = onDraw;
    this.el = h("div", { class: "icr-terminal" });
    /** @type {{cells: string[], styles: Style[], el: any}[]} */
    this.lines = [];
    this.cursors = new Map();
    this.styles = new Map();
    this.dirty = new Set();
    this.frame = 0;
  }

  /**
   * @param {string} text
   * @param {string} kind stdout, stderr, result or plain
   */
  write(text, kind) {
    let cursor = this.cursors.get(kind);
    if (!cursor) {
      cursor = { kind, line: null, column: 0, carry: "", fg: "", bg: "", flags: new Set() };
      this.cursors.set(kind, cursor);
    }
    this.cursor = cursor;
    text = cursor.carry + text;
    const unfinished = UNFINISHED.exec(text);
    cursor.carry = unfinished ? unfinished[0] : "";
    if (unfinished) text = text.slice(0, unfinished.index);
    this.style = this.intern();
    let at = 0;
    CONTROL.lastIndex = 0;
    for (let match; (match = CONTROL.exec(text)); ) {
      this.put(text.slice(at, match.index));
      at = match.index + match[0].length;
      if (match[2]) this.control(match[2], match[1]);
      else if (match[0].length === 1) this.move(match[0]);
    }
    this.put(text.slice(at));
    this.trim();
    this.schedule();
  }

  put(text) {
    if (!text) return;
    const { cursor } = this;
    const line = this.line();
    for (const character of text) {
      if (cursor.column >= MAX_COLUMNS) break;
      while (line.cells.length < cursor.column) this.set(line, line.cells.length, " ");
      this.set(line, cursor.column++, character);
    }
    this.dirty.add(line);
  }

  set(line, column, character) {
    line.cells[column] = character;
    line.styles[column] = this.style;
  }

  /** The line that the cursor is on; a new one at the end if it is on none. */
  line() {
    this.cursor.line ??= this.addLine();
    return this.cursor.line;
  }

  addLine() {
    const line = { cells: [], styles: [], el: h("div", { class: "icr-line" }) };
    this.el.append(line.el);
    this.lines.push(line);
    return line;
  }

  move(character) {
    const { cursor } = this;
    if (character === "\n") {
      // A cursor that moved up moves down through existing lines.
      const below = this.lines.indexOf(this.line(), -MAX_LINES) + 1;
      const own = cursor.isUp ? this.lines[below] : null;
      cursor.line = own ?? null;
      cursor.isUp = Boolean(own);
      cursor.column = 0;
    } else if (character === "\r") {
      cursor.column = 0;
    } else if (character === "\b") {
      cursor.column = Math.max(0, cursor.column - 1);
    } else if (character === "\t") {
      this.put(" ".repeat(8 - (cursor.column % 8)));
    }
  }

  control(command, parameters) {
    const { cursor } = this;
    const count = Math.min(Number.parseInt(parameters, 10) || 1, MAX_LINES);
    if (command === "m") this.colour(parameters);
    else if (command === "A") this.climb(-count);
    else if (command === "B") this.climb(count);
    else if (command === "C") cursor.column = Math.min(MAX_COLUMNS, cursor.column + count);
    else if (command === "D") cursor.column = Math.max(0, cursor.column - count);
    else if (command === "G") cursor.column = count - 1;
    else if (command === "K") this.erase(parameters);
  }

  climb(count) {
    const { cursor, lines } = this;
    const row = cursor.line ? lines.indexOf(cursor.line) : lines.length;
    const wanted = Math.max(0, row + count);
    cursor.line = lines[wanted] ?? null;
    cursor.isUp = wanted < lines.length;
  }

  erase(parameters) {
    const line = this.line();
    const { column } = this.cursor;
    if (parameters === "2") line.cells.length = 0;
    else if (parameters === "1") line.cells.fill(" ", 0, column);
    else line.cells.length = Math.min(line.cells.length, column);
    this.dirty.add(line);
  }

  colour(parameters) {
    const codes = parameters.split(/[;:]/).map((code) => Number.parseInt(code, 10) || 0);
    const pen = this.cursor;
    for (let code; (code = codes.shift()) !== undefined; ) {
      if (code === 0) Object.assign(pen, { fg: "", bg: "", flags: new Set() });
      else if (code <= 9) pen.flags.add(code);
      else if (code === 22) [1, 2].forEach((flag) => pen.flags.delete(flag));
      else if (code >= 21 && code <= 29) pen.flags.delete(code - 20);
      else if (code === 38) pen.fg = this.extended(codes);
      else if (code === 48) pen.bg = this.extended(codes);
      else if (code === 39) pen.fg = "";
      else if (code === 49) pen.bg = "";
      else if (code >= 30 && code <= 37) pen.fg = String(code - 30);
      else if (code >= 40 && code <= 47) pen.bg = String(code - 40);
      else if (code >= 90 && code <= 97) pen.fg = String(code - 82);
      else if (code >= 100 && code <= 107) pen.bg = String(code - 92);
    }
    this.style = this.intern();
  }

  extended(codes) {
    const mode = codes.shift();
    if (mode === 2) return `rgb(${codes.splice(0, 3).map((c) => c & 255).join(",")})`;
    const code = (codes.shift() ?? 0) & 255;
    if (code < 16) return String(code);
    if (code >= 232) return `rgb(${Array(3).fill(8 + (code - 232) * 10).join(",")})`;
    const cube = code - 16;
    const parts = [Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6];
    return `rgb(${parts.map((part) => LEVELS[part]).join(",")})`;
  }

  intern() {
    const { kind, fg, bg, flags } = this.cursor;
    const names = [...flags].sort().join(" ");
    const key = `${kind}|${fg}|${bg}|${names}`;
    let style = this.styles.get(key);
    if (!style) {
      style = { kind, fg, bg, flags: names };
      this.styles.set(key, style);
    }
    return style;
  }

  trim() {
    const excess = this.lines.length - MAX_LINES;
    if (excess <= 0) return;
    for (const line of this.lines.splice(0, excess)) {
      line.el.remove();
      this.dirty.delete(line);
      for (const cursor of this.cursors.values()) {
        if (cursor.line === line) cursor.line = null;
      }
    }
  }

  schedule() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    for (const line of this.dirty) drawLine(line);
    this.dirty.clear();
    this.onDraw();
  }
}

function drawLine({ el, cells, styles }) {
  const parts = [];
  for (let start = 0, end; start < cells.length; start = end) {
    end = start + 1;
    while (end < cells.length && styles[end] === styles[start]) end += 1;
    parts.push(makeSpan(cells.slice(start, end).join(""), styles[start]));
  }
  el.replaceChildren(...parts);
}

/** @param {string} text @param {Style} style */
function makeSpan(text, style) {
  const classes = [`icr-${style.kind}`];
  for (const flag of style.flags ? style.flags.split(" ") : []) {
    classes.push(`icr-sgr${flag}`);
  }
  const span = h("span", { class: classes.join(" ") }, text);
  const isInverse = style.flags.split(" ").includes("7");
  // A job chooses its own colours; those of a traceback are IPython's.
  const isOurs = style.kind === "plain";
  if (isInverse) {
    paint(span, "background-color", style.fg);
    paint(span, "color", style.bg);
  } else if (style.bg && (isOurs || !style.bg.startsWith("rgb"))) {
    // The palette is made for text: as a background it is faint, with the theme's text.
    span.classList.add("icr-marked");
    span.style.setProperty("--icr-behind", findColour(style.bg));
  } else if (isOurs && style.fg.startsWith("rgb")) {
    span.classList.add("icr-rgb");
    span.style.setProperty("--icr-on-light", makeReadable(style.fg, 0));
    span.style.setProperty("--icr-on-dark", makeReadable(style.fg, 255));
  } else {
    paint(span, "color", style.fg);
    paint(span, "background-color", style.bg);
  }
  return span;
}

function paint(span, property, colour) {
  if (colour) span.style.setProperty(property, findColour(colour));
}

function findColour(colour) {
  return colour.startsWith("rgb") ? colour : `var(--icr-ansi${colour})`;
}

const READABLE = 4.6; // contrast with the background
const BEHIND = { 0: 0.88, 255: 0.025 }; // luminance, at the worst, of light and dark

/** Mix a colour with black or white until it can be read on light or dark. */
function makeReadable(colour, end) {
  let parts = colour.match(/\d+/g).map(Number);
  for (let step = 0; step < 20; step += 1) {
    const [low, high] = [luminance(parts), BEHIND[end]].sort((a, b) => a - b);
    if ((high + 0.05) / (low + 0.05) >= READABLE) break;
    parts = parts.map((part) => Math.round(part + (end - part) * 0.15));
  }
  return `rgb(${parts.join(",")})`;
}

function luminance(parts) {
  const [red, green, blue] = parts.map((part) => {
    const share = part / 255;
    return share <= 0.03928 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
