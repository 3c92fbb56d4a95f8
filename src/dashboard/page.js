// Keeps what is looked at fresh, and shows times as they are here. The page does without it.
"use strict";
(() => {
  const EVERY = 3000;
  const spoken = document.getElementById("spoken");

  const two = (number) => String(number).padStart(2, "0");
  const zone = (at) =>
    new Intl.DateTimeFormat("en", { timeZoneName: "short" }).formatToParts(at).find((part) => part.type === "timeZoneName")?.value ?? "";

  const local = (root) => {
    for (const time of root.querySelectorAll("time[datetime]")) {
      const at = new Date(time.dateTime);
      if (!Number.isNaN(at.getTime())) {
        time.textContent = `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} `
          + `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())} ${zone(at)}`.trimEnd();
      }
    }
  };

  const word = (root) => root.querySelector("[data-spoken]")?.textContent ?? "";

  const refresh = async (part) => {
    if (document.hidden || part.contains(document.activeElement)) return;
    let text;
    try {
      const answer = await fetch(part.dataset.live, { cache: "no-store" });
      if (!answer.ok) return location.reload();
      text = await answer.text();
    } catch {
      if (!document.body.classList.contains("gone")) {
        document.body.classList.add("gone");
        spoken.textContent = "llmtor does not answer any more. It may have been stopped.";
      }
      return;
    }
    document.body.classList.remove("gone");
    if (text === part.dataset.last) return;
    const before = word(part);
    part.dataset.last = text;
    part.replaceChildren(...new DOMParser().parseFromString(text, "text/html").body.childNodes);
    local(part);
    if (word(part) !== before) spoken.textContent = word(part);
  };

  local(document);
  for (const part of document.querySelectorAll("[data-live]")) setInterval(refresh, EVERY, part);
  if (document.querySelector("[data-again]")) setTimeout(() => location.reload(), 700);
})();
