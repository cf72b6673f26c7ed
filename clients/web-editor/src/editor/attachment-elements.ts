/**
 * What stands behind an attachment's address. Names are only ever text and attributes, and addresses are those of this
 * server, which `parseAttachmentAddress` has seen to.
 */

/** How high pictures were, by address, so that the text does not jump when they come back into view. */
const heightsPx = new Map<string, number>();
const HEIGHTS_MAX = 500;

/** A file to download. */
export function chip(address: string, name: string): HTMLAnchorElement {
  const link = anchor(address, "cm-attachment-chip", `Download ${name}`);
  link.download = name;
  const icon = document.createElement("span");
  icon.textContent = "⤓";
  icon.setAttribute("aria-hidden", "true");
  const label = document.createElement("span");
  label.textContent = name;
  link.append(icon, label);
  return link;
}

/** A picture, small, that opens in a tab of its own. */
export function thumbnail(address: string, name: string, resized: () => void, failed: () => void): HTMLAnchorElement {
  const link = anchor(address, "cm-attachment-thumbnail", `Open ${name} in a new tab`);
  link.target = "_blank";
  link.rel = "noopener noreferrer";
  const image = document.createElement("img");
  image.alt = name;
  image.loading = "lazy";
  image.decoding = "async";
  image.style.height = `${heightsPx.get(address) ?? 0}px`;
  image.addEventListener("load", () => {
    image.style.removeProperty("height");
    remember(address, image.clientHeight);
    resized();
  });
  image.addEventListener("error", failed);
  image.src = address;
  link.append(image);
  return link;
}

function anchor(address: string, className: string, title: string): HTMLAnchorElement {
  const link = document.createElement("a");
  link.className = className;
  link.href = address;
  link.title = title;
  // Dragged within the text it would be attached once more.
  link.draggable = false;
  return link;
}

function remember(address: string, heightPx: number): void {
  heightsPx.delete(address);
  heightsPx.set(address, heightPx);
  const [oldest] = heightsPx.keys();
  if (heightsPx.size > HEIGHTS_MAX && oldest !== undefined) heightsPx.delete(oldest);
}
