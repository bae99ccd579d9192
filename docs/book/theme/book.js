// The search: index.js has all sections of the book, and is loaded when somebody wants to search. A page that was opened from
// a disk may load a script, but no other file; so the index is one.
(function () {
	"use strict";
	var field = document.getElementById("search"), found = document.getElementById("found"), docs = null, base = field.dataset.base;

	window.searchIndex = function (index) {
		docs = index.docs.map(function (d) {
			return { url: d.location, title: d.title, text: d.text, lower: (d.title + "\n" + d.text).toLowerCase(), head: d.title.toLowerCase() };
		});
		show();
	};
	function load() {
		var script = document.createElement("script");
		script.src = base + "/index.js";
		document.body.appendChild(script);
		field.removeEventListener("focus", load);
	}
	function element(tag, text, parent) {
		var e = document.createElement(tag);
		e.textContent = text;
		parent.appendChild(e);
		return e;
	}
	function show() {
		var words = field.value.toLowerCase().split(/\s+/).filter(Boolean), hits;
		found.hidden = words.length === 0 || !docs;
		if (found.hidden) { return; }
		hits = docs.filter(function (d) { return words.every(function (w) { return d.lower.indexOf(w) >= 0; }); });
		// Sections that are called so come first, then those where the words come up more often for their length.
		hits.forEach(function (d) {
			d.rank = words.reduce(function (sum, w) {
				return sum + (d.head === w ? 100 : d.head.indexOf(w) >= 0 ? 20 : 0) + (d.lower.split(w).length - 1) / Math.sqrt(200 + d.lower.length);
			}, 0);
		});
		hits.sort(function (a, b) { return b.rank - a.rank; });
		found.textContent = "";
		if (hits.length === 0) { element("p", "Nothing was found.", found); }
		hits.slice(0, 20).forEach(function (d) {
			var p = element("p", "", found), a = element("a", d.title, p), at = Math.max(0, d.text.toLowerCase().indexOf(words[0]) - 50);
			a.href = base + "/" + d.url;
			a.addEventListener("click", function () { found.hidden = true; });
			element("small", (at > 0 ? "… " : "") + d.text.slice(at, at + 150).replace(/\s+/g, " ") + " …", p);
		});
	}
	field.addEventListener("focus", load);
	field.addEventListener("input", show);
	document.addEventListener("keydown", function (e) {
		if (e.key === "Escape") { found.hidden = true; }
		if (e.key === "/" && document.activeElement !== field) { e.preventDefault(); field.focus(); }
	});
	document.querySelectorAll("nav a").forEach(function (a) {
		a.addEventListener("click", function () { document.getElementById("menu").checked = false; });
	});
	var current = document.querySelector("nav [aria-current]");
	if (current && current.offsetTop > window.innerHeight - 120) { document.querySelector("nav").scrollTop = current.offsetTop - 120; }
})();
