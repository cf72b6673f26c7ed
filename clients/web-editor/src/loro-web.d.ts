/** The engine's own types leave out the default export of its `web` entry. */
declare module "loro-crdt/web" {
  export * from "loro-crdt";
  export default function init(options: { module_or_path: string }): Promise<unknown>;
}
