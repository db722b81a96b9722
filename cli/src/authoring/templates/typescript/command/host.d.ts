// Types of what this program takes from WASI. A `result` is a value or a thrown error.

declare module 'wasi:cli/environment@0.2.12' {
  export function getArguments(): string[];
}

declare module 'wasi:cli/stdin@0.2.12' {
  export function getStdin(): { blockingRead(length: bigint): Uint8Array };
}

declare module 'wasi:cli/stdout@0.2.12' {
  export function getStdout(): { blockingWriteAndFlush(bytes: Uint8Array): void };
}
