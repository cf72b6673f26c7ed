/** Names of pictures that the server lets browsers show; all else it gives out to be saved. */
const PICTURE = /\.(?:png|jpe?g|gif|webp|avif)$/i;

/** Whether an attachment of this name can be shown. */
export function isPicture(name: string): boolean {
  return PICTURE.test(name);
}
