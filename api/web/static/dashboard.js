"use strict";
// Draws each chart from its table, and keeps the figures those of now. Without this script the tables stand for themselves.

(() => {
  const EVERY = 1000; // milliseconds between two looks; an order is seen within two seconds
  const LONGEST = 30000; // between two looks while the server cannot be reached
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const figures = document.getElementById("figures");
  const pulse = document.querySelector(".pulse");
  let printing = false;

  // Drawing

  const plain = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");

  function colour(name) {
    const paper = { ink: "#000000", soft: "#444444", grid: "#dddddd", accent: "#1f6f5c", bar: "#4f9783", second: "#a8843a", before: "#000000", surface: "#ffffff" };
    return printing ? paper[name] : getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
  }

  function read(table) {
    const rows = [...table.tBodies[0].rows].map((row) => [...row.cells]);
    const labels = rows.map((cells) => plain(cells[0].dataset.short || cells[0].textContent.trim()));
    const names = rows.map((cells) => plain(cells[0].textContent.trim()));
    const heads = [...table.tHead.rows[0].cells].slice(1);
    return heads.map((head, index) => {
      const cells = rows.map((row) => row[index + 1]);
      return {
        name: plain(head.textContent.trim()),
        shape: head.dataset.shape,
        labels,
        names,
        numbers: cells.map((cell) => (cell.dataset.number === "" ? null : Number(cell.dataset.number))),
        texts: cells.map((cell) => plain(cell.textContent.trim())),
      };
    }).filter((series) => series.shape !== "told");
  }

  function trace(series, across, number) {
    const isBar = series.shape === "bar";
    const drawn = {
      name: series.name,
      type: isBar ? "bar" : "scatter",
      [across ? "y" : "x"]: series.labels.map((_, index) => index),
      [across ? "x" : "y"]: series.numbers,
      orientation: across ? "h" : "v",
      text: series.names,
      textposition: "none",
      customdata: series.texts,
      hovertemplate: "%{text}: %{customdata}<extra>%{fullData.name}</extra>",
    };
    if (isBar) {
      drawn.marker = { color: colour(number === 0 ? "bar" : "second"), line: { width: 0 } };
    } else {
      drawn.mode = "lines";
      drawn.line = { color: colour(series.shape === "dotted" ? "before" : "accent"), width: 2, dash: series.shape === "dotted" ? "dot" : "solid" };
    }
    return drawn;
  }

  // Which labels fit beside each other.
  function ticks(labels, width) {
    const room = Math.max(2, Math.floor(width / (7 * Math.max(...labels.map((label) => label.length)) + 20)));
    const step = Math.max(1, Math.ceil(labels.length / room));
    const at = labels.map((_, index) => index).filter((index) => index % step === 0);
    return { tickmode: "array", tickvals: at, ticktext: at.map((index) => labels[index]) };
  }

  // Names beside bars leave at least half of the width to these.
  function shorten(labels, width) {
    const room = Math.max(10, Math.floor(width * 0.4 / 6.5));
    return labels.map((label) => (label.length > room ? `${label.slice(0, room - 1).trimEnd()}…` : label));
  }

  function scale(numbers) {
    const most = Math.max(0, ...numbers.map((number) => Math.abs(number ?? 0)));
    const whole = numbers.every((number) => number === null || Number.isInteger(number));
    if (whole && most < 5) return { tickformat: "d", dtick: 1, range: [0, Math.max(1, most) * 1.1] };
    return { tickformat: most >= 10000 ? "~s" : most < 5 ? ",.2f" : ",d" };
  }

  function draw(chart) {
    const place = chart.querySelector(".drawing");
    const table = chart.querySelector("table");
    const series = read(table);
    const across = "across" in table.dataset;
    const isStacked = "stacked" in table.dataset;
    const numbers = isStacked ? series[0].numbers.map((_, row) => series.reduce((sum, one) => sum + one.numbers[row], 0)) : series.flatMap((one) => one.numbers);
    const quiet = { fixedrange: true, zeroline: false, linecolor: colour("grid"), tickcolor: colour("grid"), gridcolor: colour("grid") };
    const names = { ...quiet, showgrid: false, ...(across ? { automargin: true } : {}) };
    names[across ? "autorange" : "range"] = across ? "reversed" : [-0.6, series[0].labels.length - 0.4];
    Object.assign(names, across
      ? { tickmode: "array", tickvals: series[0].labels.map((_, index) => index), ticktext: shorten(series[0].labels, place.clientWidth) }
      : { ...ticks(series[0].labels, place.clientWidth - 60), tickangle: 0 });
    const amounts = { ...quiet, zeroline: true, zerolinecolor: colour("soft"), zerolinewidth: 1, automargin: true, tickprefix: table.dataset.prefix, nticks: across ? Math.max(2, Math.floor((place.clientWidth - 140) / 70)) : 6, tickangle: 0, rangemode: "tozero", ...scale(numbers) };
    const layout = {
      width: place.clientWidth,
      height: place.clientHeight,
      margin: { l: 8, r: 8, t: series.length > 1 ? 32 : 8, b: 28 },
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12, color: colour("soft") },
      bargap: 0.25,
      barmode: isStacked ? "stack" : "group",
      dragmode: false,
      hovermode: across ? "y" : "x",
      hoverlabel: { bgcolor: colour("surface"), bordercolor: colour("grid"), font: { color: colour("ink") } },
      showlegend: series.length > 1,
      legend: { orientation: "h", x: 0, y: 1, yanchor: "bottom", traceorder: "normal", itemclick: false, itemdoubleclick: false },
      [across ? "yaxis" : "xaxis"]: names,
      [across ? "xaxis" : "yaxis"]: amounts,
    };
    const config = { displayModeBar: false, responsive: false, doubleClick: false, showTips: false };
    place.setAttribute("aria-label", table.dataset.summary);
    return Plotly.react(place, series.map((one, number) => trace(one, across, number)), layout, config)
      .then(() => place.removeAttribute("aria-busy"))
      .catch(() => fail(place));
  }

  function fail(place) {
    place.removeAttribute("aria-busy");
    place.removeAttribute("role");
    const words = document.createElement("p");
    words.className = "failed";
    words.textContent = "The chart could not be drawn. Its figures are in the table below.";
    place.replaceChildren(words);
    place.closest(".chart").querySelector("details").open = true;
  }

  function drawAll() {
    for (const chart of document.querySelectorAll(".chart:has(.drawing)")) {
      if (window.Plotly) draw(chart);
      else fail(chart.querySelector(".drawing"));
    }
  }

  let width = 0;
  let resizing = 0;
  new ResizeObserver(() => {
    if (document.body.clientWidth === width) return;
    width = document.body.clientWidth;
    clearTimeout(resizing);
    resizing = setTimeout(drawAll, 100);
  }).observe(document.body);
  dark.addEventListener("change", drawAll);
  addEventListener("beforeprint", () => { printing = true; drawAll(); });
  addEventListener("afterprint", () => { printing = false; drawAll(); });
  document.querySelector("[data-print]")?.addEventListener("click", () => print());

  // Following

  const live = (root) => new Map([...root.querySelectorAll("[data-live]")].map((part) => [part.dataset.live, part]));
  let tag = null;
  let pause = EVERY;
  let timer = 0;
  let last = new Date();

  const clock = (moment) => moment.toLocaleTimeString("en-GB");

  function say(state, words) {
    if (pulse === null) return;
    pulse.dataset.state = state;
    if (pulse.textContent !== words) pulse.textContent = words;
  }

  function take(html) {
    const fresh = live(new DOMParser().parseFromString(`<main>${html}</main>`, "text/html"));
    const here = live(figures);
    const isSame = fresh.size === here.size && [...fresh.keys()].every((key) => here.has(key));
    if (!isSame) {
      for (const place of figures.querySelectorAll(".drawing")) Plotly.purge(place);
      figures.replaceChildren(...new DOMParser().parseFromString(html, "text/html").body.childNodes);
      drawAll();
    } else {
      for (const [key, part] of fresh) {
        const old = here.get(key);
        if (old.isEqualNode(part)) continue;
        old.replaceWith(document.adoptNode(part));
        const chart = part.closest(".chart");
        if (chart !== null) draw(chart);
      }
    }
  }

  async function look() {
    clearTimeout(timer);
    if (document.hidden) return;
    try {
      const answer = await fetch(figures.dataset.part, {
        credentials: "same-origin", cache: "no-store", headers: tag === null ? {} : { "If-None-Match": tag },
        signal: AbortSignal.timeout(10000),
      });
      if (answer.status === 401 || answer.status === 403) {
        over();
        return;
      }
      if (answer.status !== 200 && answer.status !== 304) throw new Error(`status ${answer.status}`);
      if (answer.status === 200) {
        const isFirst = tag === null;
        take(await answer.text());
        tag = answer.headers.get("ETag");
        last = new Date();
        say("live", isFirst ? pulse?.dataset.follows : `Moved at ${clock(last)}`);
      } else if (pulse?.dataset.state !== "live") {
        say("live", pulse?.dataset.follows);
      }
      pause = EVERY;
    } catch {
      say("stale", `Not reached; figures of ${clock(last)}`);
      pause = Math.min(pause * 2, LONGEST);
    }
    timer = setTimeout(look, pause);
  }

  function over() {
    say("over", "No longer following");
    const parted = document.getElementById("parted");
    const again = document.createElement("a");
    again.href = location.href;
    again.textContent = "Sign in again";
    parted.replaceChildren("You are signed out: these figures do not move any more. ", again);
    parted.hidden = false;
  }

  document.addEventListener("visibilitychange", () => { if (!document.hidden && figures?.dataset.part) look(); });
  if (figures?.dataset.part) look();
})();
