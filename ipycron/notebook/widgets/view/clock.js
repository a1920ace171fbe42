// @ts-check
// The time of the kernel's machine, and its formats.

/**
 * The kernel's clock, estimated in the browser. Messages are late, never early: the
 * largest difference seen is the most accurate.
 */
class Clock {
  constructor() {
    /** @type {number | null} */
    this.offset = null;
    /** @type {number | undefined} */
    this.frozen = undefined;
    this.listeners = new Set();
    this.timer = 0;
    this.onVisible = () => this.schedule();
  }

  /** Adjust to the kernel's time in a message. */
  adjust(now) {
    const offset = now - Date.now() / 1000;
    const isJump = this.offset !== null && Math.abs(offset - this.offset) > 5;
    if (this.offset === null || isJump || offset > this.offset) this.offset = offset;
    // Clocks drift apart, and laptops wake up: the latest message must win eventually.
    else this.offset += (offset - this.offset) / 50;
  }

  /** Stop at this instant: the kernel is gone, and its next runs with it. */
  freeze() {
    this.frozen ??= this.now();
  }

  /** Unix seconds by the kernel's clock. */
  now() {
    return this.frozen ?? Date.now() / 1000 + (this.offset ?? 0);
  }

  /** Call `listener` at each whole second while the page is visible. */
  listen(listener) {
    if (this.listeners.size === 0) {
      document.addEventListener("visibilitychange", this.onVisible);
    }
    this.listeners.add(listener);
    this.schedule();
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) {
        clearTimeout(this.timer);
        document.removeEventListener("visibilitychange", this.onVisible);
      }
    };
  }

  schedule() {
    clearTimeout(this.timer);
    if (document.hidden || this.listeners.size === 0) return;
    const left = 1000 - ((this.now() * 1000) % 1000);
    this.timer = setTimeout(() => {
      // First: what a listener throws must not stop the clock of all views.
      this.schedule();
      for (const listener of this.listeners) listener();
    }, left + 5);
  }
}

const pad = (/** @type {number} */ n) => String(n).padStart(2, "0");

/** Whole seconds as a clock: 00:42, 1:02:03, 3d 04:05:06. */
function formatSpan(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const days = Math.floor(whole / 86400);
  const hours = Math.floor(whole / 3600) % 24;
  const rest = `${pad(Math.floor(whole / 60) % 60)}:${pad(whole % 60)}`;
  if (days) return `${days}d ${pad(hours)}:${rest}`;
  return hours ? `${hours}:${rest}` : rest;
}

/** A duration as readable text: 3 ms, 0.42 s, 12.3 s, 4 min 05 s. */
function formatDuration(seconds) {
  if (seconds < 0.0995) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.995) return `${seconds.toFixed(2)} s`;
  if (seconds < 59.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  const minutes = Math.round(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} min`;
}

const FORMATS = new Map();

function getFormat(zone, options) {
  const key = `${zone}|${JSON.stringify(options)}`;
  let format = FORMATS.get(key);
  if (!format) {
    try {
      format = new Intl.DateTimeFormat(undefined, { ...options, timeZone: zone });
    } catch {
      // A fixed offset from Python, or a zone that this browser does not know.
      format = new Intl.DateTimeFormat(undefined, options);
    }
    FORMATS.set(key, format);
  }
  return format;
}

const MINUTES = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
const TIME = { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" };
const DAY = { day: "2-digit", month: "short" };
const YEAR = { ...DAY, year: "numeric" };

/**
 * The day of an instant in a zone. What is written without a date is of today: it is
 * written again when this changes.
 * @param {number} instant
 * @param {string | undefined} zone
 */
function findDay(instant, zone) {
  return getFormat(zone, YEAR).format(instant * 1000);
}

/**
 * An instant in a zone; without the date if it is today.
 * @param {number} instant
 * @param {string | undefined} zone
 * @param {number} now
 * @param {boolean} isBrief whether a day's instants go without whole minutes' seconds
 */
function formatInstant(instant, zone, now, isBrief = false) {
  const at = instant * 1000;
  const isToday = findDay(instant, zone) === findDay(now, zone);
  const isWhole = isBrief && Math.floor(instant) % 60 === 0;
  const time = getFormat(zone, isWhole ? MINUTES : TIME).format(at);
  if (isToday) return time;
  const isFar = Math.abs(instant - now) > 180 * 86400;
  return `${getFormat(zone, isFar ? YEAR : DAY).format(at)} ${time}`;
}

/** The city of a zone that differs from the browser's, shown after a time. */
function nameZone(instant, zone) {
  const [theirs, ours] = [zone, undefined].map((z) => getFormat(z, { ...DAY, ...TIME }).format(instant * 1000));
  return theirs === ours ? "" : ` ${zone.split("/").pop().replaceAll("_", " ")}`;
}

/** A number of bytes: 12 kB. */
function formatBytes(count) {
  if (count < 1000) return `${count} B`;
  if (count < 1e6) return `${Math.round(count / 1000)} kB`;
  return `${(count / 1e6).toFixed(1)} MB`;
}

/** The first of the fires that is still in the future. */
function findNext(fires, now) {
  return fires.find((fire) => fire > now) ?? null;
}
