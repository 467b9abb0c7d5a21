// @ts-check
/** The page starts. */
import { App } from "./app.js";
import { Shell } from "./shell.js";

new Shell(new App()).start();
