"use strict";
// Asks for the page's own status.json, and changes in the document what changed. Texts become text nodes and nothing else.
(() => {
  const every = 2000; // milliseconds between an answer and the next question
  const patience = 10000; // milliseconds for an answer
  const element = (id) => document.getElementById(id);
  const pause = element("pause");
  let timer = 0;
  let asking = false;
  let isPaused = false;
  let isLost = false;

  function made(name, text) {
    const element = document.createElement(name);
    element.textContent = text;
    return element;
  }

  function inside(cell) {
    const main = made(cell.link ? "a" : "span", cell.text);
    if (cell.title) main.title = cell.title;
    if (cell.tone && !cell.link) main.className = cell.tone;
    if (cell.link && /^https?:\/\//.test(cell.link)) {
      main.href = cell.link;
      main.target = "_blank";
      main.rel = "noopener noreferrer";
    }
    return cell.note && !cell.link ? [main, made("small", ` ${cell.note}`)] : [main];
  }

  // What is equal stays as it is: a selection, the focus and the place on the page with it.
  function put(parent, cell) {
    const wanted = inside(cell);
    const isShown =
      parent.childNodes.length === wanted.length && wanted.every((node, at) => node.isEqualNode(parent.childNodes[at]));
    if (!isShown) parent.replaceChildren(...wanted);
  }

  function newRow(key, labels) {
    const row = document.createElement("tr");
    row.setAttribute("role", "row");
    row.dataset.key = key;
    for (const label of labels) {
      const cell = document.createElement("td");
      cell.setAttribute("role", "cell");
      cell.dataset.label = label;
      row.append(cell);
    }
    return row;
  }

  function showTable(name, rows) {
    const section = element(name);
    const body = section.querySelector("tbody");
    const labels = Array.from(section.querySelectorAll("th"), (head) => head.textContent);
    const known = new Map(Array.from(body.rows, (row) => [row.dataset.key, row]));
    const wanted = new Set(rows.map((row) => row.key));
    for (const [key, row] of known) if (!wanted.has(key)) row.remove();
    let next = body.firstElementChild;
    for (const row of rows) {
      const shown = known.get(row.key) ?? newRow(row.key, labels);
      if (shown === next) next = next.nextElementSibling;
      else body.insertBefore(shown, next);
      row.cells.forEach((cell, index) => put(shown.cells[index], cell));
    }
    section.querySelector(".empty").hidden = rows.length > 0;
    section.querySelector(".scroll").hidden = rows.length === 0;
  }

  function show(view) {
    if (view.page !== document.documentElement.dataset.page) {
      location.reload(); // another release answers
      return;
    }
    const before = element("state").textContent;
    put(element("state"), view.state);
    document.title = `${view.state.text} · Connectors`;
    element("updated").textContent = view.updated;
    const facts = element("facts").querySelectorAll("dd");
    view.facts.forEach(([, cell], index) => put(facts[index], cell));
    for (const [name, rows] of Object.entries(view.tables)) showTable(name, rows);
    if (isLost) tell("");
    else if (word(before) !== word(view.state.text)) tell(`The server is ${view.state.text}.`);
    isLost = false;
    document.body.classList.remove("lost");
  }

  // "degraded: … for 12 s" is said aloud once, and not at each second.
  function word(state) {
    return state.split(":")[0];
  }

  function tell(text) {
    element("notice").textContent = text;
  }

  function lost() {
    if (!isLost) tell(`The server does not answer; what stands here is of ${element("updated").textContent}.`);
    isLost = true;
    document.body.classList.add("lost");
  }

  async function ask() {
    if (asking) return;
    asking = true;
    try {
      const answer = await fetch("status.json", { cache: "no-store", signal: AbortSignal.timeout(patience) });
      if (!answer.ok) throw new Error(answer.statusText);
      show(await answer.json());
    } catch {
      lost();
    } finally {
      asking = false;
      schedule(every);
    }
  }

  function schedule(wait) {
    clearTimeout(timer);
    if (!document.hidden && !isPaused) timer = setTimeout(ask, wait);
  }

  pause.addEventListener("click", () => {
    isPaused = !isPaused;
    pause.setAttribute("aria-pressed", String(isPaused));
    schedule(0);
  });
  document.addEventListener("visibilitychange", () => schedule(0));
  pause.hidden = false;
  schedule(every);
})();
