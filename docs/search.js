// The ranking of search results: pages before members of classes, how-to pages before reference.

const FOLDERS = { tutorial: 6, "how-to": 6, explanation: 4, reference: 0 };

var Scorer = {
  score: ([page, title, , , score, , kind]) => {
    if (kind !== "object") return score + (FOLDERS[page.split("/")[0]] ?? 0);
    // Dozens of classes have a member of a name such as "lag", which would hide the pages.
    if (/\.[A-Z]\w*\.\w+$/.test(title)) score -= 15;
    // The twin without "Async" comes first.
    return /\.Async[A-Z]/.test(title) ? score - 1 : score;
  },
  // The numbers of Sphinx.
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
