// The language: what the scripts say, in that of the page.
//
// A sentence is whole, and where something comes from outside it says %(name)s: other languages put
// it elsewhere. Its translation is in Django's catalogue, a script before this one; English has none.

const translate = globalThis.django?.gettext ?? ((text) => text);

/** Return a text in the language of the page, with the values of its `%(names)s`. */
export const gettext = (text, values = {}) => gettextNodes(text, values).join("");

/** Return the same as what an element takes, piece by piece: values may be elements, too. */
export const gettextNodes = (text, values) =>
  translate(text).split(/%\((\w+)\)s/).map((piece, at) => (at % 2 ? values[piece] : piece));
