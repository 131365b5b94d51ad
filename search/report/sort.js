for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  Array.from(table.tHead.rows[0].cells).forEach((head, column) => {
    const button = document.createElement("button");
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const text = row => row.cells[column].textContent.trim();
      const number = row => head.className === "text" ? NaN : parseFloat(text(row));
      const compare = (a, b) => {
        const x = number(a), y = number(b), none = Number.isNaN(x) - Number.isNaN(y);
        if (none) return none;
        const order = Number.isNaN(x) ? text(a).localeCompare(text(b)) : x - y;
        return down ? -order : order;
      };
      body.append(...Array.from(body.rows).sort(compare));
    });
  });
}
