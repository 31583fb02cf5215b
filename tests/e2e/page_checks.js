// Evaluated in the page with the name of a check: `unreachable` or `contrasts`. Both look at the open dialog, else at the whole page.
(check) => {
  const scope = document.querySelector("dialog[open]") ?? document;
  const isSeen = (element) =>
    element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) && element.getClientRects().length > 0;
  const named = (element) => {
    const text = (element.textContent || element.ariaLabel || "").trim().slice(0, 30);
    return `${element.tagName.toLowerCase()}#${element.id} ${text}`;
  };

  // What is wrong with the place of controls: outside the window, covered, or a part of the page that scrolls sideways.
  const unreachable = () => {
    const problems = [];
    for (const control of scope.querySelectorAll("button, input, select, textarea, a:not(.skip), summary")) {
      if (!isSeen(control)) continue;
      control.scrollIntoView({ block: "nearest", inline: "nearest" });
      const { left, top, right, bottom } = control.getClientRects()[0];
      if (left < -0.5 || top < -0.5 || right > innerWidth + 0.5 || bottom > innerHeight + 0.5) {
        problems.push(`${named(control)} lies outside: ${[left, top, right, bottom].map(Math.round)}`);
        continue;
      }
      const [x, y] = [(left + right) / 2, (top + bottom) / 2];
      for (const place of [[x, y], [left + 3, y], [right - 3, y], [x, top + 3], [x, bottom - 3]]) {
        const there = document.elementFromPoint(...place);
        if (there === control || control.contains(there)) continue;
        problems.push(`${named(control)} is covered by ${there ? named(there) : "nothing"}`);
        break;
      }
    }
    for (const part of [document.documentElement, ...document.querySelectorAll(".left, .right, .toolbar, dialog, .card")]) {
      if (!isSeen(part) || part.scrollWidth <= part.clientWidth + 1) continue;
      problems.push(`${part.tagName}.${part.className} scrolls sideways: ${part.scrollWidth} > ${part.clientWidth}`);
    }
    for (const part of document.querySelectorAll("*")) if (part.scrollTop) part.scrollTop = 0;
    return problems;
  };

  // Contrast (WCAG 2) and name of every text and placeholder; of those over a map, the lower of that before black and before white.
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const rgba = (colour) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = canvas.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  };
  const over = ([red, green, blue, alpha], ground) => [red, green, blue].map((value, at) => value * alpha + ground[at] * (1 - alpha));
  const luminance = (colour) => {
    const [red, green, blue] = colour
      .map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const lineage = (element) => (element ? [...lineage(element.parentElement), element] : []);
  const ground = (element, image) => {
    let colour = [255, 255, 255];
    for (const part of lineage(element)) {
      colour = part.matches(".pane") ? image : over(rgba(getComputedStyle(part).backgroundColor), colour);
    }
    return colour;
  };
  const before = (image, element, colour, opacity) => {
    const behind = ground(element, image);
    const [red, green, blue, alpha] = rgba(colour);
    const text = over([red, green, blue, alpha * opacity], behind);
    const [light, dark] = [luminance(text), luminance(behind)].sort((one, other) => other - one);
    return (light + 0.05) / (dark + 0.05);
  };
  const contrast = (...what) => Math.min(before([0, 0, 0], ...what), before([255, 255, 255], ...what));
  const contrasts = () => {
    const found = [];
    for (const element of scope.querySelectorAll("*")) {
      const texts = [...element.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.trim());
      if (!texts && !element.matches("input, select, textarea")) continue;
      if (!isSeen(element) || element.closest(":disabled, option, datalist, .skip, script, style, svg")) continue;
      const opacity = lineage(element).reduce((product, part) => product * Number(getComputedStyle(part).opacity), 1);
      found.push([contrast(element, getComputedStyle(element).color, opacity), named(element)]);
      if (!element.placeholder) continue;
      const { color, opacity: own } = getComputedStyle(element, "::placeholder");
      found.push([contrast(element, color, opacity * Number(own)), `placeholder of ${named(element)}`]);
    }
    return found;
  };

  return check === "unreachable" ? unreachable() : contrasts();
};
