import assert from "node:assert/strict";
import * as adaptors from "loro-adaptors/loro";
import * as loro from "loro-crdt";
import * as client from "loro-websocket";
import { WebSocket } from "ws";
import { scenarios } from "../scenarios.js";

assert.equal(loro.LORO_VERSION(), "1.17.1");
scenarios("loro-websocket 0.6.2 on loro-crdt 1.17.1", { loro, adaptors, client, WebSocket });
