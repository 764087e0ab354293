// Puts every <time> in the reader's own zone and manner: "today 14:02", else the date. A bare date has no zone.
(function () {
  "use strict";
  const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
  const clockToTheSecond = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit", second: "2-digit" });
  const day = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
  const today = new Intl.RelativeTimeFormat(undefined, { numeric: "auto" }).format(0, "day");
  const dayAndYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", year: "numeric" });

  function said(moment, toTheSecond) {
    const now = new Date();
    const hour = (toTheSecond ? clockToTheSecond : clock).format(moment);
    if (moment.toDateString() === now.toDateString()) return today + " " + hour;
    const sameYear = moment.getFullYear() === now.getFullYear();
    return (sameYear ? day : dayAndYear).format(moment) + ", " + hour;
  }

  function localise(root) {
    for (const time of root.querySelectorAll("time[datetime*='T']")) {
      const moment = new Date(time.dateTime);
      if (isNaN(moment)) continue;
      time.title = moment.toString();
      time.textContent = said(moment, "seconds" in time.dataset);
    }
    for (const time of root.querySelectorAll("time[datetime]:not([datetime*='T'])")) {
      const noon = new Date(time.dateTime + "T12:00");
      if (!isNaN(noon)) time.textContent = dayAndYear.format(noon);
    }
  }

  localise(document);
  document.addEventListener("htmx:load", (event) => localise(event.target));
})();
