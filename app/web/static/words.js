// What the other scripts say, in the reader's language. English stands in them; for another language the page brings
// `translated` before this script: what is said for each message, and which of its forms goes with a number.
(function () {
  "use strict";
  const { said, form } = window.translated || { said: {}, form: (count) => Number(count !== 1) };

  function filled(text, values) {
    return text.replace(/%(?:\((\w+)\)s|%)/g, (whole, name) => (name ? values[name] : "%"));
  }

  window.words = {
    gettext: (message, values = {}) => filled(said[message] || message, values),
    ngettext(one, many, count, values = {}) {
      const forms = said[one];
      const chosen = forms ? forms[form(count)] : count === 1 ? one : many;
      return filled(chosen, { num: count, ...values });
    },
  };
})();
