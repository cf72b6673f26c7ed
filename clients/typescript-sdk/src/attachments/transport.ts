/** How bytes go up: by the one interface of browsers that tells how many have gone, and by `fetch` where it is missing. */

export interface HttpRequest {
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly signal: AbortSignal;
  /** So many bytes of the body have been sent; from 0 on, and only where that can be known. */
  readonly progressed: (sentBytes: number) => void;
}

export interface HttpAnswer {
  readonly status: number;
  readonly body: string;
  header(name: string): string | null;
}

/** Posts; rejects with the signal's reason, or with whatever kept the answer from coming. */
export type Post = (request: HttpRequest) => Promise<HttpAnswer>;

/** The part of an `XMLHttpRequest` that is used. */
export interface ProgressRequest {
  readonly status: number;
  readonly responseText: string;
  readonly upload: { onprogress: ((event: { readonly loaded: number }) => void) | null };
  onload: (() => void) | null;
  onerror: (() => void) | null;
  onabort: (() => void) | null;
  open(method: string, url: string): void;
  setRequestHeader(name: string, value: string): void;
  getResponseHeader(name: string): string | null;
  send(body: Uint8Array<ArrayBuffer>): void;
  abort(): void;
}

export type ProgressRequestConstructor = new () => ProgressRequest;

export function postWithProgress(requestConstructor: ProgressRequestConstructor): Post {
  return ({ url, headers, body, signal, progressed }) =>
    new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const request = new requestConstructor();
      const abort = () => request.abort();
      const settled = (settle: () => void) => () => {
        signal.removeEventListener("abort", abort);
        settle();
      };
      signal.addEventListener("abort", abort);
      request.upload.onprogress = ({ loaded }) => progressed(loaded);
      request.onload = settled(() =>
        resolve({
          status: request.status,
          body: request.responseText,
          header: (name) => request.getResponseHeader(name),
        }),
      );
      request.onerror = settled(() => reject(new Error("the connection was lost")));
      request.onabort = settled(() => reject(signal.reason));
      request.open("POST", url);
      for (const [name, value] of Object.entries(headers)) request.setRequestHeader(name, value);
      request.send(body);
      progressed(0);
    });
}

export function postWithFetch(fetch: typeof globalThis.fetch): Post {
  return async ({ url, headers, body, signal }) => {
    const response = await fetch(url, { method: "POST", headers, body, signal });
    const text = await response.text();
    return { status: response.status, body: text, header: (name) => response.headers.get(name) };
  };
}
