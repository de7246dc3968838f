// Bundles the page into mlv/web/static, or its tests into build/tests (--tests).
import { context, build } from "esbuild";
import { copyFileSync, mkdirSync, readdirSync, rmSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const page = {
  // The style sheet is an entry of its own: under the page's content policy no script may write styles.
  entryPoints: { page: join(here, "src/main.tsx"), style: join(here, "src/style.css") },
  outdir: join(here, "../mlv/web/static"),
  bundle: true,
  minify: true,
  // A classic script also runs from a folder without a server, where browsers refuse modules.
  format: "iife",
  target: ["es2022", "chrome111", "firefox113", "safari16.4"],
  jsx: "automatic",
  jsxImportSource: "preact",
  legalComments: "linked",
  logLevel: "warning",
};

if (process.argv.includes("--tests")) {
  const outdir = join(here, "build/tests");
  rmSync(outdir, { recursive: true, force: true });
  await build({
    entryPoints: readdirSync(join(here, "tests")).filter((name) => name.endsWith(".test.ts")).map((name) => join(here, "tests", name)),
    outdir,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    sourcemap: "inline",
    jsx: "automatic",
    jsxImportSource: "preact",
    logLevel: "warning",
  });
} else {
  mkdirSync(page.outdir, { recursive: true });
  copyFileSync(join(here, "src/index.html"), join(page.outdir, "index.html"));
  copyFileSync(join(here, "src/icon.svg"), join(page.outdir, "icon.svg"));
  if (process.argv.includes("--watch")) await (await context({ ...page, sourcemap: true })).watch();
  else await build(page);
}
