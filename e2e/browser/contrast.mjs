// Whether text can be read: its contrast with what is behind it (WCAG 2.2, 1.4.3).

// tooFaint lists what of a page has less than 4.5:1, with the colours. Text that is
// large enough for 3:1 is held to the same.
export function tooFaint(page) {
  return page.evaluate(() => {
    const ink = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
    const seen = new Map();
    // Colours come as rgb(), color-mix() and more; a painted pixel says what they are.
    const painted = (colour) => {
      if (!seen.has(colour)) {
        ink.clearRect(0, 0, 1, 1);
        ink.fillStyle = colour;
        ink.fillRect(0, 0, 1, 1);
        const [r, g, b, a] = ink.getImageData(0, 0, 1, 1).data;
        seen.set(colour, [r, g, b, a / 255]);
      }
      return seen.get(colour);
    };
    const over = ([r, g, b, a], [R, G, B]) => [r * a + R * (1 - a), g * a + G * (1 - a), b * a + B * (1 - a), 1];
    const behind = (element) => {
      const layers = [];
      for (let e = element; e; e = e.parentElement) {
        const layer = painted(getComputedStyle(e).backgroundColor);
        layers.push(layer);
        if (layer[3] === 1) break;
      }
      return layers.reduceRight((below, layer) => over(layer, below), [255, 255, 255, 1]);
    };
    const opacity = (element) => {
      let all = 1;
      for (let e = element; e; e = e.parentElement) all *= Number(getComputedStyle(e).opacity);
      return all;
    };
    const luminance = (colour) => {
      const [r, g, b] = colour.slice(0, 3).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
      return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const faint = [];
    const judge = (element, colour, what) => {
      // What cannot be used has no contrast to keep.
      if (element.closest(":disabled") || !element.checkVisibility({ visibilityProperty: true })) return;
      const ground = behind(element);
      const [r, g, b, a] = painted(colour);
      const text = over([r, g, b, a * opacity(element)], ground);
      const [light, dark] = [luminance(text), luminance(ground)].sort((x, y) => y - x);
      const ratio = (light + 0.05) / (dark + 0.05);
      if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${what.trim().slice(0, 40)} (${text.slice(0, 3).map(Math.round)} on ${ground.slice(0, 3).map(Math.round)}, ${element.tagName.toLowerCase()}.${element.className})`);
    };
    const range = document.createRange();
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (node.data.trim() === "") continue;
      range.selectNodeContents(node);
      const box = range.getBoundingClientRect();
      // Text for screen readers alone is a pixel large.
      if (box.width <= 1 || box.height <= 1 || node.parentElement.closest(".unseen")) continue;
      judge(node.parentElement, getComputedStyle(node.parentElement).color, node.data);
    }
    for (const field of document.querySelectorAll("input, select, textarea")) {
      if (field.classList.contains("unseen") || ["checkbox", "file"].includes(field.type)) continue;
      if (field.value) judge(field, getComputedStyle(field).color, field.value);
      else if (field.placeholder) judge(field, getComputedStyle(field, "::placeholder").color, field.placeholder);
    }
    return faint;
  });
}
