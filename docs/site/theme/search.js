// Sections with every word that was typed, those with the words in their heading first. Works from a folder.
(function () {
  "use strict";
  var top = document.currentScript.dataset.top.replace(/\/?$/, "/");
  var form = document.getElementById("search"), box = document.getElementById("words");
  var list = document.getElementById("found");
  form.hidden = false;
  form.addEventListener("submit", function (event) { event.preventDefault(); });
  function rank(section, words) {
    var heading = section[1].toLowerCase(), text = section[2].toLowerCase(), sum = 0;
    for (var i = 0; i < words.length; i++) {
      var times = text.split(words[i]).length - 1 + (heading.includes(words[i]) ? 20 : 0);
      if (!times) { return 0; }
      sum += Math.min(times, 25);
    }
    return sum;
  }
  box.addEventListener("input", function () {
    var words = box.value.toLowerCase().split(/\s+/).filter(Boolean);
    list.textContent = "";
    if (!words.length || box.value.trim().length < 2) { return; }
    var hits = SECTIONS.map(function (section) { return [rank(section, words), section]; })
      .filter(function (hit) { return hit[0]; })
      .sort(function (a, b) { return b[0] - a[0]; });
    var said = document.createElement("p");
    said.textContent = hits.length ? hits.length + (hits.length > 1 ? " sections" : " section") : "Nothing was found.";
    list.appendChild(said);
    var shown = document.createElement("ul");
    hits.slice(0, 12).forEach(function (hit) {
      var item = document.createElement("li"), link = document.createElement("a");
      link.href = top + hit[1][0];
      link.textContent = hit[1][1];
      item.appendChild(link);
      shown.appendChild(item);
    });
    if (hits.length) { list.appendChild(shown); }
  });
})();
