"""OpenAI's own Python client, unmodified, against a tenant's /v1 (fixtures.yaml is applied there)."""

import base64
import os
import sys

import openai

client = openai.OpenAI(base_url=os.environ["TENANT_URL"] + "/v1", api_key="unused", max_retries=2)


def user(text):
    return [{"role": "user", "content": text}]


ids = {model.id for model in client.models.list()}
assert {"repeater", "streamer", "model/scripted"} <= ids, ids
assert client.models.retrieve("repeater").id == "repeater"
assert client.models.retrieve("model/scripted").id == "model/scripted"

answer = client.chat.completions.create(model="repeater", messages=user("hello"))
assert answer.choices[0].message.content == "hello", answer
assert answer.choices[0].finish_reason == "stop"
assert client.chat.completions.create(model="agent/repeater", messages=user("x")).choices[0].message.content == "x"

# The agent emits each word, then answers with all of them: they must come once.
stream = client.chat.completions.create(
    model="streamer", messages=user("one two three"), stream=True, stream_options={"include_usage": True}
)
chunks = list(stream)
text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
assert text == "one two three", text
assert sum(1 for c in chunks if c.choices and c.choices[0].delta.content) >= 3, "it came in one piece"
assert chunks[-1].usage is not None and not chunks[-1].choices

# The helper keeps a whole answer together; it needs a role, an index per call and a finish reason.
with client.chat.completions.stream(model="streamer", messages=user("a b")) as helper:
    final = helper.get_final_completion()
assert final.choices[0].message.content == "a b", final

# A picture goes through as it is.
pixel = base64.b64encode(b"not really a picture").decode()
parts = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{pixel}"}}]
answer = client.chat.completions.create(model="repeater", messages=[{"role": "user", "content": parts}])
assert pixel in answer.choices[0].message.content

# A model as it is, with the client's own tool.
tool = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}
conversation = user("what is the weather?")
turn = client.chat.completions.create(model="model/scripted", messages=conversation, tools=[tool]).choices[0]
assert turn.finish_reason == "tool_calls", turn
call = turn.message.tool_calls[0]
assert call.function.name == "weather"
conversation += [turn.message, {"role": "tool", "tool_call_id": call.id, "content": "rain"}]
turn = client.chat.completions.create(model="model/scripted", messages=conversation, tools=[tool]).choices[0]
assert turn.message.content == "It said rain.", turn

with client.chat.completions.stream(model="model/scripted", messages=user("hi"), tools=[tool]) as helper:
    turn = helper.get_final_completion().choices[0]
assert turn.message.tool_calls[0].function.name == "weather", turn


def fails(expected, code, **request):
    try:
        client.chat.completions.create(**request)
    except expected as error:
        assert error.code == code, error.code
        assert error.response.headers["x-should-retry"] == "false"
        return
    sys.exit(f"{request} did not fail")


fails(openai.NotFoundError, "model_not_found", model="nobody", messages=user("x"))
fails(openai.BadRequestError, "invalid", model="repeater", messages=user("x"), n=2)
fails(openai.BadRequestError, "invalid", model="repeater", messages=user("x"), tools=[tool])
# This agent emits without having been granted to: a denial, which is not tried again.
fails(openai.PermissionDeniedError, "denied", model="muted", messages=user("x"))
fails(openai.PermissionDeniedError, "denied", model="muted", messages=user("x"), stream=True)
print("openai-python: ok")
