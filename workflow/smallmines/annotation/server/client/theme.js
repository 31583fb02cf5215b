// Light or dark, before anything is drawn: what the person chose, else what the system prefers. The colours hang on `data-theme`.

(() => {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const chosen = localStorage.getItem("theme");
    document.documentElement.dataset.theme = chosen === "dark" || chosen === "light" ? chosen : system.matches ? "dark" : "light";
  };
  show();
  system.addEventListener("change", show);
  addEventListener("storage", show); // the switch of another tab
})();
