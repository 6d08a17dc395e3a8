// Draws every plot of a page from the JSON beside it, in the page's own colours, when it comes into sight.
"use strict";
(function () {
  const drawn = new Set();

  function draw(element) {
    const figure = JSON.parse(element.nextElementSibling.textContent);
    const style = getComputedStyle(document.documentElement);
    const [text, line] = [style.getPropertyValue("--text").trim(), style.getPropertyValue("--line").trim()];
    const narrow = element.clientWidth < 560;
    Object.assign(figure.layout, {
      paper_bgcolor: "transparent",
      plot_bgcolor: "transparent",
      font: { color: text, family: style.fontFamily, size: narrow ? 11 : 13 },
    });
    for (const name of Object.keys(figure.layout).filter((each) => /^[xy]axis\d*$/.test(each))) {
      figure.layout[name] = { gridcolor: line, linecolor: line, zeroline: false, automargin: true, ...figure.layout[name] };
    }
    if (narrow && figure.layout.legend && figure.layout.meta !== "legend on top") {
      figure.layout.legend = { orientation: "h", y: -0.3, yanchor: "top", font: { size: 10 } };
    }
    Plotly.react(element, figure.data, figure.layout, { responsive: true, displaylogo: false, displayModeBar: false });
    drawn.add(element);
  }

  const sight = new IntersectionObserver(
    (entries) => {
      for (const entry of entries.filter((each) => each.isIntersecting)) {
        sight.unobserve(entry.target);
        draw(entry.target);
      }
    },
    { rootMargin: "400px" },
  );
  const plots = document.querySelectorAll(".plot");
  plots.forEach((element) => sight.observe(element));
  window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach(draw));
  window.addEventListener("beforeprint", () => plots.forEach(draw));
})();
