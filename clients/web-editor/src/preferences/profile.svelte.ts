/** How the person in this browser is shown to others, and what this installation is called. */
import { COLORS, cleanName, type User } from "@collabedit/sdk";
import { uuidV7 } from "../document/address.ts";
import { readStored, writeStored } from "./storage.ts";

const PROFILE_KEY = "collabedit.profile";
const DEVICE_KEY = "collabedit.device";

const QUALITIES = ["Curious", "Gentle", "Brave", "Quiet", "Swift", "Merry", "Patient", "Bright"];
const ANIMALS = ["Heron", "Otter", "Lynx", "Finch", "Badger", "Marten", "Hare", "Robin"];

let user = $state<User>(storedUser() ?? newUser());

export const profile = {
  get user(): User {
    return user;
  },
  set user(chosen: User) {
    user = { name: cleanName(chosen.name), color: chosen.color };
    writeStored(PROFILE_KEY, user);
  },
};

/** This installation's name, drawn once. */
export function deviceId(): string {
  const stored = readStored(DEVICE_KEY);
  if (typeof stored === "string" && stored.startsWith("dev_")) return stored;
  const drawn = `dev_${uuidV7()}`;
  writeStored(DEVICE_KEY, drawn);
  return drawn;
}

function storedUser(): User | undefined {
  const stored = readStored(PROFILE_KEY) as Partial<User> | null;
  if (typeof stored?.name !== "string" || typeof stored.color !== "string") return undefined;
  return { name: cleanName(stored.name), color: stored.color };
}

function newUser(): User {
  const drawn = { name: `${pick(QUALITIES)} ${pick(ANIMALS)}`, color: pick(COLORS) };
  writeStored(PROFILE_KEY, drawn);
  return drawn;
}

function pick<T>(choices: readonly T[]): T {
  return choices[Math.floor(Math.random() * choices.length)] as T;
}
