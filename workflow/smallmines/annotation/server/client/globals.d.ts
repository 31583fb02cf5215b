// vendor/ol.js is a script that makes one global object.
import type Ol from "ol/dist/ol";

declare global {
  const ol: typeof Ol;
}
