// Draws each figure when it is scrolled to, in the colours of the page, and again when those change.
(() => {
  "use strict";
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const touch = matchMedia("(pointer: coarse)");
  const PRINT_WIDTH = 680; // pixels between the margins of a page of A4 or Letter
  const NARROW = 600;
  const drawn = new Set();

  function template(isDark) {
    const style = getComputedStyle(document.documentElement);
    const of = (name) => style.getPropertyValue(name).trim();
    const ink = isDark ? of("--ink") : "#1b1f24", grid = isDark ? "#2c323a" : "#e3e7ec", line = isDark ? "#59626d" : "#9aa3ad";
    const page = isDark ? of("--page") : "#ffffff";
    const axis = { gridcolor: grid, linecolor: line, zeroline: false, ticks: "outside", ticklen: 5, tickcolor: "rgba(0,0,0,0)", automargin: true, title: { standoff: 8 } };
    const scene = { gridcolor: grid, linecolor: line, zerolinecolor: line, backgroundcolor: page };
    const bar = { outlinewidth: 0, tickcolor: line };
    return {
      data: { heatmap: [{ colorbar: bar }], contour: [{ colorbar: bar }], scatter: [{ marker: { colorbar: bar } }] },
      layout: {
        paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
        font: { family: of("--text"), size: 13, color: ink },
        colorway: isDark
          ? ["#7fb0f5", "#f0a860", "#6fcf97", "#e58ab5", "#b79df2", "#d9c65a", "#6bc9d6", "#e88a7d"]
          : ["#2563b0", "#c06a14", "#2b7f4f", "#b03a76", "#6c4fb8", "#8a7508", "#1a7f8e", "#b5402f"],
        xaxis: axis, yaxis: axis, scene: { xaxis: scene, yaxis: scene, zaxis: scene },
        hoverlabel: { bgcolor: isDark ? "#2a3037" : "#ffffff", bordercolor: line, font: { color: ink } },
        legend: { bgcolor: "rgba(0,0,0,0)", orientation: "h", yanchor: "bottom", y: 1.02, x: 0 },
        margin: { l: 56, r: 16, t: 36, b: 48 },
        modebar: { bgcolor: "rgba(0,0,0,0)", color: line, activecolor: ink },
        coloraxis: { colorbar: bar },
      },
    };
  }

  const CONFIG = {
    responsive: true, displaylogo: false,
    modeBarButtonsToRemove: ["sendChartToCloud", "select2d", "lasso2d", "zoomIn2d", "zoomOut2d", "autoScale2d"],
  };
  let webgl = null; // asked for when it is first needed

  function hasWebgl() {
    webgl ??= Boolean(document.createElement("canvas").getContext("webgl"));
    return webgl;
  }

  // Without WebGL the same traces are drawn as SVG, which is slower.
  function drawable(trace) {
    return !trace.type || !trace.type.endsWith("gl") || hasWebgl() ? trace : { ...trace, type: trace.type.slice(0, -2) };
  }

  const GRAPHICS_ONLY = ["parcoords", "scatter3d", "surface", "splom"];

  function tell(canvas, words) {
    const told = document.createElement("p");
    told.className = "absent";
    told.textContent = words;
    canvas.replaceWith(told);
  }

  function fitting(given, width) {
    const layout = { ...given };
    if ((layout.annotations || []).some((a) => a.yref === "paper" && a.y >= 0.99 && !a.showarrow)) {
      layout.legend = { y: 1 + 40 / layout.height, ...layout.legend }; // above the titles of the parts
      layout.margin = { ...layout.margin, t: 84 };
    }
    return width >= NARROW ? layout : { ...layout, legend: { ...layout.legend, font: { size: 11 } }, font: { ...layout.font, size: 11 } };
  }

  function draw(canvas) {
    if (drawn.has(canvas) || !canvas.isConnected) return;
    const figure = JSON.parse(canvas.parentElement.querySelector("script").textContent);
    if (figure.data.some((trace) => GRAPHICS_ONLY.includes(trace.type)) && !hasWebgl()) {
      tell(canvas, "This browser has no WebGL, which the figure needs; what it shows stands below.");
      return;
    }
    drawn.add(canvas);
    const height = Number(canvas.dataset.height);
    const layout = fitting({ ...figure.layout, height, autosize: true, template: template(dark.matches) }, canvas.clientWidth);
    delete layout.width;
    if (touch.matches) layout.dragmode = false; // a finger on a figure scrolls the page
    const narrow = touch.matches || canvas.clientWidth < NARROW; // the buttons would lie on the legend
    Plotly.newPlot(canvas, figure.data.map(drawable), layout, { ...CONFIG, displayModeBar: narrow ? false : "hover" });
  }

  function recolour() {
    for (const canvas of drawn) Plotly.relayout(canvas, { template: template(dark.matches) });
  }

  const canvases = [...document.querySelectorAll(".canvas")];
  const watcher = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (entry.isIntersecting) {
        watcher.unobserve(entry.target);
        draw(entry.target);
      }
    }
  }, { rootMargin: "500px 0px" });
  for (const canvas of canvases) watcher.observe(canvas);
  dark.addEventListener("change", recolour);

  // Paper is light and of one width, and what was not scrolled to is on it too.
  const opened = new Set();
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details:not([open])")) {
      if (details.querySelector("pre, img")) continue;
      details.open = true;
      opened.add(details);
    }
    for (const canvas of canvases) draw(canvas);
    for (const canvas of drawn) {
      Plotly.relayout(canvas, { template: template(false), width: Math.min(PRINT_WIDTH, canvas.clientWidth || PRINT_WIDTH) });
    }
  });
  addEventListener("afterprint", () => {
    for (const details of opened) details.open = false;
    opened.clear();
    for (const canvas of drawn) Plotly.relayout(canvas, { template: template(dark.matches), width: null, autosize: true });
  });
})();
