import { mount } from "svelte";
import App from "./App.svelte";
import "./styles/base.css";
import { applyAppearance } from "./preferences/appearance.svelte.ts";

applyAppearance();
const target = document.getElementById("app");
if (target) mount(App, { target });
