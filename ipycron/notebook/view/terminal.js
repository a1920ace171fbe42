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

/** What one stream of text looks like: the newest lines of it. */
class Terminal {
  constructor() {
    this.el = h("div", { class: "icr-terminal" });
    this.dropped = 0;
    /** @type {{cells: string[], styles: Style[], el: any}[]} */
    this.lines = [];
    this.row = 0;
    this.column = 0;
    this.carry = "";
    this.pen = { fg: "", bg: "", flags: new Set() };
    this.styles = new Map();
    this.dirty = new Set();
    this.frame = 0;
  }

  /**
   * @param {string} text
   * @param {string} kind stdout, stderr, result or trace
   */
  write(text, kind) {
    text = this.carry + text;
    const unfinished = UNFINISHED.exec(text);
    this.carry = unfinished ? unfinished[0] : "";
    if (unfinished) text = text.slice(0, unfinished.index);
    this.kind = kind;
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
    const line = this.line();
    for (const character of text) {
      if (this.column >= MAX_COLUMNS) break;
      while (line.cells.length < this.column) this.set(line, line.cells.length, " ");
      this.set(line, this.column++, character);
    }
    this.dirty.add(line);
  }

  set(line, column, character) {
    line.cells[column] = character;
    line.styles[column] = this.style;
  }

  line() {
    while (this.lines.length <= this.row) {
      const el = h("div", { class: "icr-line" });
      this.el.append(el);
      this.lines.push({ cells: [], styles: [], el });
    }
    return this.lines[this.row];
  }

  move(character) {
    if (character === "\n") {
      this.line();
      this.row += 1;
      this.column = 0;
    } else if (character === "\r") {
      this.column = 0;
    } else if (character === "\b") {
      this.column = Math.max(0, this.column - 1);
    } else if (character === "\t") {
      this.put(" ".repeat(8 - (this.column % 8)));
    }
  }

  control(command, parameters) {
    const count = Math.min(Number.parseInt(parameters, 10) || 1, MAX_LINES);
    if (command === "m") this.colour(parameters);
    else if (command === "A") this.row = Math.max(0, this.row - count);
    else if (command === "B") this.row = Math.min(this.lines.length, this.row + count);
    else if (command === "C") this.column = Math.min(MAX_COLUMNS, this.column + count);
    else if (command === "D") this.column = Math.max(0, this.column - count);
    else if (command === "G") this.column = count - 1;
    else if (command === "K") this.erase(parameters);
  }

  erase(parameters) {
    const line = this.line();
    if (parameters === "2") line.cells.length = 0;
    else if (parameters === "1") line.cells.fill(" ", 0, this.column);
    else line.cells.length = Math.min(line.cells.length, this.column);
    this.dirty.add(line);
  }

  colour(parameters) {
    const codes = parameters.split(/[;:]/).map((code) => Number.parseInt(code, 10) || 0);
    const { pen } = this;
    for (let code; (code = codes.shift()) !== undefined; ) {
      if (code === 0) this.pen = Object.assign(pen, { fg: "", bg: "", flags: new Set() });
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
    const { fg, bg, flags } = this.pen;
    const names = [...flags].sort().join(" ");
    const key = `${this.kind}|${fg}|${bg}|${names}`;
    let style = this.styles.get(key);
    if (!style) {
      style = { kind: this.kind, fg, bg, flags: names };
      this.styles.set(key, style);
    }
    return style;
  }

  trim() {
    const excess = Math.min(this.lines.length - MAX_LINES, this.row);
    if (excess <= 0) return;
    for (const line of this.lines.splice(0, excess)) {
      line.el.remove();
      this.dirty.delete(line);
    }
    this.row -= excess;
    this.dropped += excess;
  }

  schedule() {
    if (!this.frame) this.frame = requestAnimationFrame(() => this.draw());
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = 0;
    for (const line of this.dirty) drawLine(line);
    this.dirty.clear();
    if (this.onDraw) this.onDraw();
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
  paint(span, isInverse ? "background-color" : "color", style.fg);
  paint(span, isInverse ? "color" : "background-color", style.bg);
  return span;
}

function paint(span, property, colour) {
  if (!colour) return;
  const value = colour.startsWith("rgb") ? colour : `var(--icr-ansi${colour})`;
  span.style.setProperty(property, value);
}
