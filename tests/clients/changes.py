"""A list that changes is announced, in both eras, and only where it changed. Plain HTTP: what the SDKs
make of the notification is theirs."""

import json
import os
import subprocess
import tempfile
import threading
import urllib.request

URL = os.environ["TENANT_URL"]
HEADERS = {"content-type": "application/json", "accept": "application/json, text/event-stream"}


def request(path, body=None, **headers):
    data = None if body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return urllib.request.urlopen(urllib.request.Request(URL + path, data, HEADERS | named), timeout=20)


def messages(stream):
    for line in stream:
        if line.startswith(b"data:") and line[5:].strip():
            yield json.loads(line[5:])


def apply(name, component):
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(json.dumps({
            "apiVersion": "ringfence.dev/v1alpha1", "kind": "Tool",
            "metadata": {"name": name}, "spec": {"component": {"digest": component}},
        }))
        file.flush()
        subprocess.run([os.environ["RINGFENCE"], "apply", "-f", file.name], check=True, stdout=subprocess.DEVNULL)


def changed(stream, heard):
    for message in messages(stream):
        if message.get("method") == "notifications/tools/list_changed":
            heard.append(message)
            return


def session(path):
    """The stream of a session of 2025-11-25."""
    hello = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    answer = request(path, {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello})
    held = {"mcp_session_id": answer.headers["mcp-session-id"], "mcp_protocol_version": "2025-11-25"}
    next(messages(answer))
    request(path, {"jsonrpc": "2.0", "method": "notifications/initialized"}, **held)
    return request(path, **held)


def subscription(path):
    """The stream of a subscription of 2026-07-28, acknowledged."""
    version = "2026-07-28"
    meta = {"io.modelcontextprotocol/protocolVersion": version, "io.modelcontextprotocol/clientCapabilities": {}}
    params = {"notifications": {"toolsListChanged": True}, "_meta": meta}
    body = {"jsonrpc": "2.0", "id": "s", "method": "subscriptions/listen", "params": params}
    stream = request(path, body, mcp_protocol_version=version, mcp_method="subscriptions/listen")
    assert next(messages(stream))["method"] == "notifications/subscriptions/acknowledged"
    return stream


listed = subprocess.run(
    [os.environ["RINGFENCE"], "get", "tool", "echo", "-o", "json"], check=True, capture_output=True
)
component = json.loads(listed.stdout)["spec"]["component"]["digest"]
streams = [session("/mcp"), subscription("/mcp"), session("/tools/sleep/mcp"), subscription("/tools/sleep/mcp")]
heard = [[] for _ in streams]
readers = [threading.Thread(target=changed, args=pair, daemon=True) for pair in zip(streams, heard)]
for reader in readers:
    reader.start()
apply("late", component)
for reader in readers[:2]:
    reader.join(10)
assert [len(h) for h in heard[:2]] == [1, 1], heard
# By now the others would have heard of it: they serve a tool that did not change.
assert heard[2:] == [[], []], heard
print("list changes: ok")
