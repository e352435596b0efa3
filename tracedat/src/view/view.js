'use strict';
// Everything that comes from the trace is shown with textContent or fillText, never as HTML.
const $ = id => document.getElementById(id);
const LABELS = 190, RULER = 26, BUCKETS = 1 << 15;
const about = JSON.parse($('about').textContent);
const total = Math.max(about.last, 1);

// ---- data: base64, deflated, varints -------------------------------------------------------------------------------

async function inflate(base64) {
  const text = atob(base64.trim()), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function section(id) {
  const bytes = await inflate($(id).textContent);
  $(id).remove();
  return bytes;
}

/** Varints of 64 bits as numbers of a page; exact up to 2^53. */
class Varints {
  constructor(bytes, at = 0) { this.bytes = bytes; this.at = at; }
  next() {
    let byte = this.bytes[this.at++];
    if (byte < 0x80) return byte;
    let value = byte & 0x7f, factor = 128;
    do {
      byte = this.bytes[this.at++];
      value += (byte & 0x7f) * factor;
      factor *= 128;
    } while (byte >= 0x80);
    return value;
  }
}

/** First place whose value is above `value`, from `low` on. */
function above(array, value, low = 0, high = array.length) {
  while (low < high) {
    const middle = (low + high) >> 1;
    if (array[middle] <= value) low = middle + 1; else high = middle;
  }
  return low;
}

/** Values that hold until the next change, and how much time is spent in each category of them. */
class Track {
  constructor(bytes, start, length, categories, category) {
    const times = [], values = [], varints = new Varints(bytes, start);
    let time = 0;
    while (varints.at < start + length) {
      time += varints.next();
      times.push(time);
      values.push(varints.next());
    }
    this.times = Float64Array.from(times);
    this.values = Float64Array.from(values);
    this.category = category;
    this.totals = new Float64Array(categories);
    for (let i = 0; i < times.length; i++) this.totals[category(values[i])] += this.end(i) - times[i];
    this.sums = null;
  }
  /** Makes what `until` looks at, which only lanes that are drawn need. */
  prepare() {
    if (this.sums) return;
    const sums = new Float64Array(this.totals.length);
    this.sums = Array.from(sums, () => new Float64Array(this.length));
    for (let i = 0; i < this.length; i++) {
      if (i) sums[this.category(this.values[i - 1])] += this.times[i] - this.times[i - 1];
      for (let c = 0; c < sums.length; c++) this.sums[c][i] = sums[c];
    }
  }
  get length() { return this.times.length; }
  /** The change that holds at a time, -1 before the first. */
  at(time) { return above(this.times, time) - 1; }
  end(i) { return i + 1 < this.length ? this.times[i + 1] : total; }
  /** Time spent in a category up to a time in span `i`. */
  until(category, time, i) {
    if (i < 0) return 0;
    return this.sums[category][i] + (this.category(this.values[i]) === category ? time - this.times[i] : 0);
  }
}

/** Events of one lane, by time, and how many there are up to each of the buckets. */
class Marks {
  constructor(events) { this.events = events; this.buckets = null; }
  count(time, low = 0) {
    let high = this.events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (T[this.events[middle]] < time) low = middle + 1; else high = middle;
    }
    return low;
  }
  prepare() {
    if (this.buckets) return;
    this.buckets = new Uint32Array(BUCKETS + 1);
    for (const event of this.events) this.buckets[Math.min(BUCKETS - 1, Math.floor(T[event] / total * BUCKETS)) + 1]++;
    for (let i = 1; i <= BUCKETS; i++) this.buckets[i] += this.buckets[i - 1];
  }
}

const machines = about.machines, cpus = [], tasks = [], names = [], vcpus = about.vcpus;
let T, cpuOf, taskOf, nameOf, blocks = [];

async function load() {
  if (typeof DecompressionStream === 'undefined') throw new Error('this browser has no DecompressionStream: a newer one is needed');
  const columns = await Promise.all(['times', 'machines', 'cpus', 'names', 'tasks', 'tracks'].map(section));
  const tracks = columns.pop();
  let at = 0;
  const track = (length, categories, category) => {
    const made = new Track(tracks, at, length, categories, category);
    at += length;
    return made;
  };
  machines.forEach((machine, index) => {
    machine.cpuBase = cpus.length;
    machine.taskBase = tasks.length;
    machine.nameBase = names.length;
    for (const [system, name] of machine.names) names.push({ machine: index, system, name, full: system ? system + ':' + name : name });
    for (const cpu of machine.cpus) {
      // Categories: unknown, idle, busy.
      const idle = machine.tasks.findIndex(task => task.pid === '0') + 1;
      cpu.machine = index;
      cpu.running = track(cpu.running, 3, value => value === 0 ? 0 : value === idle ? 1 : 2);
      cpu.interrupts = track(cpu.interrupts, 3, value => value);
      cpu.lost = track(cpu.lost, 2, value => value ? 1 : 0);
      cpus.push(cpu);
    }
    for (const task of machine.tasks) {
      task.machine = index;
      task.states = track(task.states, 7, value => value % 8);
      task.label = task.pid === '0' ? 'idle' : task.comm + ' ' + task.pid;
      task.hue = hue(task.comm);
      tasks.push(task);
    }
  });
  for (const vcpu of vcpus) vcpu.states = track(vcpu.states, 7, value => value);
  const count = about.events, readers = columns.map(bytes => new Varints(bytes));
  T = new Float64Array(count);
  cpuOf = new Uint32Array(count);
  nameOf = new Uint32Array(count);
  taskOf = new Uint32Array(count);
  let time = 0;
  for (let i = 0; i < count; i++) {
    time += readers[0].next();
    const machine = machines[readers[1].next()];
    T[i] = time;
    cpuOf[i] = machine.cpuBase + readers[2].next();
    nameOf[i] = machine.nameBase + readers[3].next();
    taskOf[i] = machine.taskBase + readers[4].next();
  }
  group(cpuOf, cpus);
  group(taskOf, tasks);
  blocks = $('texts').textContent.trim().split('\n').filter(Boolean);
  $('texts').remove();
}

/** Gives each owner the list of its events. */
function group(of, owners) {
  const ends = new Uint32Array(owners.length + 1);
  for (let i = 0; i < of.length; i++) ends[of[i] + 1]++;
  for (let i = 0; i < owners.length; i++) ends[i + 1] += ends[i];
  const next = ends.slice(), events = new Uint32Array(of.length);
  for (let i = 0; i < of.length; i++) events[next[of[i]]++] = i;
  owners.forEach((owner, i) => { owner.marks = new Marks(events.subarray(ends[i], ends[i + 1])); });
}

function hue(text) {
  let hash = 7;
  for (const letter of text) hash = (hash * 31 + letter.codePointAt(0)) >>> 0;
  return Math.floor(hash * 137.508 % 360);
}

/** Blocks that were looked at last, decompressed. */
const kept = new Map();
async function block(index) {
  if (!kept.has(index)) {
    if (kept.size > 16) kept.delete(kept.keys().next().value);
    kept.set(index, new TextDecoder().decode(await inflate(blocks[index])).trimEnd().split('\n'));
  }
  return kept.get(index);
}

// ---- lanes -----------------------------------------------------------------------------------------------------------

const TASK_STATES = ['unknown', 'running', 'preempted', 'ready', 'asleep', 'uninterruptible', 'dead'];
const TASK_COLOURS = ['unknown', 'running', 'preempted', 'woken', 'asleep', 'stuck', 'dead'];
/** Where nothing is known of a task, or it is no more, nothing is drawn. */
const STATES_KNOWN = [null, ...TASK_COLOURS.slice(1, 6), null];
const VCPU_STATES = ['unknown', 'in guest', 'in host', 'preempted', 'ready', 'halted', 'blocked'];
const VCPU_COLOURS = ['unknown', 'guest', 'host', 'preempted', 'woken', 'halted', 'asleep'];
const INTERRUPTS = ['', 'soft interrupt', 'interrupt'];

let rows = [], height = 0;
const opened = new Map();

function layOut() {
  rows = [];
  const add = (kind, h, more) => rows.push({ kind, h, y: 0, ...more });
  machines.forEach((machine, index) => {
    const closed = opened.get('m' + index) === false;
    add('machine', 26, { machine, index, key: 'm' + index, closed });
    if (closed) return;
    if (machine.bounds.length) add('bounds', 22, { machine });
    const placed = vcpus.filter(vcpu => (vcpu.machine[0] ?? about.host) === index && vcpu.states.length);
    for (const cpu of [...machine.cpus].sort((a, b) => a.cpu - b.cpu)) {
      const vcpu = placed.find(vcpu => vcpu.machine.length && vcpu.cpu === cpu.cpu);
      if (vcpu) addVcpu(add, vcpu, index);
      add('cpu', 38, { cpu, machine });
    }
    for (const vcpu of placed) if (!rows.some(row => row.vcpu === vcpu)) addVcpu(add, vcpu, index);
    const key = 't' + index, listed = machine.tasks.filter(task => task.pid !== '0' && (task.states.length || task.marks.events.length));
    if (!listed.length) return;
    add('tasks', 24, { machine, key, closed: !opened.get(key), count: listed.length });
    if (!opened.get(key)) return;
    const weight = task => task.states.totals[1] + task.marks.events.length * 1e-9;
    for (const task of listed.sort((a, b) => weight(b) - weight(a))) add('task', 26, { task, machine });
  });
  height = 0;
  for (const row of rows) { row.y = height; height += row.h; }
}

function addVcpu(add, vcpu, index) {
  const thread = vcpu.thread.length ? machines[about.host].tasks[vcpu.thread[0]] : null;
  add('vcpu', thread ? 34 : 22, { vcpu, task: thread, machine: machines[index], outside: !vcpu.machine.length });
}

// ---- drawing ---------------------------------------------------------------------------------------------------------

const canvas = $('canvas'), context = canvas.getContext('2d', { alpha: false });
const view = { from: 0, to: total, top: 0 };
let width = 0, tall = 0, selected = -1, colours = {}, dark = false, wanted = false, mouse = null, span = null;

function readColours() {
  const style = getComputedStyle(document.documentElement);
  dark = matchMedia('(prefers-color-scheme: dark)').matches;
  colours = {};
  for (const name of ['back', 'raised', 'line', 'text', 'dim', 'accent', 'idle', 'unknown', 'tick', 'lost', 'error', 'found', 'running',
    'preempted', 'woken', 'asleep', 'stuck', 'dead', 'guest', 'host', 'halted', 'hard', 'soft']) {
    colours[name] = style.getPropertyValue('--' + name).trim();
  }
  for (const task of tasks) task.colour = dark ? `hsl(${task.hue} 45% 42%)` : `hsl(${task.hue} 60% 72%)`;
  for (const task of tasks) task.pixel = pixel(task.colour);
}

function resize() {
  const ratio = devicePixelRatio || 1, box = $('stage').getBoundingClientRect();
  width = box.width;
  tall = box.height;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(tall * ratio);
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  clamp();
  redraw();
}

function redraw() {
  if (wanted) return;
  wanted = true;
  requestAnimationFrame(() => { wanted = false; draw(); });
}

const x = time => LABELS + (time - view.from) / (view.to - view.from) * (width - LABELS);
const timeAt = px => view.from + (px - LABELS) / (width - LABELS) * (view.to - view.from);

let drawn = 0;
function fill(colour, left, top, w, h) {
  if (context.fillStyle !== colour) context.fillStyle = colour;
  context.fillRect(left, top, w, h);
  drawn++;
}

/** Pixels of a lane with too much in it for rectangles: columns are put into it, then all go to the page at once. */
const strip = { canvas: document.createElement('canvas'), context: null, image: null, pixels: null, wide: 0, tall: 0 };
function openStrip(tall) {
  const wide = Math.max(1, Math.floor(width - LABELS));
  if (strip.wide !== wide || strip.tall < tall) {
    strip.tall = Math.max(tall, 32);
    Object.assign(strip.canvas, { width: strip.wide = wide, height: strip.tall });
    strip.context = strip.canvas.getContext('2d', { willReadFrequently: true });
    strip.image = strip.context.createImageData(wide, strip.tall);
    strip.pixels = new Uint32Array(strip.image.data.buffer);
  }
  strip.pixels.fill(0, 0, wide * tall);
}
function column(px, top, tall, colour) {
  const { pixels, wide } = strip;
  for (let y = top; y < top + tall; y++) pixels[y * wide + px] = colour;
}
function closeStrip(y, tall) {
  strip.context.putImageData(strip.image, 0, 0, 0, 0, strip.wide, tall);
  context.imageSmoothingEnabled = false;
  context.drawImage(strip.canvas, 0, 0, strip.wide, tall, LABELS, y, strip.wide, tall);
  drawn++;
}

/** A colour as a pixel of a strip. */
const pixels = new Map();
function pixel(colour, alpha = 255) {
  let value = pixels.get(colour);
  if (value === undefined) {
    openStrip(1);
    strip.context.fillStyle = colour;
    strip.context.fillRect(0, 0, 1, 1);
    value = new Uint32Array(strip.context.getImageData(0, 0, 1, 1).data.buffer)[0] & new Uint32Array(new Uint8Array([255, 255, 255, 0]).buffer)[0];
    pixels.set(colour, value >>>= 0);
  }
  return (value | new Uint32Array(new Uint8Array([0, 0, 0, alpha]).buffer)[0]) >>> 0;
}

function draw() {
  drawn = 0;
  context.font = '12px system-ui, sans-serif';
  context.textBaseline = 'middle';
  fill(colours.back, 0, 0, width, tall);
  context.save();
  context.beginPath();
  context.rect(0, RULER, width, tall - RULER);
  context.clip();
  for (const row of rows) {
    const y = row.y - view.top + RULER;
    if (y + row.h < RULER || y > tall) continue;
    drawRow(row, y);
  }
  context.restore();
  drawRuler();
  if (selected >= 0) {
    const at = x(T[selected]);
    if (at >= LABELS) fill(colours.accent, at, RULER, 1, tall - RULER);
  }
  if (span) {
    context.globalAlpha = .2;
    fill(colours.accent, Math.min(span.a, span.b), RULER, Math.abs(span.a - span.b), tall);
    context.globalAlpha = 1;
  }
  $('range').textContent = `${stamp(view.from)} + ${duration(view.to - view.from)}`;
}

function drawRow(row, y) {
  const right = width - LABELS;
  if (row.kind === 'machine' || row.kind === 'tasks') {
    fill(row.kind === 'machine' ? colours.line : colours.raised, 0, y, width, row.h);
    const title = row.kind === 'machine' ? machineTitle(row.machine) : row.count === 1 ? '1 task' : `${row.count} tasks`;
    label((row.closed ? '▸ ' : '▾ ') + title, row.kind === 'machine' ? 8 : 16, y + row.h / 2, width - 16, colours.text, row.kind === 'machine');
    return;
  }
  context.save();
  context.beginPath();
  context.rect(LABELS, y, right, row.h);
  context.clip();
  if (row.kind === 'cpu') {
    const cpu = row.cpu;
    fill(colours.unknown, LABELS, y + 3, right, 22);
    drawTrack(cpu.running, y + 3, 22, [null, 'idle', 'busy'], task => tasks[row.machine.taskBase + task - 1]);
    drawTrack(cpu.interrupts, y + 3, 6, [null, 'soft', 'hard']);
    drawMarks(cpu.marks, y + 27, 8);
    drawLost(cpu.lost, y + 1, row.h - 3);
  } else if (row.kind === 'task') {
    drawTrack(row.task.states, y + 3, 15, STATES_KNOWN);
    drawMarks(row.task.marks, y + 19, 5);
  } else if (row.kind === 'vcpu') {
    drawTrack(row.vcpu.states, y + 3, 16, VCPU_COLOURS);
    if (row.task) drawTrack(row.task.states, y + 21, 9, STATES_KNOWN);
  } else {
    drawBounds(row.machine, y, row.h);
  }
  context.restore();
  fill(colours.line, 0, y + row.h - 1, width, .5);
  const names = {
    cpu: () => ['CPU ' + row.cpu.cpu],
    task: () => [row.task.label],
    vcpu: () => [`${row.outside && row.vcpu.guest ? row.vcpu.guest + ' ' : ''}vCPU ${row.vcpu.cpu}`, row.task ? `on host: ${row.task.label}` : null],
    bounds: () => ['clock error'],
  }[row.kind]();
  const lines = names.filter(Boolean);
  lines.forEach((text, i) => label(text, 16, y + row.h / (lines.length * 2) * (2 * i + 1), LABELS - 24, i ? colours.dim : colours.text));
}

function machineTitle(machine) {
  const worst = machine.bounds.reduce((most, bound) => Math.max(most, bound[1]), 0);
  const file = machine.file === machine.name ? '' : ' · ' + machine.file;
  return machine.name + file + (machine.bounds.length ? ` · clock ±${duration(worst)}` : '');
}

/** Text that ends with dots where it does not fit. */
function label(text, left, middle, room, colour, bold) {
  context.font = (bold ? '600 ' : '') + '12px system-ui, sans-serif';
  context.fillStyle = colour;
  let shown = text;
  if (context.measureText(shown).width > room) {
    let low = 0, high = text.length;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (context.measureText(text.slice(0, middle) + '…').width <= room) low = middle; else high = middle - 1;
    }
    shown = low ? text.slice(0, low) + '…' : '';
  }
  context.fillText(shown, left, middle);
}

/** Each span where there are few, else what part of each pixel's time each category has. `palette`: a colour for each category. */
function drawTrack(track, y, h, palette, taskOfValue) {
  if (!track.length) return;
  const first = Math.max(0, track.at(view.from)), end = above(track.times, view.to, first);
  const scale = (width - LABELS) / (view.to - view.from);
  const colour = (category, value) => {
    const name = palette[category];
    if (!name) return null;
    return name === 'busy' ? taskOfValue(value)?.colour ?? colours.running : colours[name];
  };
  if (end - first <= (width - LABELS) / 2) {
    for (let i = first; i < end; i++) {
      const value = track.values[i], category = track.category(value), shade = colour(category, value);
      if (!shade) continue;
      const left = Math.max(LABELS, x(track.times[i])), right = Math.min(width, x(track.end(i)));
      if (right < LABELS) continue;
      fill(shade, left, y, Math.max(right - left, .5), h);
      if (right - left > 2 && h > 10 && palette[category] === 'busy') fill(colours.back, right - .5, y, .5, h);
      if (right - left > 34 && h > 10) {
        const text = palette[category] === 'busy' ? taskOfValue(value)?.label : category && taskOfValue === undefined ? stateName(palette, value) : null;
        if (text) label(text, left + 4, y + h / 2 + .5, right - left - 8, contrast(palette[category]));
      }
    }
    return;
  }
  track.prepare();
  openStrip(h);
  const shades = palette.map((name, category) => name && name !== 'busy' ? pixel(colours[name]) : 0);
  let i = first - (track.times[first] > view.from ? 1 : 0);
  const before = palette.map((_, c) => track.until(c, view.from, i));
  for (let px = 0; px < strip.wide; px++) {
    const time = Math.min(view.to, total, view.from + (px + 1) / scale), from = i;
    i = above(track.times, time, Math.max(i, 0), end) - 1;
    let top = h;
    for (let c = palette.length - 1; c >= 0; c--) {
      const until = track.until(c, time, i), part = (until - before[c]) * scale;
      before[c] = until;
      if (!palette[c] || part < .02) continue;
      let shade = shades[c];
      if (palette[c] === 'busy') {
        // A pixel has the colour of a task in its middle.
        let middle = Math.max(0, (from + i) >> 1);
        if (middle && track.category(track.values[middle]) !== c) middle--;
        shade = taskOfValue(track.values[middle])?.pixel ?? pixel(colours.running);
      }
      const high = Math.min(top, Math.max(1, Math.round(part * h)));
      top -= high;
      column(px, top, high, shade);
    }
  }
  closeStrip(y, h);
}

const stateName = (palette, value) => palette === VCPU_COLOURS ? VCPU_STATES[value] : TASK_STATES[value % 8];
const contrast = name => name === 'woken' ? '#1b1f24' : ['busy', 'asleep', 'halted', 'unknown', 'idle'].includes(name) ? colours.text : '#fff';

function drawMarks(marks, y, h) {
  const count = marks.events.length;
  if (!count) return;
  const right = width - LABELS, span = view.to - view.from, step = span / right;
  const low = marks.count(view.from), high = marks.count(view.to, low);
  if (high - low <= right) {
    for (let i = low; i < high; i++) fill(colours.tick, x(T[marks.events[i]]) - .5, y, 1, h);
    if (T[marks.events[high]] === view.to) fill(colours.tick, width - 1, y, 1, h);
    return;
  }
  // Where a pixel is wider than a bucket, the buckets tell; else there are few events in each.
  const wide = step * BUCKETS >= total, bucket = time => Math.max(0, Math.min(BUCKETS, Math.round(time / total * BUCKETS)));
  if (wide) marks.prepare();
  openStrip(h);
  const shades = Array.from({ length: 33 }, (_, n) => pixel(colours.tick, Math.min(255, 90 + n * 23)));
  let before = wide ? marks.buckets[bucket(view.from)] : low;
  for (let px = 0; px < strip.wide; px++) {
    const time = view.from + (px + 1) * step, until = wide ? marks.buckets[bucket(time)] : marks.count(time, before);
    if (until > before) column(px, 0, h, shades[32 - Math.clz32(until - before)]);
    before = until;
  }
  closeStrip(y, h);
}

function drawLost(lost, y, h) {
  const first = Math.max(0, lost.at(view.from)), end = above(lost.times, view.to, first);
  let last = -1;
  for (let i = first; i < end; i++) {
    if (!lost.values[i]) continue;
    const left = Math.max(LABELS, x(lost.times[i])), right = Math.max(left + 2, Math.min(width, x(lost.end(i))));
    if (right <= last) continue;
    last = right;
    context.globalAlpha = .3;
    fill(colours.lost, left, y, right - left, h);
    context.globalAlpha = 1;
    fill(colours.lost, left, y, right - left, 3);
    const count = lost.values[i] - 1;
    if (right - left > 60) label(count > 0 ? `${count} lost` : 'lost', left + 4, y + h / 2, right - left - 8, colours.lost, true);
  }
}

function boundAt(machine, time) {
  const bounds = machine.bounds;
  let low = 0, high = bounds.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (bounds[middle][0] <= time) low = middle + 1; else high = middle;
  }
  return bounds[Math.max(0, low - 1)]?.[1];
}

/** As wide as the bound in time where that can be seen, as high as it is against the worst everywhere. */
function drawBounds(machine, y, h) {
  const worst = machine.bounds.reduce((most, bound) => Math.max(most, bound[1]), 1);
  const scale = (width - LABELS) / (view.to - view.from);
  for (let px = LABELS; px < width; px += 2) {
    const bound = boundAt(machine, timeAt(px)), tall = Math.max(1, bound / worst * (h - 8));
    context.globalAlpha = .55;
    fill(colours.error, px, y + (h - tall) / 2, 2, tall);
  }
  context.globalAlpha = 1;
  const middle = (view.from + view.to) / 2, bound = boundAt(machine, middle), wide = 2 * bound * scale;
  if (wide > 4) {
    const left = x(middle - bound), right = x(middle + bound);
    fill(colours.error, left, y + h / 2 - .5, right - left, 1);
    for (const end of [left, right]) fill(colours.error, end, y + 3, 1, h - 6);
  }
  const text = '±' + duration(bound);
  context.fillStyle = colours.back;
  const room = context.measureText(text).width + 8;
  fill(colours.back, LABELS + 4, y + 2, room, h - 5);
  label(text, LABELS + 8, y + h / 2, room, colours.error);
}

function drawRuler() {
  fill(colours.raised, 0, 0, width, RULER);
  fill(colours.line, 0, RULER - 1, width, 1);
  const rough = (view.to - view.from) / Math.max(1, (width - LABELS) / 110);
  const power = 10 ** Math.floor(Math.log10(Math.max(rough, 1)));
  const step = [1, 2, 5, 10].map(n => n * power).find(n => n >= rough) ?? power * 10;
  for (let time = Math.ceil(view.from / step) * step; time <= view.to; time += step) {
    const at = x(time);
    fill(colours.dim, at, RULER - 6, 1, 6);
    context.globalAlpha = .35;
    fill(colours.line, at, RULER, 1, tall);
    context.globalAlpha = 1;
    const text = '+' + duration(time, step);
    if (at + 6 + context.measureText(text).width < width) label(text, at + 3, RULER / 2 - 1, width - at, colours.dim);
  }
  if (found.list.length) {
    let last = -1;
    const list = found.list, step = (view.to - view.from) / (width - LABELS);
    for (let i = foundAt(view.from); i < list.length && T[list[i]] <= view.to;) {
      const at = x(T[list[i]]);
      if (at - last >= 1) { fill(colours.found, at - 1, RULER - 7, 2, 7); last = at; }
      i = Math.max(i + 1, foundAt(T[list[i]] + step));
    }
  }
  fill(colours.raised, 0, 0, LABELS, RULER - 1);
  label(about.seconds ? 'time since the first event' : 'ticks since the first event', 8, RULER / 2 - 1, LABELS - 16, colours.dim);
}

// ---- times -----------------------------------------------------------------------------------------------------------

const UNITS = [[1e9, 's'], [1e6, 'ms'], [1e3, 'µs'], [1, 'ns']];

/** A duration in the unit that suits it, with as many digits as `step` asks for. */
function duration(time, step) {
  if (!about.seconds) return `${Math.round(time)}`;
  const [size, unit] = UNITS.find(([size]) => Math.abs(time) >= size) ?? [1, 'ns'];
  const digits = step ? Math.max(0, Math.min(9, Math.ceil(Math.log10(size / step) - 1e-9))) : size === 1 ? 0 : 3;
  return `${(time / size).toFixed(digits)} ${unit}`;
}

/** A time as report prints it. */
function stamp(time) {
  const ticks = BigInt(about.start) + BigInt(Math.round(time));
  if (!about.seconds) return `${ticks}`;
  return `${ticks / 1000000000n}.${String(ticks % 1000000000n).padStart(9, '0')}`;
}

// ---- moving about ----------------------------------------------------------------------------------------------------

function clamp() {
  const least = 10, most = total * 1.05, length = Math.min(most, Math.max(least, view.to - view.from)), edge = total * .02 + 5;
  let from = view.from;
  from = Math.max(-edge, Math.min(total + edge - length, from));
  if (length >= total) from = (total - length) / 2;
  view.from = from;
  view.to = from + length;
  view.top = Math.max(0, Math.min(height - (tall - RULER), view.top));
}
function zoom(factor, px = LABELS + (width - LABELS) / 2) {
  const fixed = timeAt(px), part = (fixed - view.from) / (view.to - view.from);
  const length = Math.min(total * 1.05, Math.max(10, (view.to - view.from) * factor));
  view.from = fixed - part * length;
  view.to = view.from + length;
  clamp();
  redraw();
}
function pan(pixels, down = 0) {
  const moved = pixels * (view.to - view.from) / (width - LABELS);
  view.from += moved;
  view.to += moved;
  view.top += down;
  clamp();
  redraw();
}
function showAll() { view.from = -total * .005; view.to = total * 1.005; clamp(); redraw(); }

function rowAt(y) { return y < RULER ? null : rows.find(row => y - RULER + view.top >= row.y && y - RULER + view.top < row.y + row.h); }

/** The event of a lane that is nearest to a place. */
function eventAt(row, px) {
  const marks = row?.cpu?.marks ?? (row?.kind === 'task' ? row.task.marks : null);
  if (!marks?.events.length) return -1;
  const at = marks.count(timeAt(px)), near = [at - 1, at].filter(i => i >= 0 && i < marks.events.length).map(i => marks.events[i]);
  const best = near.sort((a, b) => Math.abs(x(T[a]) - px) - Math.abs(x(T[b]) - px))[0];
  return Math.abs(x(T[best]) - px) <= 6 ? best : -1;
}

function spanText(track, time, name) {
  const i = track.at(time);
  if (i < 0) return null;
  const text = name(track.values[i]);
  return text ? `${text} · ${duration(track.end(i) - track.times[i])}` : null;
}

const taskState = value => TASK_STATES[value % 8] + (value % 8 === 1 ? ` on CPU ${Math.floor(value / 8)}` : '');

function describe(row, px) {
  const time = timeAt(px), lines = ['+' + duration(time) + ' · ' + stamp(time)];
  if (row.kind === 'cpu') {
    lines.push(spanText(row.cpu.running, time, value => value ? tasks[row.machine.taskBase + value - 1]?.label : 'not known'));
    lines.push(spanText(row.cpu.interrupts, time, value => INTERRUPTS[value]));
    lines.push(spanText(row.cpu.lost, time, value => value > 1 ? `${value - 1} events lost` : value ? 'events lost' : null));
  }
  if (row.vcpu) lines.push(spanText(row.vcpu.states, time, value => VCPU_STATES[value]));
  if (row.task) lines.push((row.vcpu ? row.task.label + ': ' : '') + (spanText(row.task.states, time, taskState) ?? 'not known'));
  const event = eventAt(row, px);
  if (event >= 0) lines.push('● ' + names[nameOf[event]].full);
  if (row.machine.bounds.length) lines.push('clock ±' + duration(boundAt(row.machine, time)));
  return lines.filter(Boolean).join('\n');
}

function showTip() {
  const row = mouse && mouse.x > LABELS && rowAt(mouse.y), tip = $('tip');
  if (!row || row.kind === 'machine' || row.kind === 'tasks') { tip.hidden = true; return; }
  tip.hidden = false;
  tip.textContent = describe(row, mouse.x);
  tip.style.left = Math.max(0, Math.min(mouse.x + 14, width - tip.offsetWidth - 4)) + 'px';
  tip.style.top = (mouse.y + 18 + tip.offsetHeight > tall ? Math.max(0, mouse.y - tip.offsetHeight - 10) : mouse.y + 18) + 'px';
}

// ---- details ---------------------------------------------------------------------------------------------------------

/** Numbers that a page cannot hold stay as they are written. */
const exact = (key, value, written) => typeof value === 'number' && !Number.isSafeInteger(value) && written?.source ? written.source : value;
const plain = value => typeof value === 'string' ? value : JSON.stringify(value);

async function detailsOf(event) {
  if (!blocks.length) return null;
  const line = (await block(Math.floor(event / about.block)))[event % about.block];
  return line === undefined ? null : JSON.parse(line, exact);
}

async function select(event, reveal) {
  selected = event;
  const cpu = cpus[cpuOf[event]], task = tasks[taskOf[event]], machine = machines[cpu.machine];
  if (reveal) {
    const time = T[event], length = view.to - view.from;
    if (time < view.from + length * .05 || time > view.to - length * .05) {
      view.from = time - length / 2;
      view.to = time + length / 2;
    }
    const row = rows.find(row => row.cpu === cpu);
    if (row && (row.y < view.top || row.y + row.h > view.top + tall - RULER)) view.top = row.y - (tall - RULER) / 2;
    clamp();
  }
  redraw();
  const found = await detailsOf(event);
  if (selected !== event) return;
  const list = [['time', stamp(T[event])], ['CPU', `${cpu.cpu} of ${machine.name}`], ['task', found?.comm ? `${found.comm} ${found.pid}` : task.label]];
  if (found?.flags) list.push(['flags', found.flags]);
  if (found?.instance) list.push(['instance', found.instance]);
  if (machine.bounds.length) list.push(['clock error', '±' + duration(boundAt(machine, T[event]))]);
  for (const [key, value] of Object.entries(found?.fields ?? {})) {
    list.push([key, plain(value) + (found.symbols?.[key] ? `  ${plain(found.symbols[key])}` : '')]);
  }
  if (found?.bytes) list.push(['bytes', plain(found.bytes)]);
  showDetails(names[nameOf[event]].full, found?.text ?? (blocks.length ? '' : 'this page was made without details'), list);
}

function showDetails(title, text, list) {
  const make = (tag, text) => Object.assign(document.createElement(tag), { textContent: text });
  const table = document.createElement('dl');
  for (const [key, value] of list) table.append(make('dt', key), make('dd', value));
  $('detail').replaceChildren(make('h2', title), ...(text ? [make('p', text)] : []), table);
  if ($('details').hidden) { $('details').hidden = false; resize(); }
}

function closeDetails() {
  selected = -1;
  $('keys').hidden = true;
  if (!$('details').hidden) $('details').hidden = true;
  resize();
}

function click(px, y) {
  const row = rowAt(y);
  if (!row) return;
  if (row.key) {
    opened.set(row.key, row.closed);
    layOut();
    clamp();
    redraw();
    return;
  }
  const event = eventAt(row, px);
  if (event >= 0) { select(event); return; }
  const [, ...lines] = describe(row, px).split('\n');
  const title = row.cpu ? `CPU ${row.cpu.cpu}` : row.vcpu ? `vCPU ${row.vcpu.cpu}` : row.task ? row.task.label : 'clock error';
  selected = -1;
  showDetails(`${title} of ${row.machine.name}`, lines.join('\n'), [['time', stamp(timeAt(px))]]);
}

function step(by) {
  if (selected < 0) return;
  const events = cpus[cpuOf[selected]].marks.events, next = events[above(events, selected) - 1 + by];
  if (next !== undefined) select(next, true);
}

// ---- search ----------------------------------------------------------------------------------------------------------

const found = { query: '', list: new Uint32Array(0), part: 1, turn: 0 };
const foundAt = time => {
  let low = 0, high = found.list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (T[found.list[middle]] < time) low = middle + 1; else high = middle;
  }
  return low;
};

/** Names and tasks at once, then the texts of all events, block by block. */
async function search(query) {
  const turn = ++found.turn, text = query.toLowerCase();
  Object.assign(found, { query, list: new Uint32Array(0), part: 1 });
  if (text) {
    const has = words => words.toLowerCase().includes(text);
    const byName = names.map(name => has(name.full)), byTask = tasks.map(task => task.pid === query || has(task.comm)), hits = new Uint8Array(about.events);
    let count = 0;
    for (let i = 0; i < about.events; i++) if (byName[nameOf[i]] || byTask[taskOf[i]]) { hits[i] = 1; count++; }
    const collect = () => {
      found.list = new Uint32Array(count);
      for (let i = 0, n = 0; n < count; i++) if (hits[i]) found.list[n++] = i;
    };
    collect();
    tellFound();
    redraw();
    for (let b = 0; b < blocks.length; b++) {
      const lines = new TextDecoder().decode(await inflate(blocks[b])).toLowerCase().split('\n');
      if (turn !== found.turn) return;
      for (let l = 0, i = b * about.block; l < about.block && i < about.events; l++, i++) {
        // What stands before the event's name is the same in all lines, or was compared.
        if (!hits[i] && lines[l] && lines[l].indexOf(text, lines[l].indexOf('"event":')) >= 0) { hits[i] = 1; count++; }
      }
      found.part = (b + 1) / blocks.length;
      if (b % 64 === 63) { collect(); tellFound(); redraw(); }
    }
    collect();
  }
  tellFound();
  redraw();
}

function tellFound() {
  const list = found.list, place = selected >= 0 ? above(list, selected) : 0;
  const at = place && list[place - 1] === selected ? `${place} of ` : '';
  $('found').textContent = !found.query ? '' : `${at}${list.length}${found.part < 1 ? ` · ${Math.round(found.part * 100)} %` : ''}`;
}

async function goOn(by) {
  const query = $('query').value.trim();
  if (query !== found.query) {
    const searching = search(query);
    if (!found.list.length) await searching;
  }
  const list = found.list;
  if (!list.length) return;
  const here = selected >= 0 ? selected : -1;
  let place = by > 0 ? above(list, here) : above(list, here - 1) - 1;
  if (selected < 0) place = by > 0 ? foundAt(view.from) : foundAt(view.to) - 1;
  await select(list[(place + list.length) % list.length], true);
  tellFound();
}

// ---- start -----------------------------------------------------------------------------------------------------------

function listen() {
  let drag = null;
  const place = event => ({ x: event.offsetX, y: event.offsetY });
  canvas.addEventListener('pointerdown', event => {
    canvas.setPointerCapture(event.pointerId);
    drag = { ...place(event), moved: false, marks: event.shiftKey && event.offsetX > LABELS };
    canvas.focus();
  });
  canvas.addEventListener('pointermove', event => {
    mouse = place(event);
    if (drag && (drag.moved || Math.hypot(mouse.x - drag.x, mouse.y - drag.y) > 3)) {
      if (drag.marks) {
        span = { a: drag.moved ? span.a : drag.x, b: mouse.x };
        redraw();
      } else {
        pan(drag.x - mouse.x, drag.y - mouse.y);
        Object.assign(drag, mouse);
      }
      drag.moved = true;
    }
    showTip();
  });
  canvas.addEventListener('pointerup', event => {
    if (drag && !drag.moved) click(event.offsetX, event.offsetY);
    if (span) {
      const [a, b] = [timeAt(Math.min(span.a, span.b)), timeAt(Math.max(span.a, span.b))];
      view.from = a;
      view.to = b;
      span = null;
      clamp();
      redraw();
    }
    drag = null;
  });
  canvas.addEventListener('pointerleave', () => { mouse = null; showTip(); });
  canvas.addEventListener('wheel', event => {
    event.preventDefault();
    if (event.offsetX < LABELS || event.altKey) pan(0, event.deltaY);
    else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan(event.deltaX || event.deltaY);
    else zoom(1.0015 ** Math.max(-400, Math.min(400, event.deltaY)), event.offsetX);
    showTip();
  }, { passive: false });
  const keys = {
    w: () => zoom(.7), s: () => zoom(1 / .7), '+': () => zoom(.7), '=': () => zoom(.7), '-': () => zoom(1 / .7),
    a: () => pan(-120), d: () => pan(120), ArrowLeft: () => pan(-120), ArrowRight: () => pan(120),
    ArrowUp: () => pan(0, -60), ArrowDown: () => pan(0, 60), PageUp: () => pan(0, -tall * .8), PageDown: () => pan(0, tall * .8),
    Home: showAll, '/': () => $('query').focus(), n: () => goOn(1), N: () => goOn(-1), ',': () => step(-1), '.': () => step(1),
    Escape: closeDetails, '?': () => { $('keys').hidden = !$('keys').hidden; },
  };
  addEventListener('keydown', event => {
    const types = event.target === $('query');
    if (event.ctrlKey || event.metaKey || event.altKey || (types && event.key !== 'Escape')) return;
    if (types) canvas.focus();
    const key = keys[event.key] ?? (event.target === document.body || event.target === canvas ? keys[event.key.toLowerCase()] : null);
    if (key) { event.preventDefault(); key(); }
  });
  $('search').addEventListener('submit', event => { event.preventDefault(); goOn(1); });
  $('previous').addEventListener('click', () => goOn(-1));
  $('query').addEventListener('input', () => { if (!$('query').value) search(''); });
  $('all').addEventListener('click', showAll);
  $('help').addEventListener('click', keys['?']);
  $('close').addEventListener('click', closeDetails);
  addEventListener('resize', resize);
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => { readColours(); redraw(); });
}

function legend() {
  const items = [['running', 'running'], ['woken', 'woken, waits for a CPU'], ['preempted', 'preempted'], ['asleep', 'asleep'],
    ['stuck', 'uninterruptible'], ['soft', 'soft interrupt'], ['hard', 'interrupt'], ['unknown', 'not known'], ['lost', 'events lost']];
  if (vcpus.length) items.unshift(['guest', 'vCPU in guest'], ['host', 'vCPU in host'], ['halted', 'vCPU halted']);
  for (const [colour, text] of items) {
    const key = document.createElement('span'), box = document.createElement('i');
    key.className = 'key';
    box.style.background = `var(--${colour})`;
    key.append(box, text);
    $('legend').append(key);
  }
  $('legend').append('CPUs: a colour for each name of a task');
}

async function start() {
  await load();
  const title = machines.map(machine => machine.file).join(', ');
  document.title = title + ' · trace-cmd view';
  $('title').textContent = title;
  const cut = about.left_out ? `the first ${about.events} of ${about.events + about.left_out} events` : `${about.events} events`;
  $('summary').textContent = `${cut} in ${duration(total)}`;
  $('summary').classList.toggle('cut', about.left_out > 0);
  readColours();
  legend();
  layOut();
  listen();
  resize();
  showAll();
  draw();
  canvas.focus();
}

start().catch(error => { $('summary').textContent = String(error.message ?? error); $('summary').classList.add('cut'); });
