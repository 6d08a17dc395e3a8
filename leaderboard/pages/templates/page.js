// Tables that sort and filter, and buttons that copy. Without this script the page says the same.
"use strict";
(function () {
  function make(tag, properties, ...children) {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  }

  // What a cell is sorted by: its number, else its text.
  function key(row, index) {
    const cell = row.cells[index];
    if (cell.dataset.sort !== undefined) return Number(cell.dataset.sort);
    return cell.textContent.trim().toLowerCase();
  }

  function compare(a, b) {
    const numbers = (typeof a === "number") - (typeof b === "number");
    if (numbers) return { last: numbers < 0 ? 1 : -1 }; // cells without a number stand last, whatever the direction
    return typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true });
  }

  function enhance(table) {
    const heads = [...table.tHead.rows[0].cells];
    const bodies = [...table.tBodies];
    const groups = bodies.map((body) => ({ body, rows: [...body.rows].filter((row) => !row.classList.contains("group")) }));
    const rows = groups.flatMap((group) => group.rows);
    const flat = make("tbody", { hidden: true });
    const status = make("p", { className: "status" });
    status.setAttribute("role", "status");
    table.append(flat);

    function sort(index, direction) {
      heads.forEach((head) => head.removeAttribute("aria-sort"));
      if (!direction) {
        groups.forEach((group) => group.body.append(...group.rows));
      } else {
        heads[index].setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
        const keyed = rows.map((row) => [key(row, index), row]);
        keyed.sort(([a], [b]) => {
          const order = compare(a, b);
          return typeof order === "object" ? order.last : direction * order;
        });
        flat.append(...keyed.map(([, row]) => row));
      }
      flat.hidden = !direction;
      bodies.forEach((body) => (body.hidden = Boolean(direction)));
      table.classList.toggle("sorted", Boolean(direction));
    }

    heads.forEach((head, index) => {
      const button = make("button", { type: "button" }, ...head.childNodes);
      const numeric = head.classList.contains("number");
      button.addEventListener("click", () => {
        const now = { ascending: 1, descending: -1 }[head.getAttribute("aria-sort")] || 0;
        const first = numeric ? -1 : 1;
        const next = now === 0 ? first : now === first ? -first : 0;
        sort(index, next);
        const how = next ? `sorted by ${head.textContent.trim()}, ${next > 0 ? "ascending" : "descending"}` : "in the first order";
        status.textContent = `Rows ${how}.`;
      });
      head.append(button);
    });

    const wanted = (table.dataset.filters || "").trim();
    const controls = wanted ? wanted.split(/\s+/).map((index, place) => control(Number(index), place === 0)) : [];

    function control(index, text) {
      const name = heads[index].textContent.trim();
      const label = make("label", {}, `${name} `);
      if (text) {
        label.append(make("input", { type: "search", placeholder: "any", autocomplete: "off", spellcheck: false }));
      } else {
        const choices = [...new Set(rows.map((row) => row.cells[index].textContent.trim()))];
        label.append(make("select", {}, new Option("any", ""), ...choices.map((each) => new Option(each, each))));
      }
      const field = label.lastElementChild;
      field.addEventListener("input", filter);
      const accepts = (row) => {
        const value = field.value.trim();
        const shown = row.cells[index].textContent.trim();
        return !value || (text ? shown.toLowerCase().includes(value.toLowerCase()) : shown === value);
      };
      return { label, accepts };
    }

    function filter() {
      rows.forEach((row) => (row.hidden = !controls.every((each) => each.accepts(row))));
      for (const group of groups) {
        const heading = group.body.querySelector(":scope > .group");
        if (heading) heading.hidden = group.rows.every((row) => row.hidden);
      }
      status.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows shown.`;
    }

    const bar = make("div", { className: "filters" }, ...controls.map((each) => each.label), status);
    table.closest(".table").prepend(bar);
  }

  function copyable(block) {
    const button = make("button", { type: "button", className: "copy" }, "Copy");
    const said = make("span", { className: "visually-hidden" });
    said.setAttribute("role", "status");
    const code = block.querySelector("code");
    button.addEventListener("click", async () => {
      let done = true;
      try {
        await navigator.clipboard.writeText(code.textContent);
      } catch {
        getSelection().selectAllChildren(code); // what is selected can be copied by hand, if not by us
        done = document.execCommand("copy");
      }
      button.textContent = said.textContent = done ? "Copied" : "Selected";
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
    block.before(make("div", { className: "copyable" }, button, said));
    block.previousElementSibling.append(block);
  }

  document.querySelectorAll("table.sortable").forEach(enhance);
  document.querySelectorAll("pre[data-copy]").forEach(copyable);
})();
