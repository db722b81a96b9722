// Types of what this agent takes from `wit/deps`. WIT names are in camel case here, a `result` is a value or a
// thrown error, a 64-bit integer a bigint.

declare module 'ringfence:agent/types@0.1.0' {
  export interface Blob { mimeType: string; data: Uint8Array }
  export interface EmbeddedResource {
    uri: string;
    mimeType?: string;
    body: { tag: 'text'; val: string } | { tag: 'bytes'; val: Uint8Array };
  }
  export type Part =
    | { tag: 'text'; val: string }
    | { tag: 'image' | 'audio'; val: Blob }
    | { tag: 'resource'; val: EmbeddedResource };
  export interface ToolCall { id: string; name: string; arguments: string }
  export interface ToolResult { id: string; content: Part[]; isError: boolean }
  export interface Message {
    role: 'system' | 'user' | 'assistant' | 'tool';
    content: Part[];
    toolCalls: ToolCall[];
    toolResults: ToolResult[];
  }
  export type Failure =
    | { tag: 'denied'; val: { capability: string; target: string; reason: string; policy?: string } }
    | { tag: 'limit-exceeded'; val: { name: string; maximum: bigint } }
    | { tag: 'timeout' | 'canceled' }
    | {
        tag: 'budget-exceeded' | 'unavailable' | 'not-found' | 'invalid' | 'failed' | 'unknown-outcome';
        val: string;
      };
}

declare module 'ringfence:agent/models@0.1.0' {
  import type { Message } from 'ringfence:agent/types@0.1.0';
  export interface Request {
    model: string;
    messages: Message[];
    tools: { name: string; description: string; parameters: string }[];
    toolChoice: { tag: 'auto' | 'none' | 'required' } | { tag: 'function'; val: string };
    options: {
      temperature?: number;
      topP?: number;
      maxTokens?: number;
      stop: string[];
      seed?: bigint;
      responseSchema?: string;
    };
  }
  export interface Completion {
    message: Message;
    finishReason: 'stop' | 'length' | 'tool-calls' | 'content-filter' | 'other';
    usage: { inputTokens: bigint; outputTokens: bigint };
    model: string;
  }
  export function list(): { name: string; description: string }[];
  export function complete(request: Request): Completion;
}

declare module 'ringfence:agent/tools@0.1.0' {
  import type { Failure, Part } from 'ringfence:agent/types@0.1.0';
  export interface Func { name: string; description: string; inputSchema: string; outputSchema?: string }
  export interface CallRequest { name: string; arguments: string }
  export interface CallResult { content: Part[]; structured?: string; isError: boolean }
  export function list(): Func[];
  export function call(request: CallRequest): CallResult;
  export function callAll(
    requests: CallRequest[],
  ): ({ tag: 'ok'; val: CallResult } | { tag: 'err'; val: Failure })[];
}
