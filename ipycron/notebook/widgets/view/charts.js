// @ts-check
// Small charts in SVG: durations of the last runs, the next hours.

const BARS = 20;
const BAR = 5;
const HEIGHT = 18;
const FOOT = 3; // below the bars: the mark of the shown run

/**
 * Bars of the last runs, newest at the right; failures are red, stopped runs grey.
 *
 * Three paths, since two hundred of these are redrawn each second. Only a chart whose
 * bars can be picked has an element for each bar.
 */
class Bars {
  /** @param {((start: number) => void) | null} pick called with a run's start */
  constructor(pick = null) {
    this.pick = pick;
    /** @type {[number, number, string][] | null} */
    this.bars = null;
    /** @type {number | null} */
    this.chosen = null;
    this.paths = {
      finished: s("path", { class: "icr-bar" }),
      failed: s("path", { class: "icr-bar icr-bad" }),
      stopped: s("path", { class: "icr-bar icr-ended" }),
    };
    this.mark = s("path", { class: "icr-on" });
    this.hits = s("g", {});
    const base = s("path", { class: "icr-base", d: `M0 ${HEIGHT - 0.5}H${BARS * BAR}` });
    this.el = s(
      "svg",
      {
        class: "icr-bars",
        viewBox: `0 0 ${BARS * BAR} ${HEIGHT + FOOT}`,
        width: BARS * BAR,
        height: HEIGHT + FOOT,
        role: "img",
      },
      base,
      ...Object.values(this.paths),
      this.mark,
      pick ? this.hits : null,
    );
  }

  /**
   * @param {[number, number, string][]} bars
   * @param {number | null} chosen the start of the run that is shown
   */
  draw(bars, zone, now, chosen = null) {
    if (bars === this.bars && chosen === this.chosen) return;
    const isSame = bars === this.bars;
    [this.bars, this.chosen] = [bars, chosen];
    const left = (index) => (BARS - bars.length + index) * BAR;
    const at = bars.findIndex(([start]) => start === chosen);
    setAttribute(this.mark, "d", at < 0 ? "" : drawBar(left(at), HEIGHT + FOOT, FOOT - 1));
    if (isSame) return;
    const longest = Math.max(0.001, ...bars.map(([, duration]) => duration));
    const drawn = { finished: "", failed: "", stopped: "" };
    bars.forEach(([, duration, outcome], index) => {
      const height = Math.max(2, (duration / longest) * (HEIGHT - 2));
      drawn[outcome] += drawBar(left(index), HEIGHT, height);
    });
    for (const [outcome, path] of Object.entries(this.paths)) setAttribute(path, "d", drawn[outcome]);
    setAttribute(this.el, "aria-label", describeBars(bars));
    if (this.pick) this.hits.replaceChildren(...bars.map((bar, index) => this.makeHit(bar, left(index), zone, now)));
  }

  makeHit([start, duration, outcome], x, zone, now) {
    const said = `${formatInstant(start, zone, now)} · ${formatDuration(duration)}`;
    return s(
      "rect",
      { class: "icr-hit", x, y: 0, width: BAR, height: HEIGHT, on: { click: () => this.pick(start) } },
      s("title", {}, outcome === "finished" ? said : `${said} · ${outcome}`),
    );
  }
}

function drawBar(x, bottom, height) {
  return `M${x + 0.5} ${bottom}h${BAR - 1}v${-height.toFixed(1)}h${1 - BAR}z`;
}

function describeBars(bars) {
  if (!bars.length) return "No run yet";
  const failed = bars.filter(([, , outcome]) => outcome === "failed").length;
  const durations = bars.map(([, duration]) => duration);
  const shortest = formatDuration(Math.min(...durations));
  const longest = formatDuration(Math.max(...durations));
  return `Last ${bars.length} runs: ${failed} failed, ${shortest} to ${longest}`;
}

const WIDTH = 1000;

/** One line of the next hours: a tick for each slot, a band for many slots. */
function drawMarks(svg, marks, horizon) {
  const scale = WIDTH / horizon;
  svg.replaceChildren(
    ...marks.map((mark) => {
      const [from, to] = Array.isArray(mark) ? mark : [mark, mark];
      const x = from * scale;
      const width = Math.max(2.4, (to - from) * scale);
      // A band has room for text on how often it fires.
      const shape = Array.isArray(mark) ? { class: "icr-band", y: 0, height: 14 } : { class: "icr-tick", y: 3, height: 8 };
      return s("rect", { ...shape, x: x.toFixed(1), width: width.toFixed(1) });
    }),
  );
}
