"""What a host exports over OTLP/HTTP, read with OpenTelemetry's own protobuf classes: the spans of a call, as
the conventions for generative AI name them, in the trace of the client that made it."""

import http.server
import json
import os
import queue
import subprocess
import tempfile
import threading
import time
import urllib.request

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as wire
from opentelemetry.proto.trace.v1 import trace_pb2

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
MANIFESTS = """
apiVersion: ringfence.dev/v1alpha1
kind: Model
metadata: {name: script}
spec: {provider: {scripted: {turns: [{text: 'You said: {{user.text}}'}]}}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {name: desk}
spec: {instructions: Repeat., model: {name: script}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Agent
metadata: {name: lost}
spec: {instructions: Repeat., model: {name: nowhere}}
---
apiVersion: ringfence.dev/v1alpha1
kind: Tool
metadata: {name: ask}
spec: {agent: desk}
---
apiVersion: ringfence.dev/v1alpha1
kind: Tool
metadata: {name: ask-lost}
spec: {agent: lost}
"""


class Collector(http.server.BaseHTTPRequestHandler):
    """The receiving end of OTLP/HTTP."""

    spans = queue.Queue()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        assert self.path == "/v1/traces" and self.headers["content-type"] == "application/x-protobuf"
        assert self.headers["x-collector-key"] == "s3cret"
        request = wire.ExportTraceServiceRequest()
        request.ParseFromString(body)
        for resource in request.resource_spans:
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.put((attributes(resource.resource), scope, span))
        answer = wire.ExportTraceServiceResponse().SerializeToString()
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_):
        pass


def attributes(of):
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in of.attributes}


def call(url, tool, message):
    meta = {
        "traceparent": f"00-{TRACE}-{PARENT}-01",
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    params = {"name": f"{tool}_ask", "arguments": {"message": message}, "_meta": meta}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params})
    headers = {
        "content-type": "application/json",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": "2026-07-28",
        "mcp-method": "tools/call",
        "mcp-name": f"{tool}_ask",
    }
    request = urllib.request.Request(f"{url}/default/mcp", body.encode(), headers)
    return urllib.request.urlopen(request, timeout=20).read().decode()


def ways_in(url, digest):
    """Every way in beside MCP takes a trace by its header, each with another one."""
    manifest = f"""
apiVersion: ringfence.dev/v1alpha1
kind: Tool
metadata: {{name: web}}
spec: {{component: {{digest: "{digest}"}}}}
"""
    apply(url, manifest)
    message = [{"role": "user", "content": "hello"}]
    rest = "/api/v1/tenants/default"
    for number, (path, body, root) in enumerate(
        [
            ("/default/v1/chat/completions", {"model": "desk", "messages": message}, "invoke_agent desk"),
            ("/default/v1/chat/completions", {"model": "model/script", "messages": message}, "chat script"),
            (f"{rest}/agents/desk/run", {"input": "hello"}, "invoke_agent desk"),
            (f"{rest}/tools/ask/functions/ask", {"arguments": {"message": "hello"}}, "execute_tool ask_ask"),
            ("/default/tools/web/http/", {}, "execute_tool web"),
        ]
    ):
        trace = f"{TRACE[:-2]}{number:02x}"
        headers = {
            "content-type": "application/json",
            "traceparent": f"00-{trace}-{PARENT}-01",
            "tracestate": "vendor=opaque",
        }
        request = urllib.request.Request(url + path, json.dumps(body).encode(), headers)
        assert urllib.request.urlopen(request, timeout=20).status == 200, path
        deadline = time.monotonic() + 20
        while True:
            _, _, span = Collector.spans.get(timeout=max(0.1, deadline - time.monotonic()))
            if span.trace_id.hex() == TRACE:
                continue  # of the calls before
            assert span.trace_id.hex() == trace, (path, span)
            assert span.trace_state == "vendor=opaque", (path, span)
            if span.parent_span_id.hex() == PARENT:
                assert span.name == root, (path, span)
                break
    # What is no trace is no reason to refuse a call, and begins one of the host's own.
    headers = {"content-type": "application/json", "traceparent": "nonsense"}
    body = json.dumps({"model": "model/script", "messages": message}).encode()
    request = urllib.request.Request(f"{url}/default/v1/chat/completions", body, headers)
    assert urllib.request.urlopen(request, timeout=20).status == 200
    span = collect(1)["chat script"][2]
    assert not span.parent_span_id and span.trace_id.hex()[:28] != TRACE[:28], span


def apply(url, text):
    command = [os.environ["RINGFENCE"], "--host", url, "apply", "-f", "-"]
    subprocess.run(command, check=True, input=text, text=True, stdout=subprocess.DEVNULL)


def push(url, component):
    command = [os.environ["RINGFENCE"], "--host", url, "push", "-o", "json", component]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)["digest"]


def collect(count):
    """So many spans, by name."""
    found = {}
    deadline = time.monotonic() + 20
    while len(found) < count:
        resource, scope, span = Collector.spans.get(timeout=max(0.1, deadline - time.monotonic()))
        found[span.name] = (resource, scope, span)
    return found


def main():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "OTEL_EXPORTER_OTLP_HEADERS": "x-collector-key=s3cret",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
        }
        command = [os.environ["RINGFENCE"], "serve", "--listen", "127.0.0.1:0", "--data-dir", folder]
        with open(folder + "/log", "w") as log:
            host = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            url = host.stdout.readline().strip()
            apply(url, MANIFESTS)
            assert "You said: hello" in call(url, "ask", "hello")
            check(collect(4))
            call(url, "ask-lost", "hello")
            failed = collect(3)["invoke_agent lost"][2]
            assert failed.status.code == trace_pb2.Status.STATUS_CODE_ERROR, failed
            assert attributes(failed)["error.type"], failed
            ways_in(url, push(url, os.environ["GUESTS"] + "/examples/http_echo.wasm"))
            # What is left is sent when the host ends.
            call(url, "ask", "the last")
            host.terminate()
            assert host.wait(20) == 0
            assert "chat script" in collect(4)
            assert "s3cret" not in open(folder + "/log").read()
        finally:
            host.kill()
            host.wait()
    print("otlp: ok")


def check(found):
    names = ("tools/call ask_ask", "execute_tool ask_ask", "invoke_agent desk", "chat script")
    request, tool, agent, model = (found[name] for name in names)
    for resource, scope, span in (request, tool, agent, model):
        assert resource["service.name"] == "ringfence" and resource["deployment.environment.name"] == "test", resource
        assert scope.scope.name == "ringfence" and "opentelemetry.io/schemas" in scope.schema_url, scope
        assert span.trace_id.hex() == TRACE, span
        assert 0 < span.start_time_unix_nano <= span.end_time_unix_nano, span
        assert "hello" not in str(span), "what was said is no business of a trace"
    assert request[2].parent_span_id.hex() == PARENT, request
    assert tool[2].parent_span_id == request[2].span_id, tool
    assert agent[2].parent_span_id == tool[2].span_id, agent
    assert model[2].parent_span_id == agent[2].span_id, model
    assert attributes(tool[2])["gen_ai.operation.name"] == "execute_tool"
    assert attributes(agent[2])["gen_ai.agent.name"] == "desk"
    said = attributes(model[2])
    assert said["gen_ai.operation.name"] == "chat" and said["gen_ai.provider.name"] == "scripted", said
    assert said["gen_ai.usage.output_tokens"] > 0 and said["ringfence.call"] == 2, said
    assert [reason.string_value for reason in said["gen_ai.response.finish_reasons"].values] == ["stop"], said
    assert said["ringfence.tenant"] == "default" and said["ringfence.principal"] == "agent/desk", said
    assert request[2].kind == trace_pb2.Span.SPAN_KIND_SERVER, request
    assert model[2].kind == trace_pb2.Span.SPAN_KIND_CLIENT, model


main()
