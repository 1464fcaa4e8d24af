// Draws the charts of the page, and fetches its slow parts one after the other.
"use strict";

const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false };
const drawn = new Set();

function color(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

// Lines whose strength says how good they are.
function ramped(data) {
  for (const trace of data) {
    if (trace.meta && trace.meta.ramp !== undefined) {
      trace.line.color = trace.marker.color = color(`--ramp-${trace.meta.ramp}`);
    }
  }
  return data;
}

// The figure in the colors and the size of this page.
function themed(figure, chart) {
  const layout = structuredClone(figure.layout);
  const text = color("--text");
  layout.font = { family: getComputedStyle(document.body).fontFamily, size: 13, color: text };
  layout.hoverlabel = {
    bgcolor: color("--card"),
    bordercolor: color("--line"),
    font: { color: text, size: 13 },
    align: "left",
  };
  for (const [key, axis] of Object.entries(layout)) {
    if (/^[xy]axis\d*$/.test(key)) {
      axis.gridcolor = axis.linecolor = axis.tickcolor = color("--line");
      axis.title = { ...axis.title, font: { size: 13, color: color("--muted") } };
      axis.tickfont = { color: color("--muted"), size: 12 };
      axis.fixedrange = true;
    }
  }
  for (const note of layout.annotations || []) {
    if (note.name === "mark") {
      note.font = { size: 11, color: text };
      note.bgcolor = color("--card");
    }
  }
  layout.height = chart.clientHeight;
  return layout;
}

function draw(chart) {
  const script = chart.closest("figure").querySelector('script[type="application/json"]');
  const figure = JSON.parse(script.textContent);
  const wide = Number(chart.dataset.wide);
  if (wide) {
    chart.style.minWidth = `${wide}px`;
  }
  drawn.add(chart);
  return Plotly.react(chart, ramped(figure.data), themed(figure, chart), CONFIG);
}

async function drawAll(within) {
  for (const chart of within.querySelectorAll(".chart")) {
    try {
      await draw(chart);
    } catch (error) {
      drawn.delete(chart);
      chart.classList.add("undrawn");
      chart.textContent = `This chart could not be drawn: ${error.message}`;
    }
  }
}

async function load(part, address) {
  part.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(address, { credentials: "same-origin" });
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    const content = page.querySelector("[data-content]");
    if (!content) {
      throw new Error(`the server answered ${answer.status}`);
    }
    part.replaceChildren(...document.importNode(content, true).childNodes);
    await drawAll(part);
  } catch (error) {
    const fault = document.createElement("p");
    fault.className = "fault";
    fault.textContent = `This could not be loaded: ${error.message}`;
    part.querySelector(".waiting, .pager").replaceWith(fault);
  }
  part.removeAttribute("aria-busy");
}

// Other pages of a part take its place.
document.addEventListener("click", (event) => {
  const link = event.target.closest("[data-part] .pager a");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    const part = link.closest("[data-part]");
    load(part, link.href).then(() => {
      part.scrollIntoView({ block: "start" });
      part.querySelector("h2").focus();
    });
  }
});

async function start() {
  await drawAll(document);
  for (const part of document.querySelectorAll("[data-part]")) {
    part.querySelector(".waiting").replaceChildren("The model is being asked …");
    await load(part, part.dataset.part);
  }
  document.documentElement.dataset.ready = "yes";
}

matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  drawn.forEach((chart) => chart.isConnected && draw(chart));
});
start();
