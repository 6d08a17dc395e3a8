// Draws every plot of a page from the JSON beside it, in the page's own colours.
"use strict";
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function draw(element) {
  const figure = JSON.parse(document.getElementById(element.dataset.figure).textContent);
  const style = getComputedStyle(document.documentElement);
  const [text, line] = [style.getPropertyValue("--text").trim(), style.getPropertyValue("--line").trim()];
  Object.assign(figure.layout, {
    paper_bgcolor: "transparent",
    plot_bgcolor: "transparent",
    font: { color: text, family: style.fontFamily, size: 13 },
  });
  for (const axis of [figure.layout.xaxis, figure.layout.yaxis]) {
    Object.assign(axis, { gridcolor: line, linecolor: line, zeroline: false, automargin: true });
  }
  Plotly.react(element, figure.data, figure.layout, { responsive: true, displaylogo: false, displayModeBar: false });
}

function drawAll() {
  document.querySelectorAll(".plot").forEach(draw);
}

dark.addEventListener("change", drawAll);
drawAll();
