// SQS and S3 on a free port of this host, until it is stopped. The emulator's own way to start
// would listen on all addresses. Argument: the folder that it is installed in.
import { pathToFileURL } from "node:url";

const { buildApp } = await import(
  pathToFileURL(`${process.argv[2]}/node_modules/fauxqs/dist/app.js`).href
);
const app = buildApp({ logger: false });
await app.listen({ host: "127.0.0.1", port: Number(process.argv[3] ?? 0) });
console.log(`port ${app.server.address().port}`);
process.on("SIGTERM", () => process.exit(0));
