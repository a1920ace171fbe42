// @ts-check
// Small charts in SVG: durations of the last runs, the next hours.

const BARS = 20;
const BAR = 5;
const HEIGHT = 18;
const FOOT = 3; // below the bars: the mark of the run that is shown

/** Bars of the last runs, the newest at the right; failures are red and full. */
class Bars {
  /** @param {((start: number) => void) | null} pick called with a run's start */
  constructor(pick = null) {
    this.pick = pick;
    this.el = s("svg", {
      class: `icr-bars${pick ? " icr-pick" : ""}`,
      viewBox: `0 0 ${BARS * BAR} ${HEIGHT + FOOT}`,
      width: BARS * BAR,
      height: HEIGHT + FOOT,
      role: "img",
    });
    this.drawn = "";
  }

  /**
   * @param {[number, number, boolean][]} bars
   * @param {number | null} chosen the start of the run that is shown
   */
  draw(bars, zone, now, chosen = null) {
    const key = JSON.stringify([bars, chosen]);
    if (key === this.drawn) return;
    this.drawn = key;
    const longest = Math.max(0.001, ...bars.map(([, duration]) => duration));
    this.el.replaceChildren(
      s("path", { class: "icr-base", d: `M0 ${HEIGHT - 0.5}H${BARS * BAR}` }),
      ...bars.map(([start, duration, isOk], index) => {
        const height = Math.max(2, (duration / longest) * (HEIGHT - 2));
        const x = (BARS - bars.length + index) * BAR;
        const said = `${formatInstant(start, zone, now)} · ${formatDuration(duration)}`;
        const mark = { class: "icr-on", x: x + 0.5, y: HEIGHT + 1, width: BAR - 1, height: FOOT - 1 };
        return s(
          "g",
          { class: isOk ? "icr-bar" : "icr-bar icr-bad", on: this.pick ? { click: () => this.pick(start) } : {} },
          s("title", {}, isOk ? said : `${said} · failed`),
          s("rect", { class: "icr-hit", x, y: 0, width: BAR, height: HEIGHT }),
          s("rect", { x: x + 0.5, y: HEIGHT - height, width: BAR - 1, height }),
          start === chosen ? s("rect", mark) : null,
        );
      }),
    );
    setAttribute(this.el, "aria-label", describeBars(bars));
  }
}

function describeBars(bars) {
  if (!bars.length) return "No run yet";
  const failed = bars.filter(([, , isOk]) => !isOk).length;
  const durations = bars.map(([, duration]) => duration);
  const shortest = formatDuration(Math.min(...durations));
  const longest = formatDuration(Math.max(...durations));
  return `Last ${bars.length} runs: ${failed} failed, ${shortest} to ${longest}`;
}

const WIDTH = 1000;

/** One line of the next hours: a tick for each slot, a band where they are many. */
function drawMarks(svg, marks, horizon) {
  const scale = WIDTH / horizon;
  svg.replaceChildren(
    ...marks.map((mark) => {
      const [from, to] = Array.isArray(mark) ? mark : [mark, mark];
      const x = from * scale;
      const width = Math.max(2.4, (to - from) * scale);
      const name = Array.isArray(mark) ? "icr-band" : "icr-tick";
      return s("rect", { class: name, x: x.toFixed(1), y: 3, width: width.toFixed(1), height: 8 });
    }),
  );
}
