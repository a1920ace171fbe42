// The same work on node-cron, one piece a call; one JSON object on stdout.
//   node node_cron.mjs <node-cron's module> start|execute|fires|next <argument>
// `peers.py` installs it and asks.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';

const [, , module, work, argument] = process.argv;
const cron = (await import(pathToFileURL(module).href)).default;
const silent = () => {};
cron.setLogger({ info: silent, warn: silent, error: silent, debug: silent });

const NEVER = '0 0 1 1 *';
const folder = mkdtempSync(join(tmpdir(), 'bench-'));
const file = join(folder, 'task.mjs');
writeFileSync(file, 'export const task = () => performance.timeOrigin + performance.now();\n');
process.on('exit', () => rmSync(folder, { recursive: true }));

const now = () => performance.now();
const options = { startTimeout: 120000 };

async function time(call) {
  const begin = now();
  await call();
  return (now() - begin) / 1000;
}

function readPrivateBytes(pid) {
  const lines = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8').split('\n');
  const mine = lines.filter(line => line.startsWith('Private_'));
  return mine.reduce((sum, line) => sum + Number(line.split(/\s+/)[1]) * 1024, 0);
}

// Seconds from createTask's task to loaded, one after another.
async function start(times) {
  const seconds = [];
  for (let i = 0; i < times; i++) {
    const task = cron.createTask(NEVER, file, options);
    seconds.push(await time(() => task.start()));
    await task.stop();
  }
  return { seconds };
}

async function execute(times) {
  const task = cron.createTask(NEVER, file, options);
  await task.start();
  const seconds = [];
  for (let i = 0; i < times; i++) seconds.push(await time(() => task.execute()));
  const bytes = readPrivateBytes(task.forkProcess.pid);
  await task.stop();
  return { seconds, bytes };
}

// How late each fire is while `length` seconds pass, and how long all took to start.
async function fires(count, length) {
  const tasks = Array.from({ length: count }, () => cron.createTask('* * * * * *', file, options));
  const startAll = await time(() => Promise.all(tasks.map(task => task.start())));
  const late = [];
  for (const task of tasks) {
    task.on('execution:finished', c => late.push((c.execution.result - c.date.getTime()) / 1000));
  }
  await new Promise(resolve => setTimeout(resolve, length * 1000));
  await Promise.all(tasks.map(task => task.stop()));
  return { late, startAll };
}

// Best seconds per fire of each walk, in the rounds' turns.
function next(walks) {
  const tasks = walks.map(([expression, timezone]) => cron.createTask(expression, silent, { timezone }));
  const best = walks.map(() => Infinity);
  for (let round = 0; round < 5; round++) {
    walks.forEach(([, , count], i) => {
      const begin = now();
      tasks[i].getNextRuns(count);
      best[i] = Math.min(best[i], (now() - begin) / 1000 / count);
    });
  }
  return { best };
}

const works = { start, execute, fires, next };
const answer = await works[work](...JSON.parse(argument));
process.stdout.write(JSON.stringify(answer), () => process.exit(0));
