// Bundles a project and makes a component of the bundle. Called by `ringfence build` with one JSON
// argument; messages go to stderr, the component to the file that the argument names.
import { writeFile } from 'node:fs/promises';
import { build } from 'esbuild';
import { componentize } from '@bytecodealliance/componentize-js';

const { entry, bundle, external, wit, world, disable, output } = JSON.parse(process.argv[2]);

try {
  await build({
    entryPoints: [entry],
    outfile: bundle,
    bundle: true,
    format: 'esm',
    platform: 'neutral',
    mainFields: ['module', 'main'],
    conditions: ['import', 'module', 'default'],
    target: 'es2023',
    charset: 'utf8',
    legalComments: 'none',
    logLevel: 'warning',
    external,
  });
} catch {
  // esbuild has printed where and why.
  process.exit(1);
}

// Progress notes of the engine's pre-initialisation are of no use to an author.
console.log = () => {};
try {
  const { component } = await componentize({
    sourcePath: bundle,
    witPath: wit,
    worldName: world,
    disableFeatures: disable,
  });
  await writeFile(output, component);
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exit(1);
}
