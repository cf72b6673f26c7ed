import { describe, it } from "node:test";
import { fixture } from "./support/fixture.js";

const test = fixture();
/** Longer than the pause that ends a group of edits. */
const pause = () => new Promise((resolve) => setTimeout(resolve, 600));

describe("undo", () => {
  it("takes one's own words back and leaves the other's in the middle of them", async () => {
    const { ada, grace } = await test.two();
    await ada.type("first ");
    await pause();
    await ada.type("second", { delay: 30 });
    await grace.sees("first second");
    await grace.press("Control+Home");
    await grace.type("Grace's ");
    await ada.sees("Grace's first second");
    await ada.press("Control+z");
    await ada.sees("Grace's first ");
    await grace.sees("Grace's first ");
    await ada.press("Control+z");
    await ada.sees("Grace's ");
    await ada.press("Control+z");
    await ada.sees("Grace's ");
    await ada.press("Control+y", "Control+y");
    await grace.sees("Grace's first second");
    await grace.press("Control+z");
    await ada.sees("first second");
  });

  it("keeps words together while the other types all the time", async () => {
    const { ada, grace } = await test.two();
    await ada.type("Ada: \nGrace: ");
    await grace.sees("Ada: \nGrace: ");
    await pause();
    await ada.press("Control+Home", "End");
    await grace.page.locator(".cm-content").focus();
    await grace.press("Control+End");
    await Promise.all([ada.type("taken back", { delay: 25 }), grace.type("stays where it is", { delay: 20 })]);
    await ada.sees("Ada: taken back\nGrace: stays where it is");
    await ada.press("Control+z");
    await ada.sees("Ada: \nGrace: stays where it is");
    await grace.sees("Ada: \nGrace: stays where it is");
  });

  it("puts the caret back, and works from the buttons", async () => {
    const { ada } = await test.two();
    await ada.type("one two three");
    await pause();
    await ada.press("Control+Home", "Control+ArrowRight", "ArrowRight", "Control+Shift+ArrowRight");
    await ada.type("2");
    await ada.sees("one 2 three");
    await pause();
    await ada.press("Control+End");
    await ada.page.getByRole("button", { name: "Undo" }).click();
    await ada.sees("one two three");
    // The selection is back, so typing replaces it.
    await ada.page.keyboard.type("II");
    await ada.sees("one II three");
  });
});
