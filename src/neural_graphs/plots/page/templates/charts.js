"use strict";
// Charts: every .chart holds its values as JSON; what is drawn of them follows the width of the page.

const NAMESPACE = "http://www.w3.org/2000/svg";
const MARGIN = { left: 46, right: 12, top: 10, bottom: 40 };

function svg(name, attributes, text) {
  const made = document.createElementNS(NAMESPACE, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function html(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

const told = (value) => (value === null ? "–" : String(+value.toPrecision(4)));

// Round numbers that cover an interval in about so many steps.
function ticks(low, high, steps) {
  const rough = (high - low) / steps || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, place) => +((first + place) * step).toPrecision(12));
}

// The place of values on the screen, and back.
function scale(low, high, start, end) {
  const per = (end - start) / (high - low || 1);
  const at = (value) => start + (value - low) * per;
  at.back = (place) => low + (place - start) / per;
  return at;
}

// The class that colours a series by its place in the legend; the first may be grey.
const coloured = (data, names, name) => `series-${(names.indexOf(name) + (data.grey ? 0 : 1)) % 6}`;

// Adds a frame that is drawn anew whenever its width changes; returns what draws it now.
function frame(figure, title, kind, draw) {
  const surface = svg("svg", { tabindex: 0, role: "img", "aria-label": title });
  const box = html("div", { class: `panel ${kind}` }, html("h3", {}, title), surface);
  figure.querySelector(".panels").append(box);
  const redraw = () => {
    const width = Math.max(160, surface.clientWidth);
    surface.replaceChildren();
    draw(surface, width);
  };
  new ResizeObserver(redraw).observe(box);
  return redraw;
}

function sized(surface, width, height) {
  surface.setAttribute("height", height);
  surface.setAttribute("viewBox", `0 0 ${width} ${height}`);
}

function axes(surface, width, height, x, y, xs, ys, title) {
  for (const value of ys) {
    surface.append(svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }));
    surface.append(svg("text", { x: MARGIN.left - 6, y: y(value) + 4, "text-anchor": "end" }, told(value)));
  }
  for (const value of xs) {
    surface.append(svg("text", { x: x(value), y: height - MARGIN.bottom + 16, "text-anchor": "middle" }, told(value)));
  }
  surface.append(svg("text", { x: width - MARGIN.right, y: height - 5, "text-anchor": "end" }, title));
}

// Buttons that hide and show series; `hidden` is filled with the names that are not to be drawn.
function legend(figure, data, names, hidden, redraw) {
  names.forEach((name) => {
    const button = html("button", { type: "button", "aria-pressed": "true" }, html("i", { class: coloured(data, names, name) }), name);
    button.addEventListener("click", () => {
      if (!hidden.delete(name)) hidden.add(name);
      button.setAttribute("aria-pressed", String(!hidden.has(name)));
      redraw();
    });
    figure.querySelector(".legend").append(button);
  });
}

// Lets the mouse, a finger or the arrow keys choose one of so many places.
function choosing(surface, nearest, count, choose, leave) {
  let chosen = -1;
  const go = (place) => (place < 0 ? leave() : choose((chosen = place)));
  surface.onpointermove = (event) => go(nearest(event.offsetX, event.offsetY));
  surface.onpointerleave = surface.onblur = leave;
  surface.onkeydown = (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step === undefined || !count) return;
    event.preventDefault();
    go(Math.min(count - 1, Math.max(0, chosen + step)));
  };
}

function lines(figure, data) {
  const names = [...new Set(data.panels.flatMap((panel) => panel.curves.map((curve) => curve.name)))];
  const hidden = new Set();
  const redraws = data.panels.map((panel) =>
    frame(figure, panel.y, data.diagonal ? "square" : "", (surface, width) => {
      linesPanel(surface, width, data, panel, names, panel.curves.filter((curve) => !hidden.has(curve.name)));
    }),
  );
  if (names.length > 1) legend(figure, data, names, hidden, () => redraws.forEach((redraw) => redraw()));
}

function linesPanel(surface, width, data, panel, names, curves) {
  const height = Math.round(Math.min(300, Math.max(190, width * 0.62)));
  sized(surface, width, height);
  const places = [...new Set(curves.flatMap((curve) => curve.x))].sort((a, b) => a - b);
  const spreads = (curve, sign) => curve.y.map((value, place) => (value === null ? null : value + sign * (curve.spread[place] ?? 0)));
  const reached = curves.flatMap((curve) => [...spreads(curve, 1), ...spreads(curve, -1)]);
  const levels = [...reached, ...Object.values(panel.marks), ...panel.ends].filter((value) => value !== null);
  if (!places.length || !levels.length) return;
  const low = Math.min(...levels);
  const high = Math.max(...levels);
  const room = (high - low || 1) * 0.06;
  const start = panel.ends.includes(low) ? low : low - room;
  const end = panel.ends.includes(high) ? high : high + (Object.keys(panel.marks).length ? 2.5 : 1) * room;
  const x = scale(places[0], places.at(-1), MARGIN.left, width - MARGIN.right);
  const y = scale(start, end, height - MARGIN.bottom, MARGIN.top);
  const whole = places.every(Number.isInteger);
  const xs = ticks(places[0], places.at(-1), Math.max(2, width / 90)).filter((value) => !whole || Number.isInteger(value));
  axes(surface, width, height, x, y, xs, ticks(start, end, 5), data.x);
  if (data.diagonal) {
    surface.append(svg("line", { class: "diagonal", x1: x(places[0]), x2: x(places.at(-1)), y1: y(places[0]), y2: y(places.at(-1)) }));
  }
  for (const curve of curves) curveOf(surface, x, y, curve, coloured(data, names, curve.name), spreads);
  for (const [name, value] of Object.entries(panel.marks)) {
    surface.append(svg("line", { class: "level", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }));
    surface.append(svg("text", { class: "mark", x: width - MARGIN.right, y: y(value) - 5, "text-anchor": "end" }, `${name} ${told(value)}`));
  }
  following(surface, x, y, places, curves, names, data, height);
}

function curveOf(surface, x, y, curve, colour, spreads) {
  const group = svg("g", { class: colour });
  const path = (values) => values.map((value, at) => (value === null ? null : `${x(curve.x[at])},${y(value)}`));
  if (curve.spread.length) {
    const outline = [...path(spreads(curve, 1)), ...path(spreads(curve, -1)).reverse()].filter(Boolean);
    group.append(svg("polygon", { class: "spread", points: outline.join(" ") }));
  }
  let pen = "M";
  const drawn = path(curve.y).map((point) => {
    const piece = point === null ? "" : pen + point;
    pen = point === null ? "M" : "L";
    return piece;
  });
  group.append(svg("path", { class: "curve", d: drawn.join("") }));
  if (curve.x.length === 1 && curve.y[0] !== null) group.append(svg("circle", { class: "dot", r: 3.5, cx: x(curve.x[0]), cy: y(curve.y[0]) }));
  surface.append(group);
}

function following(surface, x, y, places, curves, names, data, height) {
  const cursor = svg("g", {});
  surface.append(cursor);
  const nearest = (at) => places.reduce((best, value, place) => (Math.abs(x(value) - at) < Math.abs(x(places[best]) - at) ? place : best), 0);
  choosing(surface, nearest, places.length, (place) => {
    const value = places[place];
    cursor.replaceChildren(svg("line", { class: "cursor", x1: x(value), x2: x(value), y1: MARGIN.top, y2: height - MARGIN.bottom }));
    const said = [`${data.x} ${told(value)}`];
    for (const curve of curves) {
      const reached = curve.y[curve.x.indexOf(value)];
      if (reached === undefined || reached === null) continue;
      cursor.append(svg("circle", { class: `dot ${coloured(data, names, curve.name)}`, r: 4, cx: x(value), cy: y(reached) }));
      said.push(`${curve.name}: ${told(reached)}`);
    }
    tellBeside(surface, x(value), MARGIN.top, said.join("\n"));
  }, () => {
    cursor.replaceChildren();
    hush();
  });
}

function points(figure, data) {
  frame(figure, data.y_title, "square", (surface, width) => {
    const height = Math.min(width, 520);
    sized(surface, width, height);
    const x = scale(0, 100, MARGIN.left, Math.min(width, height) - MARGIN.right);
    const y = scale(0, 100, height - MARGIN.bottom, MARGIN.top);
    axes(surface, Math.min(width, height), height, x, y, [0, 20, 40, 60, 80, 100], [0, 20, 40, 60, 80, 100], data.x_title);
    if (data.margin !== null) {
      const m = Math.min(100, data.margin);
      const band = [[0, 0], [0, m], [100 - m, 100], [100, 100], [100, 100 - m], [m, 0]];
      surface.append(svg("polygon", { class: "margin", points: band.map(([a, b]) => `${x(a)},${y(b)}`).join(" ") }));
    }
    surface.append(svg("line", { class: "diagonal", x1: x(0), x2: x(100), y1: y(0), y2: y(100) }));
    data.x.forEach((value, place) => surface.append(svg("circle", { class: "point", r: 3, cx: x(value), cy: y(data.y[place]) })));
    const chosen = svg("g", {});
    surface.append(chosen);
    const nearest = (a, b) => {
      const away = data.x.map((value, place) => Math.hypot(x(value) - a, y(data.y[place]) - b));
      const best = away.indexOf(Math.min(...away));
      return away[best] <= 24 ? best : -1;
    };
    choosing(surface, nearest, data.x.length, (place) => {
      const [a, b] = [x(data.x[place]), y(data.y[place])];
      chosen.replaceChildren(svg("circle", { class: "chosen", r: 6, cx: a, cy: b }));
      tellBeside(surface, a, b, `${data.names[place]}\n${data.x_title}: ${told(data.x[place])}\n${data.y_title}: ${told(data.y[place])}`);
    }, () => {
      chosen.replaceChildren();
      hush();
    });
  });
}

function histograms(figure, data) {
  const names = [...new Set(data.panels.flatMap((panel) => Object.keys(panel.counts)))];
  const hidden = new Set();
  const redraws = data.panels.map((panel) => frame(figure, panel.title, "small", (surface, width) => {
    histogramPanel(surface, width, data, panel, names, hidden);
  }));
  if (names.length > 1) legend(figure, data, names, hidden, () => redraws.forEach((redraw) => redraw()));
}

function histogramPanel(surface, width, data, panel, names, hidden) {
  const height = 144;
  sized(surface, width, height);
  const shown = names.filter((name) => name in panel.counts && !hidden.has(name));
  const totals = panel.bins.map((_, bin) => shown.reduce((sum, name) => sum + panel.counts[name][bin], 0));
  const y = scale(0, Math.max(1, ...totals), height - 26, 8);
  const step = (width - MARGIN.left - MARGIN.right) / panel.bins.length;
  for (const value of ticks(0, Math.max(1, ...totals), 3).filter(Number.isInteger)) {
    surface.append(svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }));
    surface.append(svg("text", { x: MARGIN.left - 6, y: y(value) + 4, "text-anchor": "end" }, told(value)));
  }
  panel.bins.forEach((bin, place) => {
    let below = 0;
    for (const name of shown) {
      const count = panel.counts[name][place];
      if (!count) continue;
      const top = y(below + count);
      const bar = { class: `bar ${coloured(data, names, name)}`, x: MARGIN.left + place * step, width: Math.max(1, step - 1), y: top, height: y(below) - top };
      surface.append(svg("rect", { ...bar, "data-tip": `${panel.title}: ${bin}\n${name}: ${count} of ${totals[place]}` }));
      below += count;
    }
  });
  const ends = panel.ends;
  surface.append(svg("text", { x: MARGIN.left, y: height - 8 }, ends[0]));
  surface.append(svg("text", { x: width - MARGIN.right, y: height - 8, "text-anchor": "end" }, ends[1]));
}
