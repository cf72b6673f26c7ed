/** The languages that a document can be shown in. Each grammar is loaded when it is first needed. */
import { LanguageDescription } from "@codemirror/language";
import { languages } from "@codemirror/language-data";
import type { Extension } from "@codemirror/state";

export const PLAIN_TEXT = "Plain text";

/** All names, in the order of the alphabet but for the one without a grammar. */
export const languageNames: readonly string[] = [
  PLAIN_TEXT,
  ...languages.map((language) => language.name).sort((a, b) => a.localeCompare(b)),
];

/** A language's grammar; nothing for plain text and for names that this version does not know. */
export async function grammarOf(name: string): Promise<Extension> {
  if (name === "Markdown") {
    // Code blocks in a text have languages of their own.
    const { markdown, markdownLanguage } = await import("@codemirror/lang-markdown");
    return markdown({ base: markdownLanguage, codeLanguages: languages });
  }
  const language = LanguageDescription.matchLanguageName(languages, name, false);
  return language ? language.load() : [];
}
