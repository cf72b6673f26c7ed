import { beforeEach, describe, expect, it } from "vitest";
import { Client } from "../src/client/client.ts";
import type { DocumentSession } from "../src/document/session.ts";
import { Server } from "./server.ts";
import { Simulation } from "./simulation.ts";

const ID = "doc_1";

let simulation: Simulation;
let server: Server;

function opened(): DocumentSession {
  const user = { name: "Ada", color: "#112233" };
  const client = new Client({ url: "ws://test", user, WebSocket: server.WebSocket, environment: simulation });
  const session = client.open(ID);
  simulation.advance(100);
  expect(session.synced).toBe(true);
  return session;
}

function type(session: DocumentSession, text: string): void {
  session.text.insert(session.text.length, text);
  session.doc.commit();
}

beforeEach(() => {
  simulation = new Simulation(7);
  server = new Server(simulation);
});

describe("traces", () => {
  const texts = () => server.texts.map((text) => JSON.parse(text) as Record<string, unknown>);

  it("are announced right before their batch, and their time is told once it is answered", () => {
    server.traceRatio = 1;
    const ada = opened();
    type(ada, "x");
    simulation.advance(server.latencyMs);
    const batch = server.batches[0]?.id;
    expect(texts()).toEqual([
      { type: "trace", document: ID, batch, traceparent: expect.stringMatching(/^00-[0-9a-f]{32}-[0-9a-f]{16}-01$/) },
    ]);
    simulation.advance(100);
    // There and back, and it began with no key press.
    const answered_us = 2 * server.latencyMs * 1000;
    expect(texts().slice(1)).toEqual([{ type: "traced", document: ID, batch, answered_us }]);
  });

  it("are as many as the server asks for", () => {
    const count = (ratio: number | undefined) => {
      server.traceRatio = ratio;
      const ada = opened();
      for (let i = 0; i < 100; i++) {
        type(ada, "x");
        simulation.advance(20);
      }
      ada.close();
      return texts().filter(({ type }) => type === "trace").length;
    };
    expect([count(undefined), count(0)]).toEqual([0, 0]);
    const some = count(0.2);
    expect(some).toBeGreaterThan(5);
    expect(some).toBeLessThan(50);
  });

  it("of a connection that is lost are not told of", () => {
    server.traceRatio = 1;
    const ada = opened();
    server.judge = () => "ignore";
    type(ada, "x");
    simulation.advance(20);
    for (const socket of [...server.sockets]) socket.cut();
    server.judge = () => undefined;
    simulation.advance(3000);
    expect(ada.unsyncedChanges).toBe(0);
    // It is sent again, in a trace of its own.
    const [first, second, report] = texts();
    expect([first?.batch, second?.batch]).toEqual([server.batches[0]?.id, server.batches[0]?.id]);
    expect(second?.traceparent).not.toBe(first?.traceparent);
    expect(report).toMatchObject({ type: "traced", answered_us: 2 * server.latencyMs * 1000 });
    expect(texts()).toHaveLength(3);
  });
});
